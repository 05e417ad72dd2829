import Primitives

/// Lets at most so many answers out in a second, after a burst of as many: a token bucket.
struct RateLimiter {
  private let perSecond: Int64
  /// Tokens in billionths.
  private var tokens: Int64
  private var last: Instant?

  init(perSecond: Int) {
    self.perSecond = Int64(min(max(perSecond, 0), 1_000_000))
    tokens = self.perSecond * 1_000_000_000
  }

  /// Takes a token if there is one.
  mutating func allow(now: Instant) -> Bool {
    if let last, now > last {
      // A pause of more than a second fills the bucket, so the product below can't overflow.
      let elapsed = min((now - last).nanoseconds, 1_000_000_000)
      tokens = min(perSecond * 1_000_000_000, tokens + elapsed * perSecond)
    }
    last = max(now, last ?? now)
    guard tokens >= 1_000_000_000 else { return false }
    tokens -= 1_000_000_000
    return true
  }
}
