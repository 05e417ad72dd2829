import Primitives

/// How long to wait before the next attempt: exponential with jitter, in two stages.
///
/// The first wait is up to four times the shortest one: after a GateManager's restart, which takes a second or two, a
/// thousand sites come back spread out over as long again, and none comes back at once. Each later one lies in the upper
/// half below its ceiling. The ceiling doubles to `brisk` and stays there for some minutes, since most outages are short
/// and users wait for their end; then it doubles on to `longest`.
public struct Backoff: Hashable, Sendable {
  /// The shortest wait.
  public let shortest: Interval
  /// The longest wait of the first `briskWaits`.
  public let brisk: Interval
  /// The longest wait.
  public let longest: Interval
  private var ceiling: Interval
  private var waits = 0

  /// Two and a half minutes of waiting at least, and up to six with attempts that time out in between.
  public static let briskWaits = 20

  /// - Parameter shortest: more than zero, and not more than `brisk` and `longest`; otherwise set right.
  public init(
    shortest: Interval = .seconds(1), brisk: Interval = .seconds(10), longest: Interval = .seconds(60)
  ) {
    self.shortest = max(shortest, .milliseconds(1))
    self.longest = max(longest, self.shortest)
    self.brisk = min(max(brisk, self.shortest), self.longest)
    ceiling = self.shortest
  }

  /// The wait before the next attempt.
  public mutating func next(using random: inout some RandomNumberGenerator) -> Interval {
    let limit = waits < Self.briskWaits ? brisk : longest
    let isFirst = waits == 0
    waits = min(waits + 1, Self.briskWaits)
    ceiling = Self.doubled(ceiling, limit: limit)
    let floor = max(shortest, ceiling / 2)
    let top = max(floor, isFirst ? Self.doubled(ceiling, limit: limit) : ceiling)
    return Interval(nanoseconds: Int64.random(in: floor.nanoseconds...top.nanoseconds, using: &random))
  }

  private static func doubled(_ interval: Interval, limit: Interval) -> Interval {
    let (doubled, overflow) = interval.nanoseconds.multipliedReportingOverflow(by: 2)
    return overflow ? limit : min(Interval(nanoseconds: doubled), limit)
  }

  /// To be called after a connection that has lasted, or when there is a reason to hope.
  public mutating func reset() {
    ceiling = shortest
    waits = 0
  }
}
