import Primitives
import Testing

@Suite struct InstantTests {
  @Test func arithmeticAgreesWithItself() {
    let start = Instant(nanoseconds: 1_000)
    #expect(start + .microseconds(2) == Instant(nanoseconds: 3_000))
    #expect((start + .seconds(3)) - start == .milliseconds(3_000))
    #expect(start < start + .microseconds(1))
    #expect(Instant.zero.nanoseconds == 0)
  }

  @Test func theEarlierDeadlineCounts() {
    let (soon, late) = (Instant(nanoseconds: 1), Instant(nanoseconds: 2))
    #expect(Instant.earliest(nil, nil) == nil)
    #expect(Instant.earliest(soon, nil) == soon)
    #expect(Instant.earliest(nil, late) == late)
    #expect(Instant.earliest(late, soon) == soon)
    #expect(Instant.earliest(soon, late) == soon)
  }

  @Test func nothingTrapsAtTheEnds() {
    let far = Instant(nanoseconds: .max)
    _ = far + .seconds(1)
    _ = Instant(nanoseconds: .min) - far
    _ = Interval.seconds(.max) * 2
    #expect(Interval(Duration.seconds(Int64.max)).nanoseconds == .max)
    #expect(Interval(Duration.seconds(Int64.min)).nanoseconds == .min)
    #expect(Interval(Duration(secondsComponent: 9_223_372_036, attosecondsComponent: 900_000_000_000_000_000)) > .zero)
  }

  @Test func intervalsConvert() {
    #expect(Interval(.milliseconds(1500)) == .milliseconds(1500))
    #expect(Interval.milliseconds(1500).seconds == 1.5)
    #expect(Interval.microseconds(1999).milliseconds == 1)
    #expect(Interval.microseconds(-1999).milliseconds == -1)
    #expect(Interval.seconds(2).duration == .seconds(2))
    #expect(Interval.seconds(3) / 2 == .milliseconds(1500))
    #expect(Interval.seconds(3) * 2 - .seconds(1) == .seconds(5))
  }
}
