import Access
import Testing

@testable import GateManager

struct AuditBacklogTests {
  @Test func whatWaitsIsBoundedCountedAndWrittenLater() throws {
    var backlog = AuditBacklog(limit: 3)
    for time in 0..<5 { backlog.add(AuditLine(event: AuditEvent(.login), time: Int64(time))) }
    #expect(throws: AccessStoreError.failed("full")) {
      _ = try backlog.write { _ throws(AccessStoreError) in throw .failed("full") }
    }
    #expect(backlog.lines.map(\.time) == [0, 1, 2] && backlog.omitted == 2)
    var written: [Int64] = []
    let omitted = try backlog.write { lines throws(AccessStoreError) in written = lines.map(\.time) }
    #expect(written == [0, 1, 2] && omitted == 2 && backlog.lines.isEmpty)
    backlog.add(AuditLine(event: AuditEvent(.login), time: 9))
    let more = try backlog.write { _ throws(AccessStoreError) in }
    let none = try backlog.write { _ throws(AccessStoreError) in Issue.record("nothing waits") }
    #expect(more == 0 && none == 0)
  }
}
