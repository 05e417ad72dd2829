import Control

/// Reports for GateManager's audit that couldn't be sent yet: a site may be without its connection while sessions go on.
struct ReportBacklog: Sendable {
  /// Beyond that the oldest are left out: this site's own log has all. They are sent at once, and GateManager takes a
  /// hundred messages before it finds a peer too fast.
  static let limit = 64

  private(set) var waiting: [SiteReport] = []

  mutating func add(_ report: SiteReport) {
    if waiting.count >= Self.limit { waiting.removeFirst() }
    waiting.append(report)
  }

  /// Sends what waits, in order, until `body` says that it can't now.
  mutating func send(_ body: (SiteReport) -> Bool) {
    waiting.removeFirst(waiting.prefix(while: body).count)
  }
}
