import Control
import Framing
import Logging
import Primitives
import Proxy
import Synchronization
import Testing

@testable import Service

struct FlowLogTests {
  private let session = SessionID([UInt8](0..<16))!

  /// A logger that keeps its lines.
  private final class Lines: Sendable {
    private let kept = Mutex<[String]>([])
    var all: [String] { kept.withLock { $0 } }

    func logger(_ level: Logger.Level) -> Logger {
      let output = LogOutput { line in
        self.kept.withLock { $0.append(line) }
        return .written
      }
      return Logger(label: "test") { _ in JSONLogHandler(level: level, output: output) }
    }
  }

  private func report(_ event: FlowReport.Event, slot: Int = 4) -> FlowReport {
    var report = FlowReport(
      event, connection: ConnectionID(session, StreamID(slot: slot, tenant: 17)), agent: "plc", protocol: .tcp,
      port: 502)
    report.destination = Endpoint(IPAddress(192, 168, 10, 20), 502)
    report.duration = .milliseconds(1_250)
    report.bytesFromDevice = 7
    return report
  }

  @Test func tellsAFlowInOneLine() throws {
    let lines = Lines()
    let log = FlowLog(lines.logger(.info))
    log.record(report(.opened(.milliseconds(1))))
    log.record(report(.ended(.reset(.device))))
    log.record(report(.refused(Refusal(.deviceRefused))))
    let all = lines.all
    #expect(all.count == 2, "the beginning is for debugging: \(all)")
    let end = try #require(all.first)
    for part in [
      #""message":"flow ended""#, #""connection":"00010203-4.17""#, #""agent":"plc""#, #""end":"reset by the device""#,
      #""seconds":"1.25""#, #""bytesFromDevice":"7""#, #""destination":"192.168.10.20:502""#,
      #""session":"000102030405060708090a0b0c0d0e0f""#,
    ] { #expect(end.contains(part), "\(part) in \(end)") }
    #expect(all.last?.contains(#""level":"notice""#) == true)
  }

  @Test func countsWhatIsTooMuch() async throws {
    let lines = Lines()
    let log = FlowLog(lines.logger(.debug))
    for slot in 1...500 { log.record(report(.ended(.finished), slot: slot)) }
    // Others have room of their own.
    log.record(report(.refused(Refusal(.timedOut))))
    #expect(lines.all.contains { $0.contains("flow refused") })
    for _ in 0..<200 where !lines.all.contains(where: { $0.contains("more flows") }) {
      try await Task.sleep(for: .milliseconds(50))
    }
    let written = lines.all.filter { $0.contains("flow ended") }.count
    let omitted = lines.all.compactMap { line in
      line.split(separator: "\"omitted\":\"").last.flatMap { Int($0.prefix { $0.isNumber }) }
    }.reduce(0, +)
    #expect(written >= FlowLog.linesPerSecond && written + omitted == 500, "\(written) and \(omitted)")
  }

  @Test func aBudgetStartsAnewEachSecond() {
    var budget = LogBudget(limit: 2)
    let start = Instant.zero + .seconds(100)
    #expect((0..<4).map { _ in budget.take(now: start) } == [.write, .write, .omitFirst, .omit])
    #expect(budget.settle() == 2 && budget.settle() == 0)
    #expect(budget.take(now: start + .milliseconds(999)) == .omitFirst)
    #expect(budget.take(now: start + .seconds(1)) == .write)
  }
}
