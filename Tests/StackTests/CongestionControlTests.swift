import Primitives
import Testing

@testable import Stack

@Suite struct CongestionControlTests {
  private static let segment = 1000

  /// A sender with nothing but a congestion window: it fills it, and takes acknowledgements.
  private struct Sender {
    var congestion: CongestionControl
    var una = SequenceNumber(1)
    var nxt = SequenceNumber(1)
    /// Of the flight, what is lost or held.
    var away = 0

    var flight: Int { nxt - una }
    var pipe: Int { flight - away }

    init(_ algorithm: StackConfiguration.Congestion = .reno) {
      congestion = CongestionControl(algorithm, segment: CongestionControlTests.segment)
    }

    /// Sends as long as a segment fits; no more than `limit` bytes are there.
    mutating func fill(limit: Int = .max) {
      var left = limit
      while left >= CongestionControlTests.segment, congestion.window - pipe >= CongestionControlTests.segment {
        nxt += CongestionControlTests.segment
        left -= CongestionControlTests.segment
        congestion.sent(CongestionControlTests.segment, pipe: pipe, una: una, nxt: nxt)
      }
    }

    mutating func acknowledge(_ bytes: Int) {
      una += bytes
      congestion.acknowledged(bytes, pipe: pipe, isProgress: true, hasLosses: false)
    }
  }

  private var segment: Int { Self.segment }

  @Test(arguments: [1, 2, 5, 10])
  func doublesInARoundTripHoweverAcknowledgementsAreSpread(_ pieces: Int) {
    var sender = Sender()
    var expected = sender.congestion.window
    #expect(expected == 10 * segment)
    for _ in 0..<5 {
      sender.fill()
      #expect(sender.flight == expected)
      // All of them come before anything is sent for them.
      let flight = sender.flight
      for piece in 0..<pieces { sender.acknowledge(flight * (piece + 1) / pieces - flight * piece / pieces) }
      expected *= 2
      #expect(sender.congestion.window == expected)
    }
  }

  @Test(arguments: [1, 2, 5])
  func growsByASegmentInARoundTripHoweverAcknowledgementsAreSpread(_ pieces: Int) {
    var sender = Sender()
    sender.fill()
    sender.congestion.enterRecovery(flight: sender.flight, pipe: sender.pipe)
    sender.congestion.leaveRecovery()
    sender.acknowledge(sender.flight)
    for _ in 0..<20 {
      let before = sender.congestion.window
      sender.fill()
      let flight = sender.flight
      for piece in 0..<pieces { sender.acknowledge(flight * (piece + 1) / pieces - flight * piece / pieces) }
      #expect(sender.congestion.window - before <= segment)
    }
    #expect(sender.congestion.window > 20 * segment)
  }

  @Test func doesNotGrowWhileItIsNotUsed() {
    var sender = Sender()
    for _ in 0..<20 {
      sender.fill(limit: 2 * segment)
      sender.acknowledge(sender.flight)
    }
    #expect(sender.congestion.window == 10 * segment)
    // Nor by what was under way long ago.
    sender.fill()
    sender.acknowledge(sender.flight)
    #expect(sender.congestion.window == 20 * segment)
    for _ in 0..<20 {
      sender.fill(limit: 2 * segment)
      sender.acknowledge(sender.flight)
    }
    #expect(sender.congestion.window <= 22 * segment)
  }

  /// RFC 5681 section 3.1: half of what was under way, not of what the acknowledgement left of it.
  @Test(arguments: [0, 1, 7]) func halvesWhatWasUnderWay(_ acknowledged: Int) {
    var sender = Sender()
    sender.fill()
    sender.una += acknowledged * segment
    sender.away = segment
    sender.congestion.enterRecovery(flight: sender.flight, pipe: sender.pipe)
    #expect(sender.congestion.threshold == 5 * segment)
    sender.away = 0
    sender.congestion.acknowledged(
      acknowledged * segment, pipe: sender.pipe, isProgress: acknowledged > 0, hasLosses: true)
    sender.congestion.leaveRecovery()
    #expect(sender.congestion.window == 5 * segment)
  }

  @Test func reducesInProportionWhileLossesAreRepaired() {
    var sender = Sender()
    sender.fill()
    sender.away = segment
    sender.congestion.enterRecovery(flight: sender.flight, pipe: sender.pipe)
    // The other nine are reported one by one: for every two of them one segment may leave.
    var left = 0
    for _ in 0..<9 {
      sender.away += segment
      sender.congestion.acknowledged(segment, pipe: sender.pipe, isProgress: false, hasLosses: false)
      while sender.congestion.window - sender.pipe >= segment {
        sender.nxt += segment
        left += 1
        sender.congestion.sent(segment, pipe: sender.pipe, una: sender.una, nxt: sender.nxt)
      }
    }
    #expect((4...6).contains(left))
    #expect(sender.pipe <= 5 * segment + segment)
  }

  @Test func beginsAnewAfterATimeoutAndKnowsBetterIfItWasNeedless() {
    var sender = Sender()
    sender.fill()
    sender.congestion.timedOut(isFirst: true)
    #expect(sender.congestion.window == segment)
    #expect(sender.congestion.threshold == 5 * segment)
    // The next ones in a row know less about the path.
    sender.congestion.timedOut(isFirst: false)
    #expect(sender.congestion.threshold == 5 * segment)
    sender.congestion.undo()
    #expect(sender.congestion.window == 10 * segment)
    #expect(sender.congestion.threshold == .max)
  }

  /// A timeout in a recovery follows from the same losses: the threshold was halved for them already.
  @Test func halvesOnceForLossesThatEndInATimeout() {
    var sender = Sender()
    sender.fill()
    sender.congestion.enterRecovery(flight: sender.flight, pipe: sender.pipe)
    sender.congestion.timedOut(isFirst: true)
    #expect(sender.congestion.threshold == 5 * segment)
    #expect(sender.congestion.window == segment)
  }

  @Test func hasNoWindowWhereThereIsNoPathToCongest() {
    var sender = Sender(.none)
    sender.congestion.sent(1 << 30, pipe: 1 << 30, una: sender.una, nxt: sender.una + (1 << 30))
    sender.congestion.enterRecovery(flight: 1 << 30, pipe: 0)
    sender.congestion.reduceOnce()
    #expect(sender.congestion.window == .max)
    // After a timeout a flight starts small, until what was lost has arrived.
    sender.congestion.timedOut(isFirst: true)
    #expect(sender.congestion.window == 2 * segment)
    sender.congestion.leaveRecovery()
    #expect(sender.congestion.window == .max)
  }
}
