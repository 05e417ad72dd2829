import Primitives

/// How long to wait before the next attempt: exponential with jitter.
///
/// Each wait lies in the upper half below its ceiling, which doubles up to the limit: after a GateManager's restart
/// a thousand sites come back spread out, and none comes back at once.
public struct Backoff: Hashable, Sendable {
  /// The shortest wait.
  public let shortest: Interval
  /// The longest wait.
  public let longest: Interval
  private var ceiling: Interval

  /// - Parameter shortest: more than zero, and not more than `longest`; otherwise set right.
  public init(shortest: Interval = .seconds(1), longest: Interval = .seconds(60)) {
    self.shortest = max(shortest, .milliseconds(1))
    self.longest = max(longest, self.shortest)
    ceiling = self.shortest
  }

  /// The wait before the next attempt.
  public mutating func next(using random: inout some RandomNumberGenerator) -> Interval {
    let (doubled, overflow) = ceiling.nanoseconds.multipliedReportingOverflow(by: 2)
    ceiling = overflow ? longest : min(Interval(nanoseconds: doubled), longest)
    let floor = max(shortest, ceiling / 2)
    return Interval(nanoseconds: Int64.random(in: floor.nanoseconds...max(floor, ceiling).nanoseconds, using: &random))
  }

  /// To be called after a connection that has lasted.
  public mutating func reset() {
    ceiling = shortest
  }
}
