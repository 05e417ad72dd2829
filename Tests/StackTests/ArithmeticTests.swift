import Packet
import Primitives
import Testing

@testable import Stack

@Suite struct ArithmeticTests {
  @Test func sequenceNumbersWrap() {
    let low = SequenceNumber(5)
    let high = SequenceNumber(.max - 4)
    #expect(high < low && low > high && low - high == 10 && high - low == -10)
    #expect(high + 10 == low && low + -10 == high)
    #expect(SequenceNumber.later(low, high) == low && SequenceNumber.earlier(low, high) == high)
    #expect(low <= low && low >= low && !(low < low))
  }

  /// The vectors of the SipHash paper's reference implementation: key 00..0f, messages of 0 to 15 bytes 00, 01, 02, ...
  @Test func sipHashMatchesItsVectors() {
    let key: (UInt64, UInt64) = (0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908)
    #expect(SipHash(key: key).finalize() == 0x726f_db47_dd0e_0e31)
    var eight = SipHash(key: key)
    eight.combine(0x0706_0504_0302_0100)
    #expect(eight.finalize() == 0x93f5_f579_9a93_2462)
    var fifteen = SipHash(key: key)
    fifteen.combine(0x0706_0504_0302_0100)
    #expect(fifteen.finalize(tail: 0x0e_0d0c_0b0a_0908, tailBytes: 7) == 0xa129_ca61_49be_45e5)
  }

  @Test func initialNumbersDifferAndTick() {
    let source = InitialSequence(secret: (1, 2))
    let one = FiveTuple(protocol: .tcp, source: Packets.application, destination: Packets.device)
    let now = Instant(nanoseconds: 1_000_000_000)
    #expect(source.number(for: one, now: now) != source.number(for: one.reversed, now: now))
    #expect(source.number(for: one, now: now + .microseconds(400)) - source.number(for: one, now: now) == 100)
    #expect(
      InitialSequence(secret: (1, 3)).number(for: one, now: now) != source.number(for: one, now: now))
  }

  @Test func timeoutFollowsRFC6298() {
    var timer = RetransmissionTimer()
    #expect(timer.timeout == .seconds(1))
    timer.sample(.milliseconds(400))
    // SRTT + 4 * RTTVAR = 400 + 4 * 200.
    #expect(timer.timeout == .milliseconds(1200))
    timer.backOff()
    timer.backOff()
    #expect(timer.timeout == .milliseconds(4800))
    timer.progress()
    for _ in 0..<50 { timer.sample(.microseconds(50)) }
    #expect(timer.timeout == RetransmissionTimer.minimum)
    for _ in 0..<50 { timer.backOff() }
    #expect(timer.timeout == RetransmissionTimer.maximum)
  }

  @Test func limiterRefills() {
    var limiter = RateLimiter(perSecond: 10)
    var now = Instant(nanoseconds: 7)
    func allowed() -> Int {
      var count = 0
      for _ in 0..<20 where limiter.allow(now: now) { count += 1 }
      return count
    }
    #expect(allowed() == 10)
    now = now + .milliseconds(300)
    #expect(allowed() == 3)
    now = now + .seconds(3600)
    #expect(allowed() == 10)
    limiter = RateLimiter(perSecond: 0)
    #expect(allowed() == 0)
  }

  @Test func acceptanceFollowsTheTable() {
    let next = SequenceNumber(.max - 50)
    func verdict(_ offset: Int, _ count: Int, _ window: Int) -> Bool {
      SegmentAcceptance.sequence(next + offset, count: count, next: next, window: window) == .acceptable
    }
    #expect(verdict(0, 0, 0) && verdict(0, 1, 0) && !verdict(1, 0, 0) && !verdict(-1, 0, 0))
    #expect(verdict(0, 0, 100) && verdict(99, 0, 100) && !verdict(101, 0, 100) && !verdict(-1, 0, 100))
    #expect(verdict(-5, 6, 100) && !verdict(-5, 5, 100) && verdict(99, 500, 100) && !verdict(100, 1, 100))
    #expect(SegmentAcceptance.reset(next, next: next, window: 0) == .reset)
    #expect(SegmentAcceptance.reset(next + 5, next: next, window: 10) == .challenge)
    #expect(SegmentAcceptance.reset(next + 10, next: next, window: 10) == .ignore)
    #expect(SegmentAcceptance.reset(next + -1, next: next, window: 10) == .ignore)
    func answer(_ offset: Int) -> SegmentAcceptance.AcknowledgementVerdict {
      SegmentAcceptance.acknowledgement(next + offset, una: next, nxt: next + 100, maximumWindow: 1000)
    }
    #expect(answer(0) == .acceptable && answer(100) == .acceptable && answer(101) == .challenge)
    #expect(answer(-1) == .old && answer(-1000) == .old && answer(-1001) == .challenge)
  }

  @Test func countersHoldEveryReason() {
    var counters = StackCounters()
    for reason in DropReason.allCases { counters.drop(reason) }
    #expect(counters.dropped == UInt64(DropReason.allCases.count))
  }
}
