import Primitives
import Testing

@testable import Proxy

@Suite struct BackoffTests {
  @Test func growsToItsLimitWithinItsBand() {
    for seed in 0..<50 as Range<UInt64> {
      var random = SeededRandom(seed: seed)
      var backoff = Backoff()
      var ceiling = Interval.seconds(1)
      for attempt in 0..<Backoff.briskWaits + 6 {
        ceiling = min(ceiling * 2, .seconds(attempt < Backoff.briskWaits ? 10 : 60))
        let wait = backoff.next(using: &random)
        #expect(wait >= max(.seconds(1), ceiling / 2) && wait <= (attempt == 0 ? .seconds(4) : ceiling))
      }
    }
  }

  @Test func startsOverAfterReset() {
    var random = SeededRandom(seed: 1)
    var backoff = Backoff()
    for _ in 0..<Backoff.briskWaits + 8 { _ = backoff.next(using: &random) }
    #expect(backoff.next(using: &random) >= .seconds(30))
    backoff.reset()
    #expect(backoff.next(using: &random) <= .seconds(4))
    for _ in 1..<Backoff.briskWaits { #expect(backoff.next(using: &random) <= .seconds(10)) }
  }

  @Test func spreadsThoseThatStartTogether() {
    let waits = (0..<100 as Range<UInt64>).map { seed in
      var random = SeededRandom(seed: seed)
      var backoff = Backoff()
      return backoff.next(using: &random).milliseconds / 100
    }
    #expect(Set(waits).count >= 25)
  }

  @Test func setsNonsenseRight() {
    var random = SeededRandom(seed: 3)
    var backoff = Backoff(shortest: .seconds(-5), longest: .zero)
    #expect(backoff.next(using: &random) > .zero)
    var huge = Backoff(shortest: .seconds(1), longest: Interval(nanoseconds: .max))
    for _ in 0..<100 { #expect(huge.next(using: &random) >= .seconds(1)) }
  }
}
