import Control
import Crypto
import Kernel
import Logging
import Primitives
import Proxy
import Service
import Synchronization
import Testing

@testable import SiteManager

@Suite(.serialized, .timeLimit(.minutes(1))) struct SiteServiceTests {
  /// What a gate of the test has heard.
  private final class Notes: Sendable {
    let dials = Atomic(0)
    let left = Mutex<[String]>([])
    let announced = Mutex<[AgentDescription]>([])
  }

  /// A gate that answers each announcement of agents by a call to a session, and lets nobody come to it.
  private func gate(_ key: PrivateKey, _ siteKey: KeyHash, _ notes: Notes) throws -> FakeGate {
    try FakeGate(key: key) { issuer, message in
      switch message {
      case .agents(let agents, features: _):
        notes.announced.withLock { $0 = agents }
        notes.dials.add(1, ordering: .relaxed)
        let id = try SessionID.random()
        let now = Clock.unixSeconds
        let grant = try Grant(
          session: id, gate: "gm", site: "north", siteKey: siteKey, user: "ann", pc: "pc", clientKey: siteKey,
          agents: .named([]), notBefore: now, notAfter: now + 3600, reason: nil
        ).signed(with: issuer.grantKey)
        return .dial(.init(id: id, ticket: try Ticket.random(), grant: grant, serverTime: now))
      case .cancel(let ending):
        notes.left.withLock { $0.append(ending.reason) }
        return .pong(0)
      default: return .pong(0)
      }
    }
  }

  private func eventually(_ condition: () -> Bool) -> Bool {
    for _ in 0..<500 {
      if condition() { return true }
      Thread.sleep(.milliseconds(20))
    }
    return false
  }

  private func run(
    sessions: Int, arrivals: Int, _ body: (SiteService, Notes) throws -> Void
  ) throws {
    let key = try PrivateKey.generate()
    let site = try Identity(
      key: key,
      certificate: .selfSigned(CertificateProfile(commonName: "north", usage: .peer, now: Clock.unixSeconds), key: key))
    let gateKey = try PrivateKey.generate()
    let notes = Notes()
    let gate = try gate(gateKey, key.keyHash, notes)
    let address = try #require(HostPort(gate.address))
    let log = Logger(label: "site") { _ in SwiftLogNoOpLogHandler() }
    let service = SiteService(
      name: "north",
      identity: SiteIdentity(
        server: GateServer(address, pin: .key(gateKey.keyHash)), credentials: site.credentials, keyHash: key.keyHash,
        grantKey: gate.grantKey.publicKey),
      agents: [], durations: SiteDurations(MetricRegistry()), log: log, sessionLimit: sessions, arrivalLimit: arrivals)
    try service.start()
    try body(service, notes)
    service.stop()
    gate.end()
  }

  /// What the operator on site has switched off is announced so, and calls to sessions are refused.
  @Test func whatIsOffIsToldAndRefused() throws {
    try run(sessions: 3, arrivals: 3) { service, notes in
      service.replaceRemoteAccess(RemoteAccess(off: .init(reason: "maintenance")))
      let agents = ["plc", "web"].map { AgentConfiguration(name: $0, device: IPPrefix("192.0.2.1/32")!, tcp: [.all]) }
      service.replaceAgents(agents)
      let off = "remote access is switched off on site: maintenance"
      #expect(eventually { notes.announced.withLock { $0.map(\.veto) } == [off, off] })
      #expect(notes.announced.withLock { $0.map(\.state) } == [.down, .down])
      #expect(eventually { notes.left.withLock { $0.contains(off) } })
      let arriving = service.state.withLock { $0.arriving }
      #expect(service.status().veto == off && service.status().agents.map(\.state) == ["DOWN", "DOWN"])
      // One alone: others are met.
      service.replaceRemoteAccess(RemoteAccess(agents: ["plc": .init(reason: "press 4")]))
      #expect(eventually { notes.announced.withLock { $0.map(\.veto) } == ["switched off on site: press 4", nil] })
      #expect(eventually { service.state.withLock { $0.arriving } > arriving })
      #expect(service.state.withLock { $0.rules.map(\.veto) } == ["switched off on site: press 4", nil])
      #expect(service.status().veto == nil && service.status().agents.map(\.state) == ["DOWN", "IDLE"])
      #expect("\(service.status())".contains("DOWN: switched off on site: press 4"))
    }
  }

  /// Calls to more sessions than there may be: the site says no at once, and why, and goes on.
  @Test(arguments: [(sessions: 3, arrivals: 10), (sessions: 10, arrivals: 3)])
  func arrivalsAndSessionsAreBounded(limits: (sessions: Int, arrivals: Int)) throws {
    try run(sessions: limits.sessions, arrivals: limits.arrivals) { service, notes in
      // Each announcement brings a call; the first comes with the connection.
      for count in 1...5 {
        #expect(eventually { notes.dials.load(ordering: .relaxed) == count })
        #expect(eventually { service.state.withLock { $0.arriving + Int($0.totals.sessionsRefused) } == count })
        service.replaceAgents([])
      }
      #expect(eventually { service.state.withLock { $0.totals.sessionsRefused } == 3 })
      let arriving = service.state.withLock { $0.arriving }
      #expect(arriving == 3)
      #expect(eventually { notes.left.withLock { $0.count } == 3 })
      let reason = "the site has \(limits.sessions) sessions or \(limits.arrivals) arrivals"
      let left = notes.left.withLock { $0 }
      #expect(left == [reason, reason, reason])
      let since = service.state.withLock { $0.connectedSince }
      #expect(since != nil)
    }
  }
}
