import Control
import Primitives
import Proxy
import Testing

@testable import GateManager
@testable import Service

struct StatusReportTests {
  private func site(_ name: String, online: Bool, lost cause: String? = nil) -> StatusReport.Site {
    var log = OutageLog()
    if let cause { log.lost(cause, now: .zero, unixSeconds: 900) }
    return StatusReport.Site(
      name: name, online: online, since: online ? 500 : nil, address: online ? "192.0.2.7:4711" : nil, key: "sha256:00",
      agents: ["plc", "web"], reconnects: log.count, outages: log.latest.map(OutageReport.init))
  }

  private func report(_ sites: [StatusReport.Site]) -> StatusReport {
    let session = StatusReport.Session(
      id: "0123456789abcdef0123456789abcdef", user: "ann", pc: "laptop", site: "north", stage: "relayed",
      agents: ["plc"],
      reason: "drive 3 trips", since: 940, until: 9_000, bytesFromLink: 2048, bytesFromSite: 4096, rateFromLink: 125,
      rateFromSite: 0, splices: 9)
    return StatusReport(
      gate: "gm.test", listen: "[::]:443", since: 400, now: 1_000, key: "sha256:11",
      connections: StatusReport.Connections(handshaking: 1, anonymous: 2, sites: 3, users: 4, data: 5), sites: sites,
      users: [], sessions: [session],
      relay: StatusReport.Relay(
        threads: 2, active: 1, started: 8, bytes: 6144, splices: 9, pipesLent: 1, pipesKept: 3),
      totals: FrontTotals(
        connectionsAccepted: 20, handshakes: 15, sessionsOpened: 9, sessionsRelayed: 8, sessionsEnded: ["finished": 7]),
      refusals: ["badTicket": 2], tickets: 1, pendingRequests: 0, throttled: 1, storeProblems: [])
  }

  @Test func tellsWhatIsWrongFirst() {
    let text =
      "\(report([site("north", online: true), site("south", online: false, lost: "no sign of life")]).completed())"
    let lines = text.split(separator: "\n")
    #expect(lines[2] == "! site south is offline: no sign of life", "\(text)")
    // Those that are missing come before those that are there.
    #expect(text.firstRange(of: "south  offline")!.lowerBound < text.firstRange(of: "north  online")!.lowerBound)
    #expect(text.contains("01234567  ann") && text.contains("1.0 kbit/s") && text.contains("pipes: 1 lent, 3 kept"))
    #expect(text.contains("refused: badTicket 2") && text.contains("process "))
  }

  @Test func staysShortWithManySites() {
    let many = (0..<5_000).map { site("site-\($0)", online: $0 % 2 == 0, lost: $0 % 2 == 0 ? nil : "disconnected") }
    let report = report(many).completed()
    #expect("\(report)".split(separator: "\n").count < 100)
    #expect(report.problems.count == 11 && report.problems.last == "2490 more sites are offline that were online")
    // An answer has room for all of them.
    let answer = String(decoding: ManagementResponse.success(report).line, as: UTF8.self)
    #expect(answer.hasPrefix(#"{"ok":true"#) && answer.contains(#""name":"site-4999""#))
  }

  @Test func warnsBeforeABoundIsReached() {
    var report = report([])
    report.connections.data = GateLimits.connections
    report.storeProblems = ["users/ann.json: is malformed"]
    let problems = report.completed().problems
    #expect(problems.contains { $0.contains("connections are in use") })
    #expect(problems.contains("a record can't be read: users/ann.json: is malformed"))
  }

  @Test func becomesMetrics() throws {
    let registry = MetricRegistry()
    MetricTable(GateMetrics.rows, registry: registry).record(report([site("north", online: true)]))
    GateDurations(registry).meeting.record(.milliseconds(40))
    let text = registry.text
    for line in [
      #"relayvpn_gate_sites{state="online"} 1"#, #"relayvpn_gate_sites{state="offline"} 0"#,
      #"relayvpn_gate_sessions{stage="relayed"} 1"#, #"relayvpn_gate_connections{kind="data"} 5"#,
      #"relayvpn_gate_refusals_total{reason="badTicket"} 2"#, "relayvpn_gate_relayed_bytes_total 6144",
      #"relayvpn_gate_pipes{state="kept"} 3"#, #"relayvpn_gate_meeting_seconds_bucket{le="0.05"} 1"#,
    ] { #expect(text.contains(line + "\n"), "\(line)") }
    for row in GateMetrics.rows { #expect(text.contains("# TYPE \(row.name) "), "\(row.name)") }
  }
}
