import Control
import Crypto
import Glibc
import Kernel
import Primitives
import Proxy
import Synchronization
import Testing

@testable import GateManager

@Suite(.serialized) struct GateServiceTests {
  private let plc = AgentDescription(name: "plc", target: .device(.v4), tcp: [PortRange(502)!])
  private let web = AgentDescription(name: "web", target: .device(.v4), tcp: [PortRange(80)!])

  private func failure(_ body: () throws -> Void) -> FailureCode? {
    do { try body() } catch GateError.refused(let failure) { return failure.code } catch { Issue.record("\(error)") }
    return nil
  }

  @Test func enrolmentCodesWorkOnce() throws {
    let fixture = try GateFixture()
    let code = try fixture.addSite("north")
    let (credentials, answer) = try fixture.enroll(code, name: "whatever")
    #expect(answer.name == "north" && credentials.certificate.organizationalUnit == "SiteManager")
    #expect(credentials.certificate.isIssued(by: try Certificate(pem: answer.caCertificate)))
    #expect(failure { _ = try fixture.enroll(code, name: "north") } == .codeUnknown)
    let late = try fixture.addSite("late", expires: Clock.unixSeconds - 1)
    #expect(failure { _ = try fixture.enroll(late, name: "late") } == .codeExpired)
    #expect(fixture.service.status()?.sites.map(\.name) == ["north"])
  }

  @Test func loginsAreCheckedAndSlowedDown() throws {
    let fixture = try GateFixture()
    try fixture.addUser("ann")
    let credentials = try fixture.login("ann")
    #expect(credentials.certificate.commonName == "ann")
    #expect(fixture.state.accounts["ann"]?.pcs.map(\.key) == [credentials.key.keyHash])
    for name in ["ann", "nobody", "../ann"] {
      #expect(failure { _ = try fixture.login(name, password: "wrong") } == .badCredentials)
    }
    for _ in 0..<2 { #expect(failure { _ = try fixture.login("ann", password: "wrong") } == .badCredentials) }
    #expect(failure { _ = try fixture.login("ann") } == .tooManyAttempts)
    let refusals = try #require(fixture.service.status()).refusals
    #expect(refusals["badCredentials"] == 5 && refusals["throttled"] == 1)
  }

  @Test func strangersMayOnlyEnrolAndLogIn() throws {
    let fixture = try GateFixture()
    #expect(failure { _ = try fixture.request(.list, as: .linkManager) } == .notPermitted)
    let key = try PrivateKey.generate()
    let forged = try Certificate.selfSigned(.init(commonName: "ann", usage: .client, now: Clock.unixSeconds), key: key)
    let credentials = TLSContext.Credentials(forged, key: key)
    #expect(failure { _ = try fixture.request(.list, as: .linkManager, credentials) } == .notPermitted)
    // A registered key in the wrong role.
    let (site, _) = try fixture.enroll(fixture.addSite("north"), name: "north")
    #expect(failure { _ = try fixture.request(.list, as: .linkManager, site) } == .notPermitted)
  }

  @Test func refusesConnectsWithTheirReason() throws {
    let fixture = try GateFixture()
    try fixture.addUser("ann")
    let user = try fixture.login("ann")
    let (site, _) = try fixture.enroll(fixture.addSite("north"), name: "north")
    #expect(failure { _ = try fixture.request(.connect(.init(site: "south")), as: .linkManager, user) } == .unknownSite)
    #expect(failure { _ = try fixture.request(.connect(.init(site: "north")), as: .linkManager, user) } == .siteOffline)
    let north = try TestPeer(fixture, .siteManager, site)
    try north.send(.agents([plc]))
    #expect(fixture.eventually { $0.sites.first?.agents.count == 1 })
    #expect(
      failure { _ = try fixture.request(.connect(.init(site: "north", agents: ["web"])), as: .linkManager, user) }
        == .notPermitted)
    guard case .sites(let sites) = try fixture.request(.list, as: .linkManager, user) else {
      Issue.record("no list")
      return
    }
    #expect(sites.map(\.name) == ["north"] && sites[0].online && sites[0].agents == [plc])
    north.stop()
    #expect(fixture.eventually { $0.sites.first?.online == false })
  }

