import Control
import Primitives
import Testing

@testable import GateManager

struct ControlPeerTests {
  private let start = Instant(nanoseconds: 1_000_000_000)

  private func hello(_ role: Role, version: Int = 1) -> ControlEnvelope {
    ControlEnvelope(.hello(.init(role: role, name: "x", software: "x", version: version)))
  }

  private func peer(_ identity: PeerIdentity?) -> ControlPeer {
    ControlPeer(identity: identity, gate: "gm", now: start)
  }

  private func code(_ actions: [ControlPeer.Action]) -> FailureCode? {
    for case .send(let envelope) in actions {
      if case .failure(let failure) = envelope.message { return failure.code }
    }
    return nil
  }

  private func isClosed(_ actions: [ControlPeer.Action]) -> Bool {
    if case .close = actions.last { true } else { false }
  }

  @Test func theKeySaysWhoItIs() {
    var peer = peer(.site("north"))
    let actions = peer.receive(hello(.siteManager), now: start, unixSeconds: 5)
    guard case .send(let welcome) = actions.first, case .welcome(let body) = welcome.message else {
      Issue.record("\(actions)")
      return
    }
    #expect(body.gate == "gm" && body.heartbeatSeconds == 20 && body.serverTime == 5)
    #expect(actions.last == .online(.site("north")) && peer.isIdentified)
  }

  @Test func refusesOtherRolesVersionsAndOrders() {
    var wrongRole = peer(.site("north"))
    let first = wrongRole.receive(hello(.linkManager), now: start, unixSeconds: 0)
    #expect(code(first) == .notPermitted && isClosed(first))
    var newer = peer(nil)
    #expect(code(newer.receive(hello(.linkManager, version: 2), now: start, unixSeconds: 0)) == .versionIncompatible)
    var early = peer(.user("ann", pc: "p"))
    let third = early.receive(ControlEnvelope(.list), now: start, unixSeconds: 0)
    #expect(code(third) == .malformed && isClosed(third))
    #expect(early.receive(hello(.linkManager), now: start, unixSeconds: 0).isEmpty)
  }

  @Test func strangersGetNothingButEnrolmentAndLogin() {
    let login = ControlMessage.Login(user: "ann", password: "p", csr: "c", pc: "p")
    for message in [ControlMessage.list, .agents([]), .connect(.init(site: "a"))] {
      var peer = peer(nil)
      _ = peer.receive(hello(.linkManager), now: start, unixSeconds: 0)
      let actions = peer.receive(ControlEnvelope(message, request: 3), now: start, unixSeconds: 0)
      #expect(code(actions) == .notPermitted && isClosed(actions))
    }
    var peer = peer(nil)
    _ = peer.receive(hello(.linkManager), now: start, unixSeconds: 0)
    for _ in 0..<GateLimits.triesPerConnection {
      let actions = peer.receive(ControlEnvelope(.login(login), request: 1), now: start, unixSeconds: 0)
      #expect(actions == [.login(login, request: 1)])
    }
    #expect(isClosed(peer.receive(ControlEnvelope(.login(login)), now: start, unixSeconds: 0)))
  }

