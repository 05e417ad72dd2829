import Primitives
import Proxy
import Testing

struct OutageLogTests {
  private func at(_ seconds: Int64) -> Instant { .zero + .seconds(seconds) }

  @Test func remembersTheLatest() {
    var log = OutageLog()
    for round in 0..<Int64(20) {
      log.lost("cause \(round)", now: at(10 * round), unixSeconds: 10 * round)
      log.lost("again", now: at(10 * round + 1), unixSeconds: 10 * round + 1)
      #expect(log.isAway)
      log.recovered(now: at(10 * round + 3))
      log.recovered(now: at(10 * round + 4))
    }
    #expect(log.count == 20 && log.latest.count == OutageLog.limit && !log.isAway)
    let last = log.latest.last
    #expect(last?.cause == "cause 19" && last?.since == 190 && last?.duration == .seconds(3))
    #expect(last?.failures == 1 && last?.latestFailure == "again")
  }

  @Test func boundsACause() {
    var log = OutageLog()
    log.lost(String(repeating: "x", count: 10_000), now: at(0), unixSeconds: 0)
    #expect(log.latest[0].cause.count == 200 && log.latest[0].duration == nil)
  }
}
