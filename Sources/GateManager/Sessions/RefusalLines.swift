import Primitives

/// So many lines of the log in each minute; what is beyond is counted until the minute is over.
struct RefusalLines: Sendable {
  private static let period = Interval.seconds(60)

  private let limit: Int
  private var began = Instant.zero
  private var written = 0
  private var omitted = 0

  init(limit: Int = GateLimits.refusalLines) {
    self.limit = limit
  }

  /// Whether one more may be written.
  mutating func admit(now: Instant) -> Bool {
    if now - began >= Self.period, omitted == 0 {
      began = now
      written = 0
    }
    guard written < limit else {
      omitted += 1
      return false
    }
    written += 1
    return true
  }

  /// How many were left out, once their minute is over; 0 for none. To be asked now and then.
  mutating func settle(now: Instant) -> Int {
    guard omitted > 0, now - began >= Self.period else { return 0 }
    defer {
      omitted = 0
      written = 0
      began = now
    }
    return omitted
  }
}
