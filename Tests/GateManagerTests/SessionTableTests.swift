import Access
import Control
import Crypto
import Primitives
import Testing

@testable import GateManager

struct SessionTableTests {
  private let start = Instant(nanoseconds: 1_000_000_000)
  private let key = KeyHash([UInt8](repeating: 1, count: 32))!
  private func slot(_ index: UInt32) -> SlotID { SlotID(index: index, generation: 1) }

  private func session(_ user: String = "ann") throws -> GateSession {
    GateSession(
      id: try SessionID.random(), user: user, pc: "pc", site: "north", owner: slot(0), clientKey: key, siteKey: key,
      agents: ["plc"], descriptions: [], reason: nil, created: 100, notAfter: 200, expires: start + .seconds(100),
      rules: [], deadline: start + .seconds(30))
  }

  @Test func bothEndsMeetOnce() throws {
    var table = SessionTable()
    let session = try session()
    let known = table.insert(session)
    let other = try SessionID.random()
    #expect(known && table.attach(slot(5), as: .linkManager, to: other) == nil)
    #expect(table.attach(slot(1), as: .linkManager, to: session.id) == [slot(1)])
    #expect(table.attach(slot(2), as: .linkManager, to: session.id) == nil)
    #expect(table.attach(slot(3), as: .siteManager, to: session.id) == [slot(1), slot(3)])
    #expect(table.remove(session.id)?.ends == [slot(1), slot(3)] && table.count == 0)
    #expect(table.remove(session.id) == nil && table.count(of: "ann") == 0)
  }

  @Test func oneUserCannotTakeAll() throws {
    var table = SessionTable()
    for _ in 0..<GateLimits.sessionsPerUser {
      let inserted = table.insert(try session())
      #expect(inserted)
    }
    let (more, other) = (table.insert(try session()), table.insert(try session("bob")))
    #expect(!more && other)
  }

  @Test func sessionsEndWithTheirTime() throws {
    var table = SessionTable()
    let session = try session()
    _ = table.insert(session)
    #expect(table.overdue(now: start).isEmpty)
    #expect(table.overdue(now: start + .seconds(30)).map(\.isExpired) == [false])
    #expect(table.overdue(now: start + .seconds(101)).map(\.isExpired) == [true])
  }

  /// Whoever notices it first: what ended a session is the rule whose time was over.
  @Test func theEndOfARuleIsTheReason() throws {
    var session = try session()
    #expect(session.story("both ends have finished", now: start + .seconds(101)) == "both ends have finished")
    session.limit = "the time of rule 2 is over"
    #expect(session.story("left", now: start + .seconds(98)) == "left")
    #expect(session.story("left", now: start + .seconds(99)) == "the time of rule 2 is over (left)")
  }

  /// The rules' end counts where it comes first, and on the clock that nobody sets.
  @Test func aSessionIsLimitedByWhatEndsFirst() {
    let limit = { (until: Int64?) in
      SessionLimit(created: 100, began: start, longest: 50, until: until, reason: "over")
    }
    #expect(limit(nil).notAfter == 150 && limit(nil).expires == start + .seconds(50) && limit(nil).reason == nil)
    #expect(limit(160).notAfter == 150 && limit(160).reason == nil)
    #expect(limit(120).notAfter == 120 && limit(120).expires == start + .seconds(20))
    #expect(limit(120).reason == "over")
    #expect(limit(90).expires == start)
  }

  @Test func theNewestConnectionSpeaksForASite() {
    var registry = Registry()
    let agent = AgentDescription(name: "plc", target: .device(.v4))
    func site(_ index: UInt32) -> Registry.OnlineSite {
      Registry.OnlineSite(connection: slot(index), key: key, address: "a", since: 0, agents: nil)
    }
    #expect(registry.add(site(1), name: "north") == nil)
    #expect(registry.add(site(2), name: "north") == slot(1))
    registry.announce([agent], by: "north", on: slot(1))
    let isAway = registry.remove(slot(1), .site("north"))
    #expect(!isAway)
    #expect(registry.sites["north"] != nil && registry.sites["north"]?.agents == nil, "an old connection spoke")
    registry.announce([agent], by: "north", on: slot(2))
    #expect(registry.sites["north"]?.agents == [agent])
    let hasLeft = registry.remove(slot(2), .site("north"))
    #expect(hasLeft && registry.sites.isEmpty)
  }

