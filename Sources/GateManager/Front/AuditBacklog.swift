import Access

/// What isn't in the audit yet: a full disk may become empty again.
struct AuditBacklog: Sendable {
  private let limit: Int
  private(set) var lines: [AuditLine] = []
  /// What there was no room for.
  private(set) var omitted = 0

  init(limit: Int = GateLimits.unwrittenEvents) {
    self.limit = limit
  }

  mutating func add(_ line: AuditLine) {
    guard lines.count < limit else {
      omitted += 1
      return
    }
    lines.append(line)
  }

  /// Hands on all that waits, and behind it how many were left out; what fails goes on waiting.
  /// - Parameter time: microseconds since 1970.
  /// - Returns: how many were left out since it last worked.
  mutating func write(
    at time: Int64, _ body: ([AuditLine]) throws(AccessStoreError) -> Void
  ) throws(AccessStoreError) -> Int {
    guard !lines.isEmpty else { return 0 }
    var all = lines
    if omitted > 0 {
      var event = AuditEvent(.omitted)
      event.count = Int64(omitted)
      all.append(AuditLine(event: event, time: time))
    }
    try body(all)
    lines.removeAll()
    defer { omitted = 0 }
    return omitted
  }
}
