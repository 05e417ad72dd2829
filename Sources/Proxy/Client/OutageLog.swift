import Control
import Primitives

/// The latest losses of a connection that is meant to stay up: when, why, and for how long.
public struct OutageLog: Sendable {
  public struct Outage: Hashable, Sendable {
    /// Seconds since 1970.
    public var since: Int64
    /// What was said when it was lost.
    public var cause: String
    /// What the latest attempt to make it anew came to.
    public var latestFailure: String?
    public var failures = 0
    /// How long it was away; `nil` while it is.
    public var duration: Interval?
  }

  /// Outages that are remembered.
  public static let limit = 8
  /// Bytes of a cause that are kept: peers can write in it.
  static let causeLimit = 200

  /// Oldest first.
  public private(set) var latest: [Outage] = []
  /// How often the connection was lost since the start.
  public private(set) var count: UInt64 = 0
  private var start: Instant?

  public init() {}

  /// Whether the connection is away now.
  public var isAway: Bool { start != nil }

  /// The connection was lost, or couldn't be made anew.
  public mutating func lost(_ cause: String, now: Instant, unixSeconds: Int64) {
    let cause = cause.prefix(bytes: Self.causeLimit)
    if start != nil, let last = latest.indices.last {
      latest[last].latestFailure = cause
      latest[last].failures += 1
      return
    }
    start = now
    count += 1
    if latest.count >= Self.limit { latest.removeFirst() }
    latest.append(Outage(since: unixSeconds, cause: cause))
  }

  /// The connection is there.
  public mutating func recovered(now: Instant) {
    guard let start = start.take(), let last = latest.indices.last else { return }
    latest[last].duration = now - start
  }
}
