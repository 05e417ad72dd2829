import Control
import Framing
import Kernel
import Primitives
import Proxy
import Testing

@testable import Adapter

/// Streams to a site's services, which have no address: the same credits and ends as streams to devices.
@Suite(.serialized, .timeLimit(.minutes(1))) struct ServiceStreamTests {
  private static let interface = SiteInterface("eth1", InterfaceAccess(discovery: ["dcp"]))

  /// Answers each byte with itself, on a thread of its own, and then ends.
  private static let echo = SiteServices { request throws(Refusal) in
    guard request.rule.interface?.name == "eth1" else { throw Refusal(.siteError) }
    do throws(SystemError) {
      let pair = try UnixSocket.pair()
      let parcel = Parcel(pair.far)
      _ = try Thread(name: "service") {
        guard let socket = parcel.open() else { return }
        var buffer = [UInt8](repeating: 0, count: 4096)
        while true {
          var span = buffer.mutableSpan
          guard case .moved(let count) = try? socket.read(into: &span),
            (try? socket.writeAll(Array(buffer[..<count]))) != nil
          else { return }
        }
      }
      return pair.near
    } catch {
      throw Refusal(.siteError, "\(error)")
    }
  }

  private func failure(_ body: () async throws -> Void) async -> Refusal.Reason? {
    do {
      try await body()
    } catch LocalStreamError.refused(let refusal) {
      return refusal.reason
    } catch {}
    return nil
  }

  @Test func answersAndEnds() async throws {
    let adapter = try Adapter()
    let site = try await TestSite(adapter, tcp: [7], interface: Self.interface, services: Self.echo)
    let stream = try await adapter.connect(to: .discovery, of: "site/cell")
    let flows = await adapter.flows(limit: 10)
    #expect(flows.map(\.protocol) == [.discovery] && flows.map(\.destination) == [nil])
    let bytes = (0..<600_000).map { UInt8(truncatingIfNeeded: $0 / 5) }
    async let answer = {
      var all: [UInt8] = []
      while let next = try await stream.read() { all += next }
      return all
    }()
    for start in stride(from: 0, to: bytes.count, by: 50_000) {
      try await stream.write(Array(bytes[start..<start + 50_000]))
    }
    stream.finish()
    #expect(try await answer == bytes)
    withExtendedLifetime(site) { adapter.stop() }
  }

  @Test func whatIsNotOfferedIsRefused() async throws {
    let adapter = try Adapter()
    let site = try await TestSite(adapter, tcp: [7], interface: Self.interface)
    #expect(await failure { _ = try await adapter.connect(to: .capture, of: "site/cell") } == .portNotPermitted)
    #expect(await failure { _ = try await adapter.connect(to: .discovery, of: "site/plc") } == .portNotPermitted)
    // It is permitted, and this site has nobody who answers.
    #expect(await failure { _ = try await adapter.connect(to: .discovery, of: "site/cell") } == .siteError)
    // Another agent has no port, since it has no address.
    guard
      case .unknownAgent? = await { () -> LocalStreamError? in
        do { _ = try await adapter.connect(to: "site/cell", port: 7) } catch { return error as? LocalStreamError }
        return nil
      }()
    else {
      Issue.record("an interface has a port")
      return
    }
    withExtendedLifetime(site) { adapter.stop() }
  }

  @Test(arguments: [
    SiteInterface("eth2", InterfaceAccess(discovery: ["dcp"])),
    SiteInterface("eth1", InterfaceAccess(discovery: ["arp"])),
  ]) func endsWhenItsAgentStandsForSomethingElse(changed: SiteInterface) async throws {
    let adapter = try Adapter()
    let site = try await TestSite(adapter, tcp: [7], interface: Self.interface, services: Self.echo)
    let stream = try await adapter.connect(to: .discovery, of: "site/cell")
    site.session.replaceRules([TestSite.rule(tcp: [7]), SiteRule(agent: "cell", interface: changed)])
    await #expect(throws: LocalStreamError.self) { while try await stream.read() != nil {} }
    withExtendedLifetime(site) { adapter.stop() }
  }

  @Test func endsWithItsPermission() async throws {
    let adapter = try Adapter()
    let site = try await TestSite(adapter, tcp: [7], interface: Self.interface, services: Self.echo)
    let stream = try await adapter.connect(to: .discovery, of: "site/cell")
    site.session.replaceRules([TestSite.rule(tcp: [7])])
    await #expect(throws: LocalStreamError.self) { while try await stream.read() != nil {} }
    withExtendedLifetime(site) { adapter.stop() }
  }
}
