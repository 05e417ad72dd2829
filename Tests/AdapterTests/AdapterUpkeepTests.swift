import Glibc
import Kernel
import Packet
import Primitives
import Synchronization
import Testing
import Tun

@testable import Adapter

/// A device that is lost, and made anew by the loop.
@Suite(.timeLimit(.minutes(1))) struct AdapterUpkeepTests {
  /// What a test does to devices, and what it hears of them.
  private final class Workshop: Sendable {
    let isBroken = Atomic(false)
    /// Attempts to open one that fail before one succeeds.
    let failures = Atomic(0)
    let repairs = Mutex<[DeviceRepair]>([])
    let networks = Mutex<[HostNetwork]>([])
    let events = Mutex<[String]>([])
    let wakeup: Wakeup

    init() throws { wakeup = try Wakeup() }

    func damage(failures count: Int) {
      failures.store(count, ordering: .relaxed)
      isBroken.store(true, ordering: .releasing)
      wakeup.signal()
    }

    func open() throws(TunError) -> Device {
      if failures.subtract(1, ordering: .relaxed).newValue >= 0 {
        throw TunError(call: "open", device: "test0", cause: .system(EBUSY))
      }
      isBroken.store(false, ordering: .releasing)
      return try Device(self)
    }

    func hear(_ event: DeviceEvent) {
      let text =
        switch event {
        case .lost(let error): "lost \(error.call)"
        case .restored(let name): "restored \(name)"
        case .ethernet(_, _, let what): what
        case .repaired(let repairs): "repaired \(repairs.count)"
        case .failing(let error): "failing \(error.call)"
        case .moved(let moves): "moved " + moves.map(\.description).joined(separator: ", ")
        case .clash(let error): error.map { "clash: \($0)" } ?? "no clash"
        }
      events.withLock { $0.append(text) }
    }

    func waitForEvents(_ count: Int) -> [String] {
      let deadline = Clock.now + .seconds(20)
      while events.withLock({ $0.count }) < count, Clock.now < deadline { Thread.sleep(.milliseconds(10)) }
      return events.withLock { $0 }
    }
  }

  private struct Device: PacketDevice, ~Copyable {
    let workshop: Workshop
    let ready: OwnedDescriptor
    var counters = DeviceCounters()
    var descriptor: CInt? { ready.rawValue }

    init(_ workshop: Workshop) throws(TunError) {
      self.workshop = workshop
      do throws(SystemError) {
        ready = try workshop.wakeup.descriptor.duplicate()
      } catch {
        throw TunError(call: error.call, cause: .system(error.code))
      }
    }

    mutating func read(into slice: Slice, pool: inout SlabPool) throws(TunError) -> PacketRead {
      workshop.wakeup.clear()
      if workshop.isBroken.load(ordering: .acquiring) { throw TunError(call: "readv", cause: .system(EBADFD)) }
      return .wouldBlock
    }

    mutating func write(
      _ offload: Offload, header: Span<UInt8>, payload: Span<Slice>, pool: inout SlabPool
    ) throws(TunError) -> PacketWrite { .written }
  }

  private func adapter(_ workshop: Workshop) throws -> Adapter {
    let upkeep = DeviceUpkeep<Device>(
      open: { () throws(TunError) in try workshop.open() },
      repair: { (_: borrowing Device) throws(TunError) in workshop.repairs.withLock { $0 } },
      name: "test0", report: { workshop.hear($0) },
      networks: { (_: borrowing Device) throws(TunError) in workshop.networks.withLock { $0 } })
    return try Adapter(device: try Device(workshop), configuration: AdapterConfiguration(), upkeep: upkeep)
  }

  @Test func aLostDeviceIsMadeAnewAndTheAdapterGoesOn() async throws {
    let workshop = try Workshop()
    let adapter = try adapter(workshop)
    workshop.damage(failures: 2)
    // The same failure twice is told once.
    #expect(workshop.waitForEvents(3) == ["lost readv", "failing open", "restored test0"])
    #expect(await adapter.status.sites.isEmpty)
    workshop.damage(failures: 0)
    #expect(workshop.waitForEvents(5).suffix(2) == ["lost readv", "restored test0"])
    adapter.stop()
  }

  @Test func aChangedDeviceIsPutRight() async throws {
    let workshop = try Workshop()
    let adapter = try adapter(workshop)
    adapter.networkChanged()
    #expect(await adapter.status.sites.isEmpty)
    #expect(workshop.events.withLock { $0.isEmpty })
    workshop.repairs.withLock { $0 = [.link, .address(IPAddress(198, 18, 0, 1))] }
    adapter.networkChanged()
    #expect(workshop.waitForEvents(1) == ["repaired 2"])
    adapter.stop()
  }

  @Test func agentsMoveOutOfTheHostsNetworks() async throws {
    let workshop = try Workshop()
    let adapter = try adapter(workshop)
    let site = try await TestSite(adapter, tcp: [7])
    let before = try #require(await adapter.agents.first)
    let (v4, v6) = (try #require(before.v4), try #require(before.v6))
    let lan = try #require(IPPrefix(v4.address, length: 24))
    workshop.networks.withLock { $0 = [HostNetwork(lan, address: lan.address(at: 1), link: "eth1")] }
    adapter.networkChanged()
    let events = workshop.waitForEvents(1)
    let after = try #require(await adapter.agents.first)
    let moved = try #require(after.v4)
    #expect(events == ["moved site/plc had \(v4.address), and has \(moved.address) now"])
    #expect(!lan.contains(moved.address) && after.v6 == v6)
    #expect(await !adapter.explain(.tcp, Endpoint(v4.address, 7)).isPermitted)
    #expect(await adapter.explain(.tcp, Endpoint(moved.address, 7)).isPermitted)

    // One that has the adapter's own address can't be kept away from: it is told, once, and when it is over.
    let clash = HostNetwork(IPPrefix("198.18.0.0/24")!, address: IPAddress(198, 18, 0, 9), link: "eth2")
    workshop.networks.withLock { $0.append(clash) }
    adapter.networkChanged()
    adapter.networkChanged()
    #expect(workshop.waitForEvents(2).last?.hasPrefix("clash: aliases come from 198.18.0.0/15") == true)
    workshop.networks.withLock { $0 = [] }
    adapter.networkChanged()
    #expect(workshop.waitForEvents(3).dropFirst(2) == ["no clash"])
    // Nobody moves back: who has learnt the new address keeps it.
    #expect(await adapter.agents.first?.v4 == moved)
    #expect(site.end == nil)
    withExtendedLifetime(site) { adapter.stop() }
  }
}