  /// However many there are: what is listed costs time, and nothing else.
  @Test func listsGoByWhatIsChosen() throws {
    var state = AccessState()
    for number in 0..<10_000 {
      let bytes = (0..<32).map { UInt8(truncatingIfNeeded: number >> ($0 % 4 * 8)) }
      state.apply(
        .putSite(AccessSite(name: "s\(number)", domain: .root, created: 0, key: KeyHash(bytes), enrolled: 0)))
    }
    state.apply(.putSite(AccessSite(name: "new", domain: .root, created: 0)))
    let membership = Membership(state, now: 0)
    var registry = Registry()
    _ = registry.add(
      Registry.OnlineSite(connection: slot(1), key: key, address: "a", since: 0, agents: nil), name: "s7")
    let listed = registry.summaries(membership, of: ["s7", "s3", "new", "none"])
    #expect(listed.map(\.name) == ["s3", "s7"] && listed.map(\.online) == [false, true])
    #expect(registry.summaries(membership, of: membership.siteKeys.keys).count == 10_000)
    let took = ContinuousClock().measure {
      for _ in 0..<2000 { _ = registry.summaries(membership, of: ["s7", "s3"]) }
    }
    #expect(took < .seconds(2), "\(took)")
  }

  @Test func guessingGetsSlower() {
    var throttle = LoginThrottle()
    for _ in 0..<LoginThrottle.free - 1 { throttle.failed(["a"], now: start) }
    #expect(throttle.wait(for: ["a", "b"], now: start) == nil)
    throttle.failed(["a"], now: start)
    #expect(throttle.wait(for: ["a", "b"], now: start) == .seconds(2))
    for _ in 0..<20 { throttle.failed(["a"], now: start) }
    #expect(throttle.wait(for: ["a"], now: start) == LoginThrottle.longestWait)
    #expect(throttle.wait(for: ["a"], now: start + .seconds(301)) == nil)
    throttle.succeeded(["a"])
    #expect(throttle.wait(for: ["a"], now: start) == nil)
  }

  @Test func ratesFillUpAgain() {
    var limit = RateLimit(rate: 2, burst: 4, now: start)
    let first = (0..<5).map { _ in limit.take(1, now: start) }
    #expect(first == [true, true, true, true, false])
    let (one, two, three) = (
      limit.take(1, now: start + .seconds(1)), limit.take(1, now: start + .seconds(1)),
      limit.take(1, now: start + .seconds(1))
    )
    #expect(one && two && !three)
  }

  @Test func oneSourceCannotTakeAllRoom() {
    var count = StrangerCount()
    let near = (0..<GateLimits.strangersPerAddress + 1).map { index in
      count.admit(IPAddress("2001:db8::\(index)"))
    }
    #expect(near.filter { $0 }.count == GateLimits.strangersPerAddress && near.last == false)
    count.remove(IPAddress("2001:db8::1"))
    let next = count.admit(IPAddress("2001:db8::ffff"))
    #expect(next)
    let other = count.admit(IPAddress("2001:db8:0:1::1"))
    #expect(other)
    for index in 0..<GateLimits.strangers { _ = count.admit(IPAddress(v4: UInt32(index) << 8)) }
    let late = count.admit(IPAddress(1, 2, 3, 4))
    #expect(!late && count.total == GateLimits.strangers)
  }

  @Test(arguments: ["a", "site-a", "0.b_c", String(repeating: "x", count: 64)]) func takesNames(_ name: String) {
    #expect(AccessName.isValid(name))
  }

  @Test(arguments: ["", ".", "..", "a/b", "A", "-a", "é", String(repeating: "x", count: 65), "a\0"])
  func refusesNames(_ name: String) {
    #expect(!AccessName.isValid(name))
  }
}
