import Adapter
import Control
import Crypto
import Framing
import Glibc
import Kernel
import Primitives
import Synchronization
import Testing

@testable import GateManager
@testable import Proxy

/// Tickets, data connections and the pipe behind them, used wrongly, with a whole session beside it.
@Suite(.serialized, .timeLimit(.minutes(3))) struct BadSessionTests {
  private static let data = [ControlProtocol.dataALPN]
  private static var soon: Instant { Clock.now + .seconds(10) }

  /// A user and a site whose sessions a test drives by hand.
  private struct Pair {
    let user, site: TLSContext.Credentials
    let link, north: TestPeer

    init(_ fixture: GateFixture) throws {
      try fixture.addUser("ann")
      user = try fixture.login("ann")
      site = try fixture.enroll(fixture.addSite("north"), name: "north").0
      north = try TestPeer(fixture, .siteManager, site)
      try north.send(.agents([AgentDescription(name: "plc", target: .device(.v4), tcp: [PortRange(502)!])]))
      link = try TestPeer(fixture, .linkManager, user)
      #expect(fixture.eventually { $0.sites.contains { $0.name == "north" && $0.agents.count == 1 } })
    }

    func connect() throws -> (session: ControlMessage.Session, dial: ControlMessage.Dial) {
      try link.send(.connect(.init(site: "north")))
      let session = try link.message { if case .session(let body) = $0 { body } else { nil } }
      return (session, try north.message { if case .dial(let body) = $0, body.id == session.id { body } else { nil } })
    }

    /// How the session ended, as GateManager tells both ends.
    func ending(_ id: SessionID) throws -> (link: String, site: String) {
      let reason = { (message: ControlMessage) -> String? in
        switch message {
        case .revoke(let ending) where ending.id == id, .sessionEnded(let ending) where ending.id == id: ending.reason
        default: nil
        }
      }
      return (try link.message(reason), try north.message(reason))
    }

    func stop() {
      link.stop()
      north.stop()
    }
  }

  @Test func tickets() async throws {
    let fixture = try GateFixture()
    let bystander = try await Bystander(fixture)
    let pair = try Pair(fixture)
    let stranger = try PrivateKey.generate()
    let unknown = TLSContext.Credentials(
      try .selfSigned(.init(commonName: "ann", usage: .peer, now: Clock.unixSeconds), key: stranger), key: stranger)
    func refusal(_ ticket: Ticket, _ credentials: TLSContext.Credentials?) throws -> String {
      let peer = try RawPeer(fixture, credentials, alpn: Self.data)
      try peer.send(.attach(ticket))
      let failure = try peer.failure()
      #expect(failure?.code == .notPermitted, "\(String(describing: failure))")
      #expect(try peer.end().isEnd)
      return failure?.message ?? ""
    }
    #expect(try refusal(.random(), pair.user).hasPrefix("the ticket is unknown"))
    let (first, firstDial) = try pair.connect()
    #expect(try refusal(firstDial.ticket, pair.user) == "the ticket is for the session's other end")
    #expect(
      try refusal(firstDial.ticket, pair.site).hasPrefix("the ticket is unknown, or was used"), "any try spends it")
    let other = try fixture.login("calm")
    #expect(try refusal(first.ticket, other) == "the ticket is for another key")
    let (second, _) = try pair.connect()
    #expect(try refusal(second.ticket, unknown).hasPrefix("the key isn't registered here"))
    #expect(try refusal(second.ticket, nil).hasPrefix("no client certificate"))
    // That was no try of somebody who could have used it.
    let good = try RawPeer(fixture, pair.user, alpn: Self.data)
    try good.send(.attach(second.ticket))
    #expect(fixture.log.told("end arrived", "session=\(second.id)"))

    #expect(fixture.log.lines("warning connection refused", "user=ann", "detail=the ticket is unknown").count == 1)
    #expect(fixture.log.lines("connection refused", "user=calm", "detail=the ticket is for another key").count == 1)
    #expect(fixture.log.lines("connection refused", "detail=the key isn't registered").count == 1)
    #expect(fixture.log.lines("connection refused", "detail=no client certificate").count == 1)
    #expect(fixture.eventually { $0.refusals["badTicket"] == 5 && $0.refusals["noCertificate"] == 1 })
    try await bystander.expectUndisturbed(fixture)
    pair.stop()
    bystander.stop()
  }

  @Test func beforeTheTicket() async throws {
    let fixture = try GateFixture()
    let bystander = try await Bystander(fixture)
    let user = try fixture.login("calm")
    for bytes in [
      RawPeer.message("{\"type\":\"attach\",\"ticket\":\"AAAA\"}"), RawPeer.message("[]"), [0xFF, 0xFF, 0xFF, 0xFF],
      try ControlEnvelope(.list).encoded(),
    ] {
      let peer = try RawPeer(fixture, user, alpn: Self.data)
      peer.send(bytes)
      let failure = try peer.failure()
      #expect(failure == nil || failure?.code == .malformed, "\(String(describing: failure))")
      #expect(try peer.end().isEnd)
    }
    #expect(fixture.eventually { $0.refusals["malformed"] == 4 && $0.connections == 2 })
    #expect(fixture.log.lines("user=calm", Refusal.malformed.text).count == 4, "\(fixture.log.all)")
    try await bystander.expectUndisturbed(fixture)
    bystander.stop()
  }

  /// At each moment of the meeting one end misbehaves; both control connections hear of the session's end.
  @Test func duringTheMeeting() async throws {
    let fixture = try GateFixture()
    let bystander = try await Bystander(fixture)
    let pair = try Pair(fixture)

    // More bytes behind the ticket, in one record with it.
    let (greedy, _) = try pair.connect()
    let peer = try RawPeer(fixture, pair.user, alpn: Self.data)
    peer.send(try ControlEnvelope(.attach(greedy.ticket)).encoded() + [1, 2, 3])
    #expect(try peer.failure()?.message.hasPrefix("more bytes came behind") == true)

    // Bytes that are no TLS while it waits for the other end, and a connection that is cut there.
    for cuts in [false, true] {
      let (session, dial) = try pair.connect()
      let waiting = try RawPeer(fixture, pair.site, alpn: Self.data)
      try waiting.send(.attach(dial.ticket))
      #expect(fixture.log.told("end arrived", "session=\(session.id)"))
      cuts ? waiting.finish() : waiting.sendRaw(Array("no record at all".utf8))
      #expect(try waiting.end().isEnd)
      let ending = try pair.ending(session.id)
      let reason = cuts ? Refusal.disconnected.text : Refusal.brokenTLS.text
      #expect(ending.link == reason && ending.site == reason, "\(ending)")
    }

    // Application data where close_notify has to come, no close_notify but raw bytes, and none at all.
    for way in ["data", "raw", "cut"] {
      let (session, dial) = try pair.connect()
      let site = try RawPeer(fixture, pair.site, alpn: Self.data)
      try site.send(.attach(dial.ticket))
      let link = try RawPeer(fixture, pair.user, alpn: Self.data)
      try link.send(.attach(session.ticket))
      #expect(try link.next().get() == .attached)
      #expect(try site.next().get() == .attached)
      let reason: String
      switch way {
      case "data":
        link.send(Array("early".utf8))
        reason = Refusal.switchFailed.text
      case "raw":
        link.sendRaw([UInt8](repeating: 0x55, count: 100))
        reason = Refusal.brokenTLS.text
      default:
        link.finish()
        reason = Refusal.disconnected.text
      }
      let ending = try pair.ending(session.id)
      #expect(ending.link == reason && ending.site == reason, "\(ending)")
      #expect(try site.end().isEnd)
      #expect(fixture.log.told("session ended", "session=\(session.id)", reason), "\(fixture.log.all)")
    }
    #expect(fixture.eventually { $0.sessions.count <= 2 && $0.connectionKinds.data == 0 })
    try await bystander.expectUndisturbed(fixture)
    pair.stop()
    bystander.stop()
  }

  /// Garbage in the pipe instead of the end-to-end handshake, from each end.
  @Test func insteadOfTheHandshakeBetweenTheEnds() async throws {
    let fixture = try GateFixture()
    let bystander = try await Bystander(fixture)
    let garbage = Array("these bytes are no TLS, and there are some of them".utf8)
    try fixture.addUser("ann")
    let user = try fixture.login("ann")

    // From a LinkManager to a site.
    let site = try TestSite(fixture, "north")
    let link = try TestPeer(fixture, .linkManager, user)
    try link.send(.connect(.init(site: "north")))
    let session = try link.message { if case .session(let body) = $0 { body } else { nil } }
    let pipe = try DataConnection.open(
      to: fixture.server, ticket: session.ticket, credentials: user, until: Self.soon)
    try pipe.setNonblocking(false)
    try pipe.writeAll(garbage)
    guard case .handshake(.tls(.peerMisbehaved)) = site.arrivals.wait() else {
      Issue.record("\(String(describing: site.arrivals.value))")
      return
    }
    let reason = try link.message { if case .sessionEnded(let ending) = $0 { ending.reason } else { nil } }
    #expect(reason.hasPrefix("the end-to-end handshake failed: "), "\(reason)")
    #expect(fixture.log.told("session ended", "\(session.id)", "north: the end-to-end handshake failed"))
    link.stop()

    // From a site to a LinkManager.
    let odd = try TestSite(fixture, "odd", answers: false)
    // Its own connection would come back and take the place of the next one again.
    odd.stop()
    let calls = try TestPeer(fixture, .siteManager, odd.credentials)
    try calls.send(.agents([AgentDescription(name: "plc", target: .device(.v4), tcp: [.all])]))
    #expect(fixture.eventually { $0.sites.contains { $0.name == "odd" && $0.agents.count == 1 } })
    let server = fixture.server
    let log = fixture.log
    let answering = try Thread(name: "odd") {
      guard let dial = try? calls.message({ if case .dial(let body) = $0 { body } else { nil } }) else { return }
      guard
        let pipe = try? DataConnection.open(
          to: server, ticket: dial.ticket, credentials: odd.credentials, until: Self.soon)
      else { return }
      try? pipe.setNonblocking(false)
      try? pipe.writeAll(garbage)
      // A connection that is closed before LinkManager has said why would be the reason itself.
      _ = log.told("session ended", "site=odd")
    }
    let gate = try GateLink(server: server, credentials: user, user: "ann", software: "test/1")
    do {
      let established = try await gate.connect(to: "odd") { _ in }
      Issue.record("met \(established.id)")
    } catch HandshakeError.tls(.peerMisbehaved) {
    } catch {
      Issue.record("\(error)")
    }
    answering.join()
    // The LinkManager says that it won't come any more, and why.
    #expect(fixture.log.told("session ended", "site=odd", "ann: end-to-end handshake"), "\(fixture.log.all)")
    #expect(fixture.eventually { $0.sessions.count == 1 })
    gate.stop()
    calls.stop()
    odd.stop()
    site.stop()
    try await bystander.expectUndisturbed(fixture)
    bystander.stop()
  }

  /// Garbage among the records of a session that is open, from each end.
  @Test func amongTheRecords() async throws {
    let fixture = try GateFixture()
    let bystander = try await Bystander(fixture)
    try fixture.addUser("ann")
    let user = try fixture.login("ann")
    let site = try TestSite(fixture, "north")
    let link = try TestPeer(fixture, .linkManager, user)
    let kinds: [([UInt8], RecordError)] = [
      (Array("no record".utf8), .notARecord), ([0x17, 3, 3, 0xFF, 0xFF] + [1, 2, 3], .badLength(65535)),
      ([0x17, 3, 3, 0, 40] + [UInt8](repeating: 9, count: 40), .badTag),
    ]
    for (bytes, expected) in kinds {
      site.ends.clear()
      try link.send(.connect(.init(site: "north")))
      let session = try link.message { if case .session(let body) = $0 { body } else { nil } }
      let pipe = try DataConnection.open(
        to: fixture.server, ticket: session.ticket, credentials: user, until: Self.soon)
      _ = try EndToEndHandshake.run(
        on: pipe, role: .link, credentials: user, expecting: session.siteKey,
        exporterContext: session.grant.exporterContext(session: session.id), until: Self.soon)
      try pipe.setNonblocking(false)
      try pipe.writeAll(bytes)
      guard case .session(.record(let error)) = site.ends.wait() else {
        Issue.record("\(String(describing: site.ends.value))")
        continue
      }
      #expect(error == expected)
      let reason = try link.message { if case .sessionEnded(let ending) = $0 { ending.reason } else { nil } }
      #expect(reason == "the peer broke the protocol: \(expected)", "\(reason)")
    }
    link.stop()

    let odd = try TestSite(fixture, "odd", answers: false)
    // Its own connection would come back and take the place of the next one again.
    odd.stop()
    let calls = try TestPeer(fixture, .siteManager, odd.credentials)
    try calls.send(.agents([AgentDescription(name: "plc", target: .device(.v4), tcp: [.all])]))
    #expect(fixture.eventually { $0.sites.contains { $0.name == "odd" && $0.agents.count == 1 } })
    let (server, key) = (fixture.server, user.key.keyHash)
    let adapter = try Adapter()
    let gate = try GateLink(server: server, credentials: user, user: "ann", software: "test/1")
    for (bytes, expected) in kinds {
      let isReady = Box<Bool>()
      let answering = try Thread(name: "odd") {
        guard let dial = try? calls.message({ if case .dial(let body) = $0 { body } else { nil } }) else { return }
        guard
          let pipe = try? DataConnection.open(
            to: server, ticket: dial.ticket, credentials: odd.credentials, until: Self.soon),
          let context = try? dial.grant.exporterContext(session: dial.id),
          (try? EndToEndHandshake.run(
            on: pipe, role: .site, credentials: odd.credentials, expecting: key, exporterContext: context,
            until: Self.soon)) != nil
        else { return }
        _ = isReady.wait()
        try? pipe.setNonblocking(false)
        try? pipe.writeAll(bytes)
        usleep(300_000)
      }
      let end = Box<SessionEnd>()
      try await adapter.attach(gate.connect(to: "odd") { _ in }) { end.put($0) }
      isReady.put(true)
      guard case .session(.record(let error)) = end.wait() else {
        Issue.record("\(String(describing: end.value))")
        continue
      }
      #expect(error == expected)
      answering.join()
    }
    adapter.stop()
    gate.stop()
    calls.stop()
    odd.stop()
    site.stop()
    try await bystander.expectUndisturbed(fixture)
    bystander.stop()
  }

  /// A site's key that isn't the pinned one: the LinkManager says why, and the site needn't wait.
  @Test func aSiteThatIsNotTheOne() async throws {
    struct Distrust: Error {}
    let fixture = try GateFixture()
    let bystander = try await Bystander(fixture)
    let site = try TestSite(fixture, "north")
    let began = Clock.now
    await #expect(throws: Distrust.self) {
      _ = try await bystander.link.connect(to: "north") { _ in throw Distrust() }
    }
    guard case .gate(.refused(let failure)) = site.arrivals.wait() else {
      Issue.record("\(String(describing: site.arrivals.value))")
      return
    }
    // As it was there already, or came too late.
    #expect(failure.message.contains("doesn't accept the site's key") || failure.message.hasPrefix("the ticket"))
    #expect(Clock.now - began < .seconds(8), "not only when the meeting's time is over")
    #expect(
      fixture.log.told("session ended", "site=north", "calm: the LinkManager doesn't accept the site's key sha256:"))
    site.stop()
    try await bystander.expectUndisturbed(fixture)
    bystander.stop()
  }

  /// The agent that a stream is for was taken out meanwhile, and agents and sites that never were.
  @Test func whatIsNotThere() async throws {
    let fixture = try GateFixture()
    let bystander = try await Bystander(fixture)
    func refusal(_ body: () async throws -> Void) async -> ControlMessage.Failure? {
      do { try await body() } catch GateError.refused(let failure) { return failure } catch { Issue.record("\(error)") }
      return nil
    }
    let agent = await refusal { _ = try await bystander.link.connect(to: "calm", agents: ["plc", "press"]) { _ in } }
    #expect(agent?.code == .notPermitted && agent?.message == "site calm has no agent `press`")
    #expect(fixture.log.lines("connect refused", "user=calm", "site=calm", "no such agent").count == 1)
    let site = await refusal { _ = try await bystander.link.connect(to: "nowhere") { _ in } }
    #expect(site?.code == .unknownSite)
    #expect(fixture.log.lines("connect refused", "user=calm", "site=nowhere").count == 1)
    try await bystander.expectUndisturbed(fixture)

    bystander.site.removeAgents()
    do {
      for _ in 0..<200 {
        _ = try await bystander.adapter.connect(to: "calm/plc", port: bystander.site.devicePort)
        try await Task.sleep(for: .milliseconds(10))
      }
      Issue.record("the agent is still there")
    } catch LocalStreamError.refused(let refusal) {
      #expect(refusal.reason == .unknownAgent)
    }
    bystander.stop()
  }
}
