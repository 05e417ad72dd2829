import Control
import Testing

@testable import SiteManager

struct ReportBacklogTests {
  private static func report(_ number: Int) throws -> SiteReport {
    SiteReport("captureBegan", session: try SessionID.random(), agent: "a", detail: "\(number)", time: 0)
  }

  @Test func whatCannotBeSentWaitsInOrder() throws {
    var backlog = ReportBacklog()
    for number in 0..<5 { backlog.add(try Self.report(number)) }
    var sent: [String] = []
    backlog.send { report in
      guard sent.count < 3 else { return false }
      sent.append(report.detail)
      return true
    }
    #expect(sent == ["0", "1", "2"] && backlog.waiting.map(\.detail) == ["3", "4"])
    backlog.send { _ in true }
    #expect(backlog.waiting.isEmpty)
  }

  @Test func whatWaitsIsBounded() throws {
    var backlog = ReportBacklog()
    for number in 0..<(ReportBacklog.limit + 10) { backlog.add(try Self.report(number)) }
    #expect(backlog.waiting.count == ReportBacklog.limit)
    #expect(backlog.waiting.first?.detail == "10")
  }
}
