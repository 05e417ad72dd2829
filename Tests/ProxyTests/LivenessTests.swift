import Framing
import Primitives
import Testing

@testable import Proxy

@Suite struct LivenessTests {
  private let start = Instant(nanoseconds: 50_000_000_000)

  private func liveness() -> Liveness {
    Liveness(pingInterval: .seconds(2), deadInterval: .seconds(15), now: start)
  }

  /// Looks whenever it wants to be looked at, up to `end`; what came of it, with its time in milliseconds.
  private func look(_ liveness: inout Liveness, until end: Instant) -> [(Int64, Liveness.Verdict)] {
    var seen: [(Int64, Liveness.Verdict)] = []
    while liveness.nextDeadline <= end {
      let now = liveness.nextDeadline
      let verdict = liveness.check(now: now)
      seen.append(((now - start).milliseconds, verdict))
      if verdict == .ping { _ = liveness.ping(now: now) }
      if case .dead = verdict { break }
    }
    return seen
  }

  @Test func asksAndThenGivesUp() {
    var liveness = liveness()
    let seen = look(&liveness, until: start + .seconds(60))
    #expect(seen.map(\.0) == [2_000, 4_000, 6_000, 8_000, 10_000, 12_000, 14_000, 15_000])
    #expect(seen.last?.1 == .dead(.seconds(15)))
  }

  @Test func anyByteIsALife() {
    var liveness = liveness()
    for second in 1..<100 as Range<Int64> {
      liveness.received(now: start + .seconds(second))
      #expect(liveness.check(now: start + .seconds(second)) == .wait)
    }
  }

  @Test func aProbeDemandsAnAnswerSoon() {
    var liveness = liveness()
    liveness.probe(now: start)
    #expect(look(&liveness, until: start + .seconds(60)).last?.0 == 3_000)

    var answered = self.liveness()
    answered.probe(now: start)
    answered.received(now: start + .seconds(1))
    #expect(look(&answered, until: start + .seconds(60)).last?.0 == 16_000)
  }

  /// A session whose first PINGs were late learns the true distance while it is busy; an idle one asks no more often.
  @Test func aBusySessionGoesOnMeasuring() throws {
    var pair = try SessionPair(seed: 1)
    try pair.settle(distance: .milliseconds(40))
    var shortest = pair.link.liveness.roundTrip
    #expect(shortest ?? .zero >= .milliseconds(40))
    pair.link.sampleRates(now: pair.now)
    var isAsking = pair.link.hasOutput
    #expect(!isAsking, "nobody has sent anything")
    let id = try pair.link.open(OpenRequest(agent: "a", transport: .udp, port: 1), tag: 0)
    pair.link.sendDatagram(id, pair.slice([1]), pool: &pair.pool)
    _ = try pair.exchange()
    while let event = pair.site.nextEvent() { if case .datagram(_, let slice) = event { pair.pool.release(slice) } }
    pair.link.sampleRates(now: pair.now)
    // While it has no answer, no other one goes out: the answer would be none to the last.
    pair.link.sendDatagram(id, pair.slice([1]), pool: &pair.pool)
    pair.link.sampleRates(now: pair.now)
    let pings = pair.link.controls.count
    #expect(pings == 1)
    for _ in 0..<3 { _ = try pair.exchange() }
    while let event = pair.site.nextEvent() { if case .datagram(_, let slice) = event { pair.pool.release(slice) } }
    shortest = pair.link.liveness.roundTrip
    #expect(shortest ?? .seconds(1) <= .milliseconds(2))
    pair.link.sampleRates(now: pair.now)
    for _ in 0..<3 { _ = try pair.exchange() }
    pair.link.sampleRates(now: pair.now)
    isAsking = pair.link.hasOutput
    #expect(!isAsking, "nothing was sent since")
    #expect(pair.close() == 0)
  }

  /// The first round trip of a session is no measure of the others.
  @Test func aSessionBeginsByMeasuringSeveralTimes() throws {
    var liveness = liveness()
    let times = [9_000, 3_000, 200, 400, 300, 100] as [Int64]
    var now = start
    for (index, time) in times.prefix(Liveness.firstSamples).enumerated() {
      let value = liveness.ping(now: now)
      now = now + .microseconds(time)
      let isWanted = liveness.pong(value, now: now)
      #expect(isWanted == (index + 1 < Liveness.firstSamples))
    }
    #expect(liveness.roundTrip == .microseconds(200) && liveness.lastRoundTrip == .microseconds(300))
    // Later ones come one at a time.
    let value = liveness.ping(now: now)
    let isWanted = liveness.pong(value, now: now + .microseconds(100))
    #expect(!isWanted)

    var pair = try SessionPair(seed: 1)
    try pair.settle()
    let isQuiet = !pair.link.hasOutput && !pair.site.hasOutput
    #expect(isQuiet)
    #expect(pair.close() == 0)
  }

  @Test func aHostThatWasAsleepDoesNotBlameThePeer() {
    var liveness = liveness()
    let awake = start + .seconds(60)
    #expect(liveness.check(now: awake) == .ping)
    _ = liveness.ping(now: awake)
    // Who has something to say has said it by then.
    var answered = liveness
    answered.received(now: awake + .milliseconds(10))
    #expect(answered.check(now: awake + .seconds(1)) == .wait)
    // Who hasn't is given up soon, and the silence is told as it was.
    let seen = look(&liveness, until: awake + .seconds(60))
    #expect(seen.last?.1 == .dead(.seconds(66)))
  }
}
