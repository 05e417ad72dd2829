import Access
import Testing

@testable import GateManager

struct AuditBacklogTests {
  @Test func whatWaitsIsBoundedCountedAndWrittenLater() throws {
    var backlog = AuditBacklog(limit: 3)
    for time in 0..<5 { backlog.add(AuditLine(event: AuditEvent(.login), time: Int64(time))) }
    #expect(throws: AccessStoreError.failed("full")) {
      _ = try backlog.write(at: 5) { _ throws(AccessStoreError) in throw .failed("full") }
    }
    #expect(backlog.lines.map(\.time) == [0, 1, 2] && backlog.omitted == 2)
    var written: [AuditLine] = []
    let omitted = try backlog.write(at: 7) { lines throws(AccessStoreError) in written = lines }
    #expect(written.map(\.time) == [0, 1, 2, 7] && omitted == 2 && backlog.lines.isEmpty)
    // The audit tells it, too.
    #expect(written.last?.event.kind == .omitted && written.last?.event.count == 2)
    backlog.add(AuditLine(event: AuditEvent(.login), time: 9))
    let more = try backlog.write(at: 10) { lines throws(AccessStoreError) in written = lines }
    let none = try backlog.write(at: 11) { _ throws(AccessStoreError) in Issue.record("nothing waits") }
    #expect(more == 0 && none == 0 && written.map(\.time) == [9])
  }
}
