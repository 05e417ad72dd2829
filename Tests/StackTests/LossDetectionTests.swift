import Primitives
import Testing

@testable import Stack

/// RACK-TLP (RFC 8985) on a flight of single segments, a hundred bytes each.
@Suite struct LossDetectionTests {
  private static let segment = 100
  private static let roundTrip = Interval.milliseconds(40)
  private let base = SequenceNumber(.max - 150)

  /// A flight whose segments left a millisecond apart, and what is found out about it.
  private final class Bench {
    var flight = Flight()
    var detection: LossDetection
    var now = Instant.zero + .seconds(1)
    let base: SequenceNumber

    init(_ base: SequenceNumber, segments: Int) {
      self.base = base
      detection = LossDetection(initial: base)
      detection.note(roundTrip: LossDetectionTests.roundTrip, now: now)
      for index in 0..<segments { send(index) }
    }

    func send(_ index: Int) {
      flight.append(number(index), number(index + 1), at: now)
      now = now + .milliseconds(1)
    }

    func number(_ index: Int) -> SequenceNumber { base + index * LossDetectionTests.segment }

    /// The peer reports to hold segments.
    func hold(_ range: Range<Int>) {
      var delivery = Delivery()
      flight.hold(number(range.lowerBound), number(range.upperBound), delivery: &delivery)
      detection.note(delivery, now: now)
    }

    func acknowledge(_ index: Int) {
      var delivery = Delivery()
      flight.acknowledge(number(index), delivery: &delivery)
      detection.note(delivery, now: now)
    }

    func detect(isRecovering: Bool = false) -> Bool {
      detection.detect(
        in: &flight, isRecovering: isRecovering, segment: LossDetectionTests.segment,
        smoothed: LossDetectionTests.roundTrip, now: now)
    }

    /// Whether an acknowledgement up to a segment shows that the probe has repaired a loss.
    func answersProbe(_ index: Int, isDuplicate: Bool = false) -> Bool {
      detection.acknowledgeProbe(number(index), isDuplicate: isDuplicate)
    }

    func wait(_ interval: Interval) { now = now + interval }

    /// Which segments are lost.
    var lost: [Int] {
      (0..<flight.count).filter { flight[$0].fate == .lost }.flatMap { index in
        let piece = flight[index]
        return stride(from: piece.start - base, to: piece.end - base, by: LossDetectionTests.segment)
          .map { $0 / LossDetectionTests.segment }
      }
    }
  }

  @Test func threeSegmentsBehindAGapMakeItALossAtOnce() {
    let bench = Bench(base, segments: 10)
    bench.wait(.milliseconds(30))
    bench.hold(1..<3)
    #expect(bench.detect() == false)
    #expect(bench.lost == [])
    bench.hold(3..<4)
    #expect(bench.detect())
    #expect(bench.lost == [0])
    // What was sent later than the last one that arrived may still come.
    bench.hold(6..<7)
    #expect(bench.detect(isRecovering: true))
    #expect(bench.lost == [0, 4, 5])
    #expect(bench.detect(isRecovering: true) == false)
  }

  @Test func fewerOnesMakeItALossAfterAQuarterOfARoundTrip() throws {
    let bench = Bench(base, segments: 3)
    bench.wait(.milliseconds(37))
    // The third one left 38 ms ago, the first one 40 ms ago.
    bench.hold(2..<3)
    #expect(bench.detect() == false)
    let deadline = try #require(bench.detection.reorderingDeadline)
    #expect(deadline > bench.now && deadline - bench.now <= .milliseconds(10))
    bench.now = deadline
    #expect(bench.detect())
    #expect(bench.lost == [0, 1])
    #expect(bench.detection.reorderingDeadline == nil)
  }

  @Test func nothingIsLostWithoutAGap() {
    let bench = Bench(base, segments: 5)
    bench.wait(.seconds(1))
    bench.acknowledge(2)
    #expect(bench.detect() == false)
    #expect(bench.detection.reorderingDeadline == nil)
  }

  /// Once segments have overtaken each other, three of them are no sign of a loss any more.
  @Test func reorderingIsRemembered() throws {
    let bench = Bench(base, segments: 10)
    bench.wait(.milliseconds(30))
    bench.hold(1..<2)
    #expect(!bench.detection.isReorderingSeen)
    bench.hold(0..<1)
    #expect(bench.detection.isReorderingSeen)
    bench.hold(3..<7)
    #expect(bench.detect() == false)
    #expect(bench.lost == [])
    bench.now = try #require(bench.detection.reorderingDeadline)
    #expect(bench.detect())
    #expect(bench.lost == [2])
  }