  @Test func rolesDoNotMix() {
    var site = peer(.site("north"))
    _ = site.receive(hello(.siteManager), now: start, unixSeconds: 0)
    #expect(code(site.receive(ControlEnvelope(.list), now: start, unixSeconds: 0)) == .notPermitted)
    #expect(
      code(site.receive(ControlEnvelope(.connect(.init(site: "a"))), now: start, unixSeconds: 0)) == .notPermitted)
    #expect(site.receive(ControlEnvelope(.agents([])), now: start, unixSeconds: 0) == [.agents([], request: nil)])
    var user = peer(.user("ann", pc: "p"))
    _ = user.receive(hello(.linkManager), now: start, unixSeconds: 0)
    #expect(code(user.receive(ControlEnvelope(.agents([])), now: start, unixSeconds: 0)) == .notPermitted)
    // What a later version says is passed over, what it asks is answered.
    #expect(user.receive(ControlEnvelope(.unknown("new")), now: start, unixSeconds: 0).isEmpty)
    #expect(code(user.receive(ControlEnvelope(.unknown("new"), request: 1), now: start, unixSeconds: 0)) == .malformed)
  }

  @Test func pingsAndGivesUp() throws {
    var peer = peer(.site("north"))
    _ = peer.receive(hello(.siteManager), now: start, unixSeconds: 0)
    #expect(peer.nextDeadline == start + .seconds(20))
    #expect(peer.handleTimeout(now: start + .seconds(20)) == [.send(ControlEnvelope(.ping(1)))])
    #expect(peer.handleTimeout(now: start + .seconds(21)).isEmpty)
    #expect(peer.handleTimeout(now: start + .seconds(40)) == [.send(ControlEnvelope(.ping(2)))])
    #expect(peer.handleTimeout(now: start + .seconds(45)) == [.close(.silent)])
    #expect(peer.nextDeadline == nil)

    // A GateManager that was stopped for a minute has heard nobody meanwhile.
    var late = self.peer(.site("north"))
    _ = late.receive(hello(.siteManager), now: start, unixSeconds: 0)
    #expect(late.handleTimeout(now: start + .seconds(60)) == [.send(ControlEnvelope(.ping(1)))])
    #expect(late.handleTimeout(now: start + .seconds(84)).count == 1)
    #expect(late.handleTimeout(now: start + .seconds(85)) == [.close(.silent)])

    var answering = self.peer(.site("north"))
    _ = answering.receive(hello(.siteManager), now: start, unixSeconds: 0)
    for step in 1...20 {
      let now = start + .seconds(Int64(step) * 20)
      #expect(answering.handleTimeout(now: now).count == 1)
      #expect(answering.received(bytes: 20, now: now).isEmpty)
    }
  }

  @Test func waitsOnlySoLongForHelloAndForStrangers() {
    var silent = peer(nil)
    #expect(silent.handleTimeout(now: start + .seconds(9)).isEmpty)
    #expect(silent.handleTimeout(now: start + .seconds(10)) == [.close(.noHello)])
    var stranger = peer(nil)
    _ = stranger.receive(hello(.linkManager), now: start, unixSeconds: 0)
    #expect(stranger.handleTimeout(now: start + .seconds(60)) == [.close(.idleStranger)])
  }

  @Test func closesWhoTalksTooFast() {
    var peer = peer(.site("north"))
    _ = peer.receive(hello(.siteManager), now: start, unixSeconds: 0)
    let flood = (0..<GateLimits.messageBurst).map { _ in
      peer.receive(ControlEnvelope(.ping(1)), now: start, unixSeconds: 0)
    }
    #expect(flood.last == [.close(.tooFast)] && peer.isIdentified)
    var loud = self.peer(.site("north"))
    #expect(loud.received(bytes: Int(GateLimits.byteBurst) + 1, now: start) == [.close(.tooFast)])
  }

  /// A message that dribbles in is a sign of life for the line, and none for the peer.
  @Test func aMessageHasItsEnd() {
    var peer = peer(.site("north"))
    _ = peer.receive(hello(.siteManager), now: start, unixSeconds: 0)
    var now = start
    for _ in 0..<60 {
      _ = peer.received(bytes: 1, now: now)
      peer.holdsPart(true, now: now)
      #expect(peer.handleTimeout(now: now).isEmpty)
      now = now + .seconds(1)
    }
    #expect(peer.nextDeadline == start + GateLimits.messageTime)
    #expect(peer.handleTimeout(now: start + GateLimits.messageTime) == [.close(.endlessMessage)])

    // One after the other is no such message, nor is one that was cut short by this host's own sleep.
    var busy = self.peer(.site("north"))
    _ = busy.receive(hello(.siteManager), now: start, unixSeconds: 0)
    now = start
    for _ in 0..<20 {
      busy.holdsPart(true, now: now)
      now = now + .seconds(10)
      _ = busy.received(bytes: 10, now: now)
      _ = busy.receive(ControlEnvelope(.agents([])), now: now, unixSeconds: 0)
      busy.holdsPart(true, now: now)
      #expect(!isClosed(busy.handleTimeout(now: now)))
    }
    #expect(!isClosed(busy.handleTimeout(now: now + .seconds(300))))
  }

  @Test func eachSideIsToldWhichIsOlder() {
    for (version, older) in [(2, "the GateManager is too old"), (0, "x is too old")] {
      var peer = peer(nil)
      let actions = peer.receive(hello(.linkManager, version: version), now: start, unixSeconds: 0)
      guard case .close(.incompatible, let detail) = actions.last else {
        Issue.record("\(actions)")
        continue
      }
      #expect(detail.contains(older) && detail.contains("version \(version)"))
    }
  }
}