  @Test func joinsTwoEndsAndCarriesBytes() throws {
    let fixture = try GateFixture()
    try fixture.addUser("ann")
    let user = try fixture.login("ann")
    let (site, enrolled) = try fixture.enroll(fixture.addSite("north"), name: "north")
    let north = try TestPeer(fixture, .siteManager, site)
    try north.send(.agents([plc, web]))
    #expect(fixture.eventually { $0.sites.first?.agents.count == 2 })
    let link = try TestPeer(fixture, .linkManager, user)
    try link.send(.connect(.init(site: "north", agents: ["plc"], reason: "test")), request: 7)
    let session = try link.message { if case .session(let body) = $0 { body } else { nil } }
    let dial = try north.message { if case .dial(let body) = $0 { body } else { nil } }
    #expect(session.id == dial.id && session.agents == [plc] && session.siteKey == site.key.keyHash)
    let grant = try dial.grant.verify(
      with: enrolled.grantKey, site: site.key.keyHash, clientKey: user.key.keyHash, session: dial.id,
      now: Clock.unixSeconds)
    #expect(grant.user == "ann" && grant.pc == "pc-1" && grant.agents == .named(["plc"]) && grant.reason == "test")

    let server = fixture.server
    let echo = SocketBox()
    let far = try Thread(name: "far") {
      echo.put(
        try? DataConnection.open(to: server, ticket: dial.ticket, credentials: site, until: Clock.now + .seconds(10)))
    }
    let near = try DataConnection.open(
      to: server, ticket: session.ticket, credentials: user, until: Clock.now + .seconds(10))
    far.join()
    let other = try #require(echo.take())
    // Both at once, in pieces that the relay gets in one go with what came before.
    try near.setNonblocking(false)
    let otherEnd = OwnedDescriptor(owning: other)
    try otherEnd.setNonblocking(false)
    let bytes = (0..<100_000).map { UInt8(truncatingIfNeeded: $0 &* 31 >> 3) }
    try near.writeAll(bytes)
    try otherEnd.writeAll(Array(bytes.reversed()))
    #expect(try read(bytes.count, otherEnd) == bytes)
    #expect(try read(bytes.count, near) == bytes.reversed())
    #expect(fixture.eventually { $0.sessions.first?.bytesFromLink == UInt64(bytes.count) && $0.relay.active == 1 })

    // The same ticket again, and the ticket of the other role.
    #expect(
      failure {
        _ = try DataConnection.open(
          to: server, ticket: session.ticket, credentials: user, until: Clock.now + .seconds(10))
      } == .notPermitted)

