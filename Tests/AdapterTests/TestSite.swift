import Control
import Crypto
import Framing
import Glibc
import Kernel
import Primitives
import Synchronization
import Testing

@testable import Adapter
@testable import Proxy

/// A site with one agent, `plc`, which stands for 127.0.0.1; joined with an adapter by a TCP connection.
final class TestSite: Sendable {
  let session: SiteSession
  let agents: [AgentDescription]
  /// Another name for the connection, by which it can be cut.
  private let tap: CInt
  private let outcome = Outcome()

  /// - Parameters:
  ///   - tcp: what the adapter is told that the agent permits.
  ///   - interface: what a second agent, `cell`, offers; its services answer.
  ///   - siteTCP: what the site itself permits, if that is something else.
  init(
    _ adapter: Adapter, tcp: [UInt16], siteTCP: [UInt16]? = nil, udp: [UInt16] = [], ftp: [UInt16] = [],
    limits: SiteLimits = SiteLimits(), interface: SiteInterface? = nil, services: SiteServices = .none
  ) async throws {
    let up = try SecretBytes(random: 32)
    let down = try SecretBytes(random: 32)
    let listener = try Socket.listen(on: Endpoint(IPAddress(127, 0, 0, 1), 0))
    let link = try Socket.connect(to: Socket.localEndpoint(listener)!)
    try listener.wait(for: .readable, until: DeviceServer.late)
    guard let site = try Socket.accept(from: listener) else { throw NotConnected() }
    try link.wait(for: .writable, until: DeviceServer.late)
    tap = try link.duplicate().release()
    let ranges = { (ports: [UInt16]) in ports.compactMap { PortRange($0) } }
    var rule = Self.rule(tcp: siteTCP ?? tcp, udp: udp)
    rule.ftp = ranges(ftp)
    let rules = [rule] + (interface.map { [SiteRule(agent: "cell", interface: $0)] } ?? [])
    let id = try SessionID.random()
    session = try SiteSession(
      id: id, socket: site, secrets: RecordSecrets(send: down, receive: up), surplus: [],
      policy: SitePolicy(rules: rules, granted: nil, expires: nil), limits: limits, services: services,
      onEnd: { _ in })
    agents = [
      AgentDescription(name: "plc", target: .device(.v4), tcp: ranges(tcp), udp: ranges(udp), ftp: ranges(ftp)),
      AgentDescription(name: "cell", target: .interface(interface?.access ?? InterfaceAccess())),
    ]
    let established = EstablishedSession(
      id: id, site: "site", agents: agents, socket: link,
      secrets: RecordSecrets(send: up, receive: down), surplus: [])
    try await adapter.attach(established) { [outcome] end in outcome.end.withLock { $0 = end } }
  }

  deinit { close(tap) }

  static func rule(tcp: [UInt16], udp: [UInt16] = []) -> SiteRule {
    SiteRule(
      agent: "plc", device: IPPrefix(IPAddress(127, 0, 0, 1), length: 32)!, tcp: tcp.compactMap { PortRange($0) },
      udp: udp.compactMap { PortRange($0) }, echo: true)
  }

  /// Cuts the connection in both directions, without a word of either end.
  func cut() { _ = shutdown(tap, CInt(SHUT_RDWR)) }

  /// How the session ended on the adapter's side; `nil` while it goes on.
  var end: SessionEnd? { outcome.end.withLock { $0 } }

  private final class Outcome: Sendable {
    let end = Mutex<SessionEnd?>(nil)
  }

  struct NotConnected: Error {}
}
