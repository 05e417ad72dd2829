import Control
import Crypto
import Kernel
import Primitives
import Proxy
import Testing

@testable import GateManager

/// Peers of other versions, made of messages by hand: each is told which side is older, and so is GateManager's log.
@Suite(.serialized, .timeLimit(.minutes(1))) struct UpgradeTests {
  @Test func aHelloOfAnotherVersion() throws {
    let fixture = try GateFixture()
    let (site, _) = try fixture.enroll(fixture.addSite("north"), name: "north")
    for (version, older) in [
      (2, "the GateManager is too old"), (0, "sitemanager/x is too old"), (.max, "GateManager is"),
    ] {
      let peer = try RawPeer(fixture, site)
      try peer.hello(.siteManager, version: version, software: "sitemanager/x")
      let failure = try peer.failure()
      #expect(failure?.code == .versionIncompatible)
      #expect(failure?.message.contains(older) == true && failure?.message.contains("version \(version)") == true)
      #expect(try peer.end().isEnd)
      #expect(fixture.log.lines("control connection refused", "site=north", older).count >= 1, "\(fixture.log.all)")
    }
    #expect(fixture.eventually { $0.refusals["incompatible"] == 3 })
  }

  @Test func aHelloOfALaterMinorVersion() throws {
    let fixture = try GateFixture()
    let (site, _) = try fixture.enroll(fixture.addSite("north"), name: "north")
    let peer = try RawPeer(fixture, site)
    peer.send(
      text: """
        {"type":"hello","version":1,"role":"site","name":"north","software":"sitemanager/9","features":["a",{"b":2}],
        "serial":123.5}
        """)
    guard case .welcome = try peer.next().get() else { throw SystemError(call: "welcome", code: 71) }
    // A type that isn't known is passed over, or answered if it is a request.
    peer.send(text: "{\"type\":\"telemetry\",\"values\":[1,2,3]}")
    peer.send(text: "{\"type\":\"reserve\",\"request\":8}")
    let failure = try peer.failure()
    #expect(
      failure?.code == .malformed && failure?.message.contains("too old for it") == true,
      "\(String(describing: failure))")
    #expect(fixture.log.lines("message refused", "site=north", "doesn't know `reserve`").count == 1)
    // Agents with fields, states and kinds of permissions that a later version may add.
    peer.send(
      text: """
        {"type":"agents","agents":[{"name":"plc","kind":"device","family":4,"tcp":["502"],"state":"HIBERNATING",
        "serialPort":"ttyS0","schedule":{"from":6,"to":22}}]}
        """)
    #expect(fixture.eventually { $0.sites.first?.agents == ["plc"] })
  }

  @Test func protocolsThatAreNotSpoken() throws {
    let fixture = try GateFixture()
    for (names, says) in [
      (["relayvpn-control/2"], "of a later version: this GateManager is too old"),
      (["relayvpn-data/3", "relayvpn-data/2"], "of a later version"),
      (["relayvpn-control/0"], "of an earlier version: it is too old"),
      (["h2", "http/1.1"], "speaks h2, http/1.1, and is no LinkManager"),
      (["relayvpn-control/one"], "is no LinkManager"),
    ] {
      let socket = try Socket.connect(to: fixture.service.endpoint)
      try UnixSocket.setBlocking(socket, timeoutSeconds: 10)
      let context = try TLSContext(.client, peer: .required, alpn: names)
      var tls = try TLSConnection(context, descriptor: socket.rawValue)
      do {
        _ = try tls.handshake()
        Issue.record("\(names) is spoken")
      } catch TLSError.peerAlert(TLSError.noApplicationProtocol, _) {
      } catch {
        Issue.record("\(names): \(error)")
      }
      #expect(fixture.log.told("connection refused", "no protocol in common", says), "\(fixture.log.all)")
    }
    #expect(fixture.eventually { $0.refusals["wrongProtocol"] == 5 })
    // None at all is another kind.
    let socket = try Socket.connect(to: fixture.service.endpoint)
    try UnixSocket.setBlocking(socket, timeoutSeconds: 10)
    var tls = try TLSConnection(TLSContext(.client, peer: .required), descriptor: socket.rawValue)
    let progress = try tls.handshake()
    #expect(progress == .done)
    #expect(fixture.eventually { $0.refusals["wrongProtocol"] == 6 })
  }

  @Test func aLaterVersionAmongSeveralIsFine() throws {
    let fixture = try GateFixture()
    let peer = try RawPeer(fixture, nil, alpn: ["relayvpn-control/2", ControlProtocol.alpn])
    try peer.hello(.linkManager)
    guard case .welcome = try peer.next().get() else {
      Issue.record("no welcome")
      return
    }
  }

  /// Keys are identities: what else a certificate says, its dates included, decides nothing.
  @Test func aCertificateCountsByItsKeyAlone() throws {
    let fixture = try GateFixture()
    try fixture.addUser("ann")
    let user = try fixture.login("ann")
    var profile = CertificateProfile(commonName: "somebody else", usage: .peer, now: 1_000_000_000)
    profile.notAfter = 1_000_000_001
    let expired = TLSContext.Credentials(try .selfSigned(profile, key: user.key), key: user.key)
    #expect(expired.certificate.notAfter < Clock.unixSeconds)
    guard case .sites = try fixture.request(.list, as: .linkManager, expired) else {
      Issue.record("not listed")
      return
    }
  }

  /// A site that doesn't know what a grant depends on doesn't dial.
  @Test func grantsOfALaterVersion() throws {
    let fixture = try GateFixture()
    let keys = try fixture.directory.loadKeys()
    let (site, enrolled) = try fixture.enroll(fixture.addSite("north"), name: "north")
    let identity = SiteIdentity(
      server: fixture.server, credentials: site, keyHash: site.key.keyHash, grantKey: enrolled.grantKey)
    let now = Clock.unixSeconds
    for isVersion in [true, false] {
      var grant = Grant(
        session: try .random(), gate: "gm.test", site: "north", siteKey: site.key.keyHash, user: "ann", pc: "pc",
        clientKey: site.key.keyHash, agents: .all, notBefore: now, notAfter: now + 60)
      if isVersion { grant.version = 2 } else { grant.critical = ["readOnly"] }
      let dial = ControlMessage.Dial(
        id: grant.session, ticket: try .random(), grant: try grant.signed(with: keys.grantKey), serverTime: now)
      let error = #expect(throws: ArrivalError.self) {
        _ = try identity.meet(dial, rules: [], onFlow: { _ in }, onEnd: { _ in })
      }
      guard case .grant(let reason) = error else {
        Issue.record("\(String(describing: error))")
        continue
      }
      #expect(reason == (isVersion ? .unsupportedVersion(2) : .unsupportedClaim("readOnly")))
      #expect("\(reason)".contains("it is too old, and has to be updated"))
    }
    #expect(fixture.service.status()?.totals.connectionsAccepted == 1, "nothing was dialled but to enrol")
  }
}
