import Primitives

/// A token bucket: so much a second on average, so much at once.
struct RateLimit: Sendable {
  private let rate: Int64
  private let burst: Int64
  /// In units of 1/1,000,000,000 of a token.
  private var level: Int64
  private var last: Instant

  /// - Parameters:
  ///   - rate: tokens a second; `burst` ≤ 2³⁰.
  init(rate: Int64, burst: Int64, now: Instant) {
    self.rate = rate
    self.burst = burst
    level = burst * 1_000_000_000
    last = now
  }

  /// Takes tokens; false if there are too few.
  mutating func take(_ count: Int64, now: Instant) -> Bool {
    // An hour fills any bucket; beyond it the product could overflow.
    let elapsed = max(0, min((now - last).nanoseconds, 3_600_000_000_000))
    last = now
    level = min(burst * 1_000_000_000, level + elapsed * rate)
    guard level >= count * 1_000_000_000 else { return false }
    level -= count * 1_000_000_000
    return true
  }
}
