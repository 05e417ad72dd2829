internal import Primitives
public import Proxy

/// One loss of a connection, as `status` tells it.
public struct OutageReport: Codable, Hashable, Sendable {
  /// Seconds since 1970.
  public var since: Int64
  public var cause: String
  /// How long it was away; missing while it is.
  public var seconds: Double?
  /// Attempts to make it anew that failed, and what the latest of them came to.
  public var failures: Int
  public var latestFailure: String?

  public init(_ outage: OutageLog.Outage) {
    since = outage.since
    cause = outage.cause
    seconds = outage.duration?.seconds
    failures = outage.failures
    latestFailure = outage.latestFailure
  }

  /// For people: a line for each, the latest first.
  public static func text(_ outages: [OutageReport], of what: String, now: Int64) -> String {
    outages.reversed().map { outage in
      var line = "lost \(what) \(Quantity.age(seconds: now - outage.since)) ago: \(outage.cause.escaped)"
      if let seconds = outage.seconds { line += "; back after \(Quantity.seconds(seconds))" }
      if outage.failures > 0 { line += "; failed attempts: \(outage.failures)" }
      if outage.seconds == nil, let failure = outage.latestFailure { line += ", the last one: \(failure.escaped)" }
      return line + "\n"
    }.joined()
  }
}
