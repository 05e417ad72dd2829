import Control
import Crypto
import Framing
import Primitives
import Proxy
import Testing

@testable import Service
@testable import SiteManager

struct SiteStatusTests {
  private func report(connected: Bool = true) throws -> SiteStatus {
    var session = SessionStatus()
    session.counters.dataBytesIn = 2048
    session.rateOut = 2_500_000
    session.kinds.tcp = 1
    session.kinds.echo = 2
    session.roundTrip = .microseconds(900)
    session.pool.isPressed = true
    session.pool.slabsInUse = 200
    session.pool.slabLimit = 256
    session.deviceDatagramsDropped = 4
    let id = try #require(SessionID([UInt8](repeating: 0xEF, count: 16)))
    let key = KeyHash([UInt8](repeating: 1, count: 32))!
    let grant = Grant(
      session: id, gate: "gm", site: "north", siteKey: key, user: "ann", pc: "laptop", clientKey: key, agents: .all,
      notBefore: 0, notAfter: 9_000, reason: "drive 3 trips")
    var totals = SiteStatus.Totals()
    totals.add(session)
    totals.sessionsOpened = 3
    totals.sessionsEnded = ["cut": 2]
    var outages = OutageLog()
    outages.lost("nothing has come", now: .zero, unixSeconds: 1_000)
    if connected { outages.recovered(now: .zero + .seconds(4)) }
    return SiteStatus(
      site: "north", gate: "gm.test:443", connected: connected, connectedSeconds: connected ? 60 : nil, reconnects: 1,
      outages: outages.latest.map(OutageReport.init), problem: connected ? nil : "nothing has come",
      siteKey: "sha256:00",
      agents: [SiteStatus.Agent(name: "plc", device: "192.168.10.20", state: "UP:1", flows: 1, about: nil)],
      sessions: [SiteStatus.Session(id: id, grant: grant, since: 1_000, status: session)], arriving: 0,
      sessionLimit: 128, refusals: ["the device refused the connection": 6], totals: totals
    ).completed()
  }

  @Test func tellsWhatIsWrongFirst() throws {
    let text = "\(try report(connected: false))"
    let lines = text.split(separator: "\n")
    #expect(lines[2] == "! not connected to GateManager: nothing has come", "\(text)")
    #expect(lines[3].hasPrefix("! session efefefef: 200 of 256 slabs are in use"))
    for part in [
      "efefefef  ann", "1/0/2", "20 Mbit/s", "dropped: device socket full: 4",
      "refused: the device refused the connection: 6", "lost GateManager",
    ] { #expect(text.contains(part), "\(part) in \(text)") }
  }

  @Test func becomesMetrics() throws {
    let registry = MetricRegistry()
    MetricTable(SiteMetrics.rows, registry: registry).record(try report())
    SiteDurations(registry).dial.record(.milliseconds(2), ("outcome", "refused"))
    let text = registry.text
    for line in [
      "relayvpn_site_connected 1", #"relayvpn_site_flows{protocol="icmp"} 2"#,
      #"relayvpn_site_agent_flows{agent="plc"} 1"#, #"relayvpn_site_sessions_ended_total{reason="cut"} 2"#,
      #"relayvpn_site_payload_bytes_total{direction="in"} 2048"#, "relayvpn_site_memory_pressed 1",
      #"relayvpn_site_drops_total{reason="device socket full"} 4"#,
      #"relayvpn_site_dial_seconds_count{outcome="refused"} 1"#,
    ] { #expect(text.contains(line + "\n"), "\(line) in \(text)") }
    for row in SiteMetrics.rows { #expect(text.contains("# TYPE \(row.name) "), "\(row.name)") }
  }
}
