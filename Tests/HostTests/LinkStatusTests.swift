import Control
import Framing
import Primitives
import Proxy
import Testing

@testable import Adapter
@testable import LinkManager
@testable import Service

struct LinkStatusTests {
  private func session() throws -> SessionID { try #require(SessionID([UInt8](repeating: 0xCD, count: 16))) }

  /// An adapter with a site, a refusal of the site's, and drops.
  private func adapter() throws -> AdapterStatus {
    var status = AdapterStatus()
    var site = AdapterStatus.Site()
    site.name = "north"
    site.session.roundTrip = .microseconds(12_345)
    site.session.shortestRoundTrip = .microseconds(800)
    site.session.rateIn = 1_250_000
    site.session.queues.held = 4096
    site.session.kinds.tcp = 2
    site.session.streams = 2
    site.flowsByAgent = ["plc": 2]
    status.sites = [site]
    status.tcpFlows = 2
    status.drops = ["badChecksum": 3]
    status.device.droppedFull = 5
    status.refusals = ["the device refused the connection": 1]
    let id = ConnectionID(try session(), StreamID(slot: 7, tenant: 3))
    status.recentRefusals = [
      AdapterStatus.RefusedFlow(
        transport: .tcp, destination: Endpoint(IPAddress(198, 18, 4, 7), 443),
        reason: "north/plc: the device refused the connection", count: 2, last: .zero, connection: id)
    ]
    status.totals.bytesIn = 77
    return status
  }

  private func report(isConnected: Bool = true) throws -> LinkStatus {
    var site = LinkService.Site(agents: nil, reason: "drive 3 trips", epoch: 1)
    if isConnected {
      site.session = try session()
    } else {
      site.problem = "the peer was silent for 15 s"
      site.outages.lost("the peer was silent for 15 s", now: .zero, unixSeconds: 1_000)
    }
    let adapter = try adapter()
    var report = LinkStatus(
      user: "ann", pc: "laptop", gate: "gm.test:443", isServing: true,
      gateConnection: LinkStatus.GateConnection(connected: true, reconnects: 0, outages: []),
      sites: [LinkStatus.Site("north", site, isConnected ? adapter.sites[0] : nil)])
    report.describe(adapter)
    report.totals.bytesIn = adapter.totals.bytesIn
    return report.completed()
  }

  @Test func showsASite() throws {
    let text = "\(try report())"
    for part in [
      "ann at gm.test:443: serving", "site north: CONNECTED", "session cdcdcdcd",
      "round trip 12 ms (shortest 800 µs)", "at 10 Mbit/s", "flows: 2 tcp, 0 udp, 0 ping", "4.0 KiB to deliver",
      "packets dropped: badChecksum: 3", "packets dropped by the device: queue full: 5", "flow cdcdcdcd-7.3",
    ] { #expect(text.contains(part), "\(part) in \(text)") }
    #expect(!text.contains("!"), "nothing is wrong")
  }

  @Test func tellsWhatIsWrongFirst() throws {
    let lines = "\(try report(isConnected: false))".split(separator: "\n")
    #expect(lines[1] == "! site north is not connected: the peer was silent for 15 s")
    #expect(lines.contains { $0.contains("lost the session") })
  }

  @Test func becomesMetrics() throws {
    let registry = MetricRegistry()
    MetricTable(LinkMetrics.rows, registry: registry).record(try report())
    var flow = FlowReport(.opened(.milliseconds(3)), connection: nil, agent: "plc", protocol: .tcp, port: 502)
    let durations = LinkDurations(registry)
    durations.record(flow)
    flow.event = .ended(.finished)
    flow.duration = .seconds(2)
    durations.record(flow)
    let text = registry.text
    for line in [
      #"relayvpn_link_site_connected{site="north"} 1"#,
      #"relayvpn_link_site_flows{protocol="tcp",site="north"} 2"#,
      #"relayvpn_link_site_round_trip_seconds{site="north"} 0.012345"#,
      #"relayvpn_link_payload_bytes_total{direction="in"} 77"#,
      #"relayvpn_link_packets_dropped_total{reason="queue full",where="device"} 5"#,
      #"relayvpn_link_open_seconds_bucket{outcome="opened",le="0.005"} 1"#,
      #"relayvpn_link_flow_seconds_sum{protocol="tcp"} 2"#,
    ] { #expect(text.contains(line + "\n"), "\(line) in \(text)") }
  }
}
