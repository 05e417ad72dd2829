import Glibc
import Testing

@testable import Service

struct ProcessReportTests {
  @Test func readsAProgramWithAnyName() throws {
    let line =
      "4242 (a) b ( c)) S 1 2 3 0 -1 4194560 1 2 3 4 250 150 5 6 20 0 9 0 12345 1000000 300 18446744073709551615 1"
    let report = try #require(ProcessReport(stat: line, ticksPerSecond: 100))
    #expect(report.pid == 4242 && report.cpuSeconds == 4 && report.threads == 9 && report.since == 123)
    #expect(report.residentBytes == 300 * UInt64(sysconf(CInt(_SC_PAGESIZE))))
  }

  @Test func survivesAnythingElse() {
    let line = "1 (x) S 1 2 3 0 -1 0 0 0 0 0 7 8 0 0 20 0 1 0 5 6 7 8"
    for count in 0..<line.count { _ = ProcessReport(stat: String(line.prefix(count)), ticksPerSecond: 100) }
    #expect(ProcessReport(stat: "", ticksPerSecond: 100) == nil)
    #expect(ProcessReport(stat: "x (y) z", ticksPerSecond: 100) == nil)
  }

  @Test func tellsOfThisProcess() throws {
    let report = try #require(ProcessReport.current)
    #expect(report.pid == getpid() && report.residentBytes > 1 << 20 && report.threads > 0)
    #expect(report.descriptors > 2 && report.descriptors <= report.descriptorLimit)
    // Tests don't run for a day, and no clock is that far off.
    #expect(abs(Int64(time(nil)) - report.since) < 86_400)
    #expect(report.problems.isEmpty)
  }

  @Test func warnsOfFewDescriptors() throws {
    var report = try #require(ProcessReport.current)
    report.descriptors = 95
    report.descriptorLimit = 100
    #expect(report.problems.count == 1)
  }
}