  /// Each duplicate that the peer reports gives packets more time, once in a round trip; sixteen recoveries without one
  /// take that back.
  @Test func duplicatesWidenTheWindowForSomeTime() {
    let bench = Bench(base, segments: 4)
    #expect(bench.detection.windowFactor == 1)
    bench.detection.noteDuplicate(una: bench.number(0), nxt: bench.number(4))
    bench.detection.noteDuplicate(una: bench.number(3), nxt: bench.number(4))
    #expect(bench.detection.windowFactor == 2)
    bench.detection.noteDuplicate(una: bench.number(4), nxt: bench.number(8))
    #expect(bench.detection.windowFactor == 3)
    for _ in 0..<15 { bench.detection.recoveryEnded() }
    #expect(bench.detection.windowFactor == 3)
    bench.detection.recoveryEnded()
    #expect(bench.detection.windowFactor == 1)
  }

  /// A lost retransmission is found, too: by what was sent behind it.
  @Test func aLostRetransmissionIsFound() {
    let bench = Bench(base, segments: 6)
    bench.wait(.milliseconds(35))
    bench.hold(1..<5)
    #expect(bench.detect())
    bench.flight.resent(bench.number(0), bench.number(1), at: bench.now)
    bench.wait(.milliseconds(1))
    bench.send(6)
    bench.wait(.milliseconds(60))
    #expect(bench.detect(isRecovering: true) == false)
    bench.hold(6..<7)
    #expect(bench.detect(isRecovering: true))
    #expect(bench.lost.contains(0))
  }

  /// An acknowledgement that comes sooner than any could answers the first transmission.
  @Test func aRetransmissionIsNotTakenForAnsweredAtOnce() {
    let bench = Bench(base, segments: 6)
    bench.wait(.milliseconds(35))
    bench.hold(1..<5)
    #expect(bench.detect())
    bench.flight.resent(bench.number(0), bench.number(1), at: bench.now)
    bench.wait(.milliseconds(1))
    bench.acknowledge(1)
    // Taken for the newest that has arrived, it would make a loss of the sixth, which is on its way.
    #expect(bench.detect(isRecovering: true) == false)
    #expect(bench.lost == [])
  }

  // MARK: The tail loss probe

  @Test func aProbeThatRepairedALossSaysSo() {
    let bench = Bench(base, segments: 3)
    let end = bench.number(3)
    bench.detection.armProbe(bench.now)
    #expect(bench.detection.probeDeadline == bench.now)
    bench.detection.probeSent(end: end, isRetransmission: true)
    // One may be under way.
    bench.detection.armProbe(bench.now)
    #expect(bench.detection.probeDeadline == nil)
    #expect(bench.answersProbe(2) == false)
    #expect(bench.answersProbe(4))
    #expect(bench.detection.probeEnd == nil)
  }

  @Test(arguments: [true, false]) func aNeedlessProbeSaysNothing(_ isReportedAsDuplicate: Bool) {
    let bench = Bench(base, segments: 3)
    bench.detection.probeSent(end: bench.number(3), isRetransmission: true)
    if isReportedAsDuplicate {
      bench.detection.noteDuplicate(una: bench.number(3), nxt: bench.number(3))
      #expect(bench.answersProbe(3) == false)
    } else {
      #expect(bench.answersProbe(3) == false)
      #expect(bench.answersProbe(3, isDuplicate: true) == false)
    }
    #expect(bench.detection.probeEnd == nil)
    #expect(bench.answersProbe(4) == false)
  }

  @Test func aProbeOfNewDataSaysNothing() {
    let bench = Bench(base, segments: 3)
    bench.detection.probeSent(end: bench.number(4), isRetransmission: false)
    #expect(bench.answersProbe(5) == false)
    #expect(bench.detection.probeEnd == nil)
  }

  @Test func aTimeoutEndsIt() {
    let bench = Bench(base, segments: 3)
    bench.detection.probeSent(end: bench.number(3), isRetransmission: true)
    bench.detection.timedOut()
    #expect(bench.answersProbe(4) == false)
  }
}
