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

  /// Hands on all that waits; what fails goes on waiting.
  /// - Returns: how many were left out since it last worked.
  mutating func write(
    _ body: ([AuditLine]) throws(AccessStoreError) -> Void
  ) throws(AccessStoreError) -> Int {
    guard !lines.isEmpty else { return 0 }
    try body(lines)
    lines.removeAll()
    defer { omitted = 0 }
    return omitted
  }
}
