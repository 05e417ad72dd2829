/// A point on a monotonic clock, in nanoseconds since an origin that the clock chooses.
///
/// Cores never read a clock: the caller passes `now`, so that a simulator can make time up.
public struct Instant: Hashable, Comparable, Sendable, BitwiseCopyable {
  public var nanoseconds: Int64

  @inlinable public init(nanoseconds: Int64) {
    self.nanoseconds = nanoseconds
  }

  /// The origin of the clock.
  public static let zero = Instant(nanoseconds: 0)

  @inlinable public static func < (left: Instant, right: Instant) -> Bool {
    left.nanoseconds < right.nanoseconds
  }

  @inlinable public static func + (instant: Instant, interval: Interval) -> Instant {
    Instant(nanoseconds: instant.nanoseconds &+ interval.nanoseconds)
  }

  @inlinable public static func - (left: Instant, right: Instant) -> Interval {
    Interval(nanoseconds: left.nanoseconds &- right.nanoseconds)
  }

  /// The earlier of two deadlines, where `nil` means that there is none.
  @inlinable public static func earliest(_ left: Instant?, _ right: Instant?) -> Instant? {
    guard let left else { return right }
    guard let right else { return left }
    return min(left, right)
  }
}

/// A length of time in nanoseconds: `Duration` without its 128-bit arithmetic, for paths that run per packet.
public struct Interval: Hashable, Comparable, Sendable, BitwiseCopyable {
  public var nanoseconds: Int64

  @inlinable public init(nanoseconds: Int64) {
    self.nanoseconds = nanoseconds
  }

  /// Saturates at the ends of the range (± 292 years).
  public init(_ duration: Duration) {
    let (seconds, attoseconds) = duration.components
    let (product, overflow) = seconds.multipliedReportingOverflow(by: 1_000_000_000)
    let limit = seconds < 0 ? Int64.min : Int64.max
    if overflow {
      nanoseconds = limit
    } else {
      let (sum, carried) = product.addingReportingOverflow(attoseconds / 1_000_000_000)
      nanoseconds = carried ? limit : sum
    }
  }

  public static let zero = Interval(nanoseconds: 0)

  @inlinable public static func seconds(_ count: Int64) -> Interval {
    Interval(nanoseconds: count &* 1_000_000_000)
  }

  @inlinable public static func milliseconds(_ count: Int64) -> Interval {
    Interval(nanoseconds: count &* 1_000_000)
  }

  @inlinable public static func microseconds(_ count: Int64) -> Interval {
    Interval(nanoseconds: count &* 1_000)
  }

  /// Rounded towards zero.
  @inlinable public var milliseconds: Int64 { nanoseconds / 1_000_000 }

  /// Seconds, with their fraction.
  @inlinable public var seconds: Double { Double(nanoseconds) / 1e9 }

  public var duration: Duration { .nanoseconds(nanoseconds) }

  @inlinable public static func < (left: Interval, right: Interval) -> Bool {
    left.nanoseconds < right.nanoseconds
  }

  @inlinable public static func + (left: Interval, right: Interval) -> Interval {
    Interval(nanoseconds: left.nanoseconds &+ right.nanoseconds)
  }

  @inlinable public static func - (left: Interval, right: Interval) -> Interval {
    Interval(nanoseconds: left.nanoseconds &- right.nanoseconds)
  }

  @inlinable public static func * (interval: Interval, factor: Int64) -> Interval {
    Interval(nanoseconds: interval.nanoseconds &* factor)
  }

  @inlinable public static func / (interval: Interval, divisor: Int64) -> Interval {
    Interval(nanoseconds: interval.nanoseconds / divisor)
  }
}
