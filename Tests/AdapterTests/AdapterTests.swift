import Kernel
import Primitives
import Proxy
import Stack
import Testing
import Tun

@testable import Adapter

/// Packets in memory → adapter → session over TCP → site → a real device on 127.0.0.1, and back.
@Suite(.serialized, .timeLimit(.minutes(2))) struct AdapterTests {
  /// An adapter with a host's applications at its device.
  private func makeAdapter(
    _ configuration: AdapterConfiguration = AdapterConfiguration()
  ) throws -> (Adapter, ClientHost) {
    let device = try MemoryDevice(capacity: 16 << 20, packetLimit: 8192)
    let client = ClientHost(device.peer())
    return (try Adapter(device: device, configuration: configuration), client)
  }

  private func alias(_ adapter: Adapter, _ port: UInt16) async throws -> Endpoint {
    let agents = await adapter.agents
    return Endpoint(try #require(agents.first?.v4?.address), port)
  }

  @Test func aStreamCarriesEveryByteBothWays() async throws {
    let (adapter, client) = try makeAdapter()
    let device = try DeviceServer.echo()
    let site = try await TestSite(adapter, tcp: [device.port])
    var random = SeededRandom(seed: 1)
    let bytes = (0..<5_000_000 / 8).flatMap { _ in
      let word = random.next()
      return (0..<8).map { UInt8(truncatingIfNeeded: word >> ($0 * 8)) }
    }
    let flow = try client.connect(to: try await alias(adapter, device.port), sending: bytes, finishes: true)
    #expect(try client.run(60) { $0.applications[flow]?.isClosed == true || $0.applications[flow]?.reset != nil })
    let application = try #require(client.applications[flow])
    #expect(application.inbox.count == bytes.count)
    #expect(application.inbox == bytes)
    #expect(application.peerFinished && application.reset == nil)
    let status = await adapter.status
    // Whoever acknowledges late, because the machine is busy, gets some of it again.
    #expect(status.payloadBytesIn >= UInt64(bytes.count))
    #expect(status.payloadBytesOut >= UInt64(bytes.count))
    #expect(status.payloadBytesOut == UInt64(bytes.count) || status.retransmits > 0)
    #expect(status.sites.map(\.name) == ["site"])
    device.stop()
    withExtendedLifetime(site) { adapter.stop() }
  }

  @Test func aRefusedPortIsAReset() async throws {
    let (adapter, client) = try makeAdapter()
    let port = try closedPort()
    let site = try await TestSite(adapter, tcp: [port])
    let destination = try await alias(adapter, port)
    let flow = try client.connect(to: destination)
    #expect(try client.run { $0.applications[flow]?.reset != nil })
    #expect(client.applications[flow]?.reset == .refused)
    let explanation = await adapter.explain(.tcp, destination)
    #expect(explanation.isPermitted)
    #expect(explanation.lastRefusal?.reason.contains("the device refused the connection") == true)
    withExtendedLifetime(site) { adapter.stop() }
  }

  @Test func whatNobodyPermitsIsProhibited() async throws {
    let (adapter, client) = try makeAdapter()
    let port = try closedPort()
    let site = try await TestSite(adapter, tcp: [port])
    let destination = try await alias(adapter, port &+ 1)
    let flow = try client.connect(to: destination)
    #expect(try client.run { !$0.unreachable.isEmpty })
    #expect(client.unreachable.first == 13)
    #expect(client.applications[flow]?.isEstablished == false)
    let stranger = try client.connect(to: Endpoint(IPAddress(198, 18, 77, 77), port))
    #expect(try client.run { $0.unreachable.count >= 2 })
    #expect(client.unreachable.allSatisfy { $0 == 13 })
    #expect(client.applications[stranger]?.isEstablished == false)
    let refusals = await adapter.status.refusals
    #expect(refusals["port not permitted"] != nil && refusals["no agent"] != nil)
    let explanation = await adapter.explain(.tcp, destination)
    #expect(!explanation.isPermitted)
    withExtendedLifetime(site) { adapter.stop() }
  }

  @Test func whatTheSiteAloneForbidsIsProhibited() async throws {
    let (adapter, client) = try makeAdapter()
    let device = try DeviceServer.echo()
    let site = try await TestSite(adapter, tcp: [device.port], siteTCP: [1])
    let flow = try client.connect(to: try await alias(adapter, device.port))
    #expect(try client.run { !$0.unreachable.isEmpty })
    #expect(client.unreachable.first == 13)
    #expect(client.applications[flow]?.isEstablished == false)
    device.stop()
    withExtendedLifetime(site) { adapter.stop() }
  }

  @Test func oneDirectionMayEndBeforeTheOther() async throws {
    let (adapter, client) = try makeAdapter()
    let device = try DeviceServer.counter()
    let site = try await TestSite(adapter, tcp: [device.port])
    let bytes = [UInt8](repeating: 9, count: 123_456)
    let flow = try client.connect(to: try await alias(adapter, device.port), sending: bytes, finishes: true)
    #expect(try client.run { $0.applications[flow]?.isClosed == true })
    #expect(client.applications[flow]?.inbox == Array("123456".utf8))
    #expect(client.applications[flow]?.reset == nil)
    device.stop()
    withExtendedLifetime(site) { adapter.stop() }
  }

  @Test func datagramsComeBack() async throws {
    let (adapter, client) = try makeAdapter()
    let device = try DatagramEcho()
    let site = try await TestSite(adapter, tcp: [], udp: [device.endpoint.port])
    let destination = try await alias(adapter, device.endpoint.port)
    let sent = [[1], [UInt8](repeating: 2, count: 512), [UInt8](repeating: 3, count: 1400)]
    for payload in sent { try client.sendDatagram(payload, to: destination) }
    #expect(try client.run { $0.datagrams.count >= 3 })
    #expect(client.datagrams == sent)
    try client.sendDatagram([1], to: Endpoint(destination.address, destination.port &+ 1))
    #expect(try client.run { !$0.unreachable.isEmpty })
    #expect(client.unreachable == [13])
    withExtendedLifetime(site) { adapter.stop() }
  }

  @Test func aDevicesResetIsAReset() async throws {
    let (adapter, client) = try makeAdapter()
    let device = try DeviceServer.breaker()
    let site = try await TestSite(adapter, tcp: [device.port])
    let flow = try client.connect(to: try await alias(adapter, device.port), sending: [1, 2, 3])
    #expect(try client.run { $0.applications[flow]?.reset != nil })
    #expect(client.applications[flow]?.reset == .byApplication)
    #expect(client.applications[flow]?.peerFinished == false)
    device.stop()
    withExtendedLifetime(site) { adapter.stop() }
  }

  @Test func aCutSessionIsAResetAndNoEnd() async throws {
    let (adapter, client) = try makeAdapter()
    let device = try DeviceServer.echo()
    let site = try await TestSite(adapter, tcp: [device.port])
    let flow = try client.connect(to: try await alias(adapter, device.port), sending: [1, 2, 3])
    #expect(try client.run { $0.applications[flow]?.inbox == [1, 2, 3] })
    site.cut()
    #expect(try client.run { $0.applications[flow]?.reset != nil })
    #expect(client.applications[flow]?.peerFinished == false)
    guard case .cut = site.end else {
      Issue.record("the session's end isn't a cut")
      return
    }
    #expect(await adapter.agents.isEmpty)
    // Nobody is there any more.
    let next = try client.connect(to: Endpoint(IPAddress(198, 18, 77, 77), 80))
    #expect(try client.run { !$0.unreachable.isEmpty })
    #expect(client.applications[next]?.isEstablished == false)
    device.stop()
    adapter.stop()
  }

  /// Applications that don't read press the adapter's memory: some of them lose their connections, the others go on.
  @Test func slowReadersAreCutAndOthersGoOn() async throws {
    var configuration = AdapterConfiguration()
    configuration.slabs = 16
    let (adapter, client) = try makeAdapter(configuration)
    let source = try DeviceServer.source()
    let device = try DeviceServer.echo()
    let site = try await TestSite(adapter, tcp: [source.port, device.port])
    let (stuck, lively) = (try await alias(adapter, source.port), try await alias(adapter, device.port))
    let slow = try (0..<30).map { _ in try client.connect(to: stuck, reads: false) }
    #expect(try client.run { client in slow.contains { client.applications[$0]?.reset != nil } })
    // Far less than any of the slow ones holds: never the one to be cut.
    let bytes = [UInt8](repeating: 3, count: 10_000)
    let live = try client.connect(to: lively, sending: bytes, finishes: true)
    #expect(try client.run { $0.applications[live]?.isClosed == true || $0.applications[live]?.reset != nil })
    #expect(client.applications[live]?.inbox.count == bytes.count)
    #expect(slow.contains { client.applications[$0]?.reset == nil }, "no more than needed")
    #expect(slow.allSatisfy { client.applications[$0]?.peerFinished == false })
    let status = await adapter.status
    let count = try #require(status.refusals["slow reader"])
    #expect(status.sites.first?.session.counters.slowReadersReset == count)
    source.stop()
    device.stop()
    withExtendedLifetime(site) { adapter.stop() }
  }
}
