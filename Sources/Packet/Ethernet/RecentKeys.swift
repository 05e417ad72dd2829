import Primitives

/// What was asked for lately, by numbers of 64 bits: bounded and aged. Allocates when it is made only.
///
/// A key has four places; when all of them are taken by others, the one that is oldest gives way.
struct RecentKeys {
  private static let ways = 4

  private var keys: [UInt64]
  private var times: [Instant]
  private let mask: Int
  private let age: Interval

  /// - Parameters:
  ///   - capacity: a power of two.
  ///   - age: how long a key is remembered since it was last noted.
  init(capacity: Int, age: Interval) {
    precondition(capacity >= Self.ways && capacity & (capacity - 1) == 0, "not a power of two")
    keys = Array(repeating: 0, count: capacity)
    // Older than any age: nothing is remembered at first.
    times = Array(repeating: Instant(nanoseconds: .min / 2), count: capacity)
    mask = capacity / Self.ways - 1
    self.age = age
  }

  func contains(_ key: UInt64, now: Instant) -> Bool {
    let first = row(key)
    for place in first..<first + Self.ways where keys[place] == key && now - times[place] < age { return true }
    return false
  }

  mutating func note(_ key: UInt64, now: Instant) {
    let first = row(key)
    var oldest = first
    for place in first..<first + Self.ways {
      if keys[place] == key {
        times[place] = now
        return
      }
      if times[place] < times[oldest] { oldest = place }
    }
    keys[oldest] = key
    times[oldest] = now
  }

  private func row(_ key: UInt64) -> Int {
    (Int(truncatingIfNeeded: Self.mix(key)) & mask) * Self.ways
  }

  /// Spreads a number's bits over all of them (the finaliser of SplitMix64).
  static func mix(_ value: UInt64) -> UInt64 {
    var value = value
    value = (value ^ value >> 30) &* 0xBF58_476D_1CE4_E5B9
    value = (value ^ value >> 27) &* 0x94D0_49BB_1331_11EB
    return value ^ value >> 31
  }
}

/// Lets so many through a second, and as many at once.
struct TokenBucket {
  private let rate: Int64
  private let interval: Int64
  /// When the bucket would be empty, as a time: one bucket's worth before now when it is full.
  private var level = Instant(nanoseconds: .min / 2)

  /// - Parameter rate: a second; 0 lets nothing through.
  init(rate: Int) {
    self.rate = Int64(min(max(0, rate), 1_000_000))
    interval = self.rate == 0 ? 0 : 1_000_000_000 / self.rate
  }

  mutating func take(now: Instant) -> Bool {
    guard rate > 0 else { return false }
    let start = max(level.nanoseconds, now.nanoseconds - interval * rate)
    guard start + interval <= now.nanoseconds else { return false }
    level = Instant(nanoseconds: start + interval)
    return true
  }
}
