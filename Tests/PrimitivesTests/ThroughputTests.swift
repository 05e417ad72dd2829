import Primitives
import Testing

struct ThroughputTests {
  private func at(_ milliseconds: Int64) -> Instant { .zero + .milliseconds(milliseconds) }

  @Test func measuresBetweenSamples() {
    var rate = Throughput()
    rate.sample(5_000, now: at(0))
    #expect(rate.perSecond == 0, "nothing is known from one sample")
    rate.sample(6_000, now: at(2_000))
    #expect(rate.perSecond == 500)
    rate.sample(6_000, now: at(3_000))
    #expect(rate.perSecond == 0)
  }

  @Test func passesOverSamplesThatAreTooClose() {
    var rate = Throughput()
    rate.sample(0, now: at(0))
    rate.sample(1_000, now: at(10))
    #expect(rate.perSecond == 0)
    rate.sample(2_000, now: at(1_000))
    #expect(rate.perSecond == 2_000)
  }

  @Test func aSmallerTotalHasStartedAnew() {
    var rate = Throughput()
    rate.sample(1_000, now: at(0))
    rate.sample(10, now: at(1_000))
    #expect(rate.perSecond == 0)
    rate.sample(20, now: at(2_000))
    #expect(rate.perSecond == 10)
  }
}