    // The user leaves: the session ends, both sockets too.
    link.stop()
    #expect(try north.message { if case .revoke(let ending) = $0 { ending.id } else { nil } } == session.id)
    #expect(throws: SystemError.self) { _ = try read(1, otherEnd) }
    #expect(fixture.eventually { $0.sessions.isEmpty && $0.relay.active == 0 })
  }

  @Test func aNewerConnectionOfASiteFencesTheOlder() throws {
    let fixture = try GateFixture()
    let (site, _) = try fixture.enroll(fixture.addSite("north"), name: "north")
    let old = try TestPeer(fixture, .siteManager, site)
    let new = try TestPeer(fixture, .siteManager, site)
    // It is told why: a second host with the same key would never learn what throws it out.
    let failure = try old.message { if case .failure(let body) = $0 { body } else { nil } }
    #expect(failure.code == .other("fenced") && failure.message == Refusal.fenced.text)
    _ = try old.disconnected()
    old.stop()
    try new.send(.agents([plc]))
    #expect(fixture.eventually { $0.sites.first?.agents.count == 1 && $0.refusals["fenced"] ?? 0 >= 1 })
    // Removing the site's record ends its connection.
    try fixture.perform(.removeSite("north"))
    _ = try new.disconnected()
    #expect(fixture.eventually { $0.sites.isEmpty })
  }

  @Test func whoIsClosedForMisconductIsOffline() throws {
    let fixture = try GateFixture()
    let (site, _) = try fixture.enroll(fixture.addSite("north"), name: "north")
    let north = try TestPeer(fixture, .siteManager, site)
    #expect(fixture.eventually { $0.sites.first?.online == true })
    for _ in 0..<2 * GateLimits.messageBurst { try? north.send(.list) }
    _ = try north.disconnected()
    north.stop()
    #expect(fixture.eventually { $0.sites.first?.online == false && $0.refusals["tooFast"] == 1 })
  }

  @Test func whoWaitsIsToldThatTheOtherWontCome() throws {
    let fixture = try GateFixture()
    try fixture.addUser("ann")
    let user = try fixture.login("ann")
    let (site, _) = try fixture.enroll(fixture.addSite("north"), name: "north")
    let north = try TestPeer(fixture, .siteManager, site)
    try north.send(.agents([plc]))
    #expect(fixture.eventually { $0.sites.first?.agents.count == 1 })
    let link = try TestPeer(fixture, .linkManager, user)
    try link.send(.connect(.init(site: "north")))
    let session = try link.message { if case .session(let body) = $0 { body } else { nil } }
    _ = try north.message { if case .dial(let body) = $0 { body } else { nil } }
    let server = fixture.server
    let refusal = Refused()
    let waiting = try Thread(name: "waiting") {
      do throws(GateError) {
        _ = try DataConnection.open(
          to: server, ticket: session.ticket, credentials: user, until: Clock.now + .seconds(10))
      } catch {
        if case .refused(let failure) = error { refusal.code.withLock { $0 = failure.code } }
      }
    }
    // The waiting end is there; then the site gives up.
    #expect(fixture.eventually { $0.connections == 3 })
    usleep(100_000)
    try north.send(.cancel(.init(id: session.id, reason: "no device")))
    waiting.join()
    #expect(refusal.code.withLock { $0 } == .siteOffline)
    #expect(try link.message { if case .sessionEnded(let ending) = $0 { ending.reason } else { nil } } == "no device")
    #expect(fixture.eventually { $0.sessions.isEmpty && $0.connections == 2 })
    link.stop()
    north.stop()
  }

  @Test func whoWaitsIsToldThatTheOtherIsGone() throws {
    let fixture = try GateFixture()
    try fixture.addUser("ann")
    let user = try fixture.login("ann")
    let (site, _) = try fixture.enroll(fixture.addSite("north"), name: "north")
    let north = try TestPeer(fixture, .siteManager, site)
    try north.send(.agents([plc]))
    #expect(fixture.eventually { $0.sites.first?.agents.count == 1 })
    let link = try TestPeer(fixture, .linkManager, user)
    try link.send(.connect(.init(site: "north")))
    let session = try link.message { if case .session(let body) = $0 { body } else { nil } }
    let began = Clock.now
    // Killed, or cut off, between the call to the session and its arrival there.
    north.stop()
    #expect(throws: GateError.self) {
      _ = try DataConnection.open(
        to: fixture.server, ticket: session.ticket, credentials: user, until: Clock.now + .seconds(20))
    }
    let reason = try link.message { if case .revoke(let ending) = $0 { ending.reason } else { nil } }
    #expect(reason == Refusal.siteOffline.text)
    #expect(Clock.now - began < .seconds(10), "not only when its time is over")
    #expect(fixture.eventually { $0.sessions.isEmpty && $0.connections == 1 })
    link.stop()
  }

  @Test func bytesThatCrossTheSwitchEndIt() throws {
    let fixture = try GateFixture()
    try fixture.addUser("ann")
    let user = try fixture.login("ann")
    let (site, _) = try fixture.enroll(fixture.addSite("north"), name: "north")
    let north = try TestPeer(fixture, .siteManager, site)
    try north.send(.agents([plc]))
    #expect(fixture.eventually { $0.sites.first?.agents.count == 1 })
    let link = try TestPeer(fixture, .linkManager, user)
    try link.send(.connect(.init(site: "north")))
    let session = try link.message { if case .session(let body) = $0 { body } else { nil } }
    // A TLS client by hand, which goes on talking after its ticket.
    let context = try TLSContext(.client, credentials: user, peer: .required, alpn: [ControlProtocol.dataALPN])
    let socket = try Socket.connect(to: fixture.service.endpoint)
    try socket.setNonblocking(false)
    var tls = try TLSConnection(context, descriptor: socket.rawValue)
    #expect(try tls.handshake() == .done)
    for bytes in [try ControlEnvelope(.attach(session.ticket)).encoded(), [1, 2, 3]] {
      _ = try tls.write(bytes.span)
    }
    #expect(try link.message { if case .revoke(let ending) = $0 { ending.id } else { nil } } == session.id)
    #expect(fixture.eventually { $0.sessions.isEmpty })
    link.stop()
    north.stop()
  }

  private func read(_ count: Int, _ socket: borrowing OwnedDescriptor) throws -> [UInt8] {
    var all: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 65536)
    while all.count < count {
      var span = buffer.mutableSpan
      guard case .moved(let got) = try socket.read(into: &span) else { return all }
      all += buffer[..<got]
    }
    return all
  }
}

/// Carries a descriptor out of a thread.
private final class SocketBox: Sendable {
  private let value = Mutex<CInt?>(nil)

  func put(_ socket: consuming OwnedDescriptor?) {
    guard let socket else { return }
    let fd = socket.release()
    value.withLock { $0 = fd }
  }

  func take() -> CInt? { value.withLock { $0.take() } }
}

private final class Refused: Sendable {
  let code = Mutex<FailureCode?>(nil)
}
