import Primitives
import Proxy
import Service

/// How long things take at a LinkManager.
struct LinkDurations: Sendable {
  /// From a user's wish, or a loss, until a site's session was there.
  let connect: DurationMetric
  /// From an application's SYN until the device answered, or didn't.
  let open: DurationMetric
  /// From the first byte of a flow to its end.
  let flow: DurationMetric

  init(_ registry: MetricRegistry) {
    connect = DurationMetric(
      "relayvpn_link_connect_seconds", "One attempt to connect a site, by outcome.", registry: registry)
    open = DurationMetric(
      "relayvpn_link_open_seconds",
      "From an application's request for a TCP flow until its device answered, or didn't, by outcome.",
      registry: registry)
    flow = DurationMetric(
      "relayvpn_link_flow_seconds", "How long flows were there, by protocol.", registry: registry)
  }
}

extension LinkDurations {
  /// On the adapter's thread.
  func record(_ report: FlowReport) {
    switch report.event {
    case .opened(let time):
      if report.protocol == .tcp { open.record(time, ("outcome", "opened")) }
    case .refused:
      if report.protocol == .tcp { open.record(report.duration, ("outcome", "refused")) }
    case .ended: flow.record(report.duration, ("protocol", "\(report.protocol)"))
    case .denied: break
    }
  }
}

/// A LinkManager's status as metrics. Labels are connected sites, of which there are 64 at most, and reasons.
enum LinkMetrics {
  static let rows: [MetricTable<LinkStatus>.Row] = [
    .gauge("relayvpn_link_gate_connected", "Whether there is a connection to GateManager.") {
      [.value($0.gateConnection?.connected == true ? 1 : 0)]
    },
    .counter("relayvpn_link_gate_outages_total", "How often the connection to GateManager was lost.") {
      [.value($0.gateConnection?.reconnects ?? 0)]
    },
    .gauge("relayvpn_link_site_connected", "Whether a site that is wanted is connected.") { status in
      status.sites.map { .value($0.state == "CONNECTED" ? 1 : 0, ("site", $0.name)) }
    },
    .gauge("relayvpn_link_site_round_trip_seconds", "The latest round trip to a site, queues included.") { status in
      status.sites.compactMap { site in
        site.roundTripMicroseconds.map { .seconds(Double($0) / 1e6, ("site", site.name)) }
      }
    },
    .gauge("relayvpn_link_site_flows", "Open flows by site and protocol.") { status in
      status.sites.flatMap { site -> [MetricTable<LinkStatus>.Sample] in
        [
          .value(site.tcpFlows, ("site", site.name), ("protocol", "tcp")),
          .value(site.udpFlows, ("site", site.name), ("protocol", "udp")),
          .value(site.echoFlows, ("site", site.name), ("protocol", "icmp")),
        ]
      }
    },
    .gauge("relayvpn_link_site_queued_bytes", "Bytes that wait in a site's session, by place.") { status in
      status.sites.flatMap { site -> [MetricTable<LinkStatus>.Sample] in
        guard let queues = site.queues else { return [] }
        return [
          .value(queues.payload, ("site", site.name), ("place", "payload")),
          .value(queues.sealed, ("site", site.name), ("place", "sealed")),
          .value(queues.kernel, ("site", site.name), ("place", "kernel")),
          .value(queues.held, ("site", site.name), ("place", "held")),
        ]
      }
    },
    .counter("relayvpn_link_sessions_opened_total", "Sessions with sites that came about.") {
      [.value($0.totals.sessionsOpened)]
    },
    .counter("relayvpn_link_sessions_ended_total", "Sessions that ended, by how they did.") { status in
      status.totals.sessionsEnded.map { .value($0.value, ("reason", $0.key)) }
    },
    .counter("relayvpn_link_flows_opened_total", "Flows that sites were asked for.") {
      [.value($0.totals.flowsOpened)]
    },
    .counter("relayvpn_link_flows_refused_total", "Flows that were denied or refused, by reason.") { status in
      status.refusals.map { .value($0.value, ("reason", $0.key)) }
    },
    .counter("relayvpn_link_payload_bytes_total", "Payload from (in) and to (out) sites.") { status in
      [.value(status.totals.bytesIn, ("direction", "in")), .value(status.totals.bytesOut, ("direction", "out"))]
    },
    .counter("relayvpn_link_records_total", "Records sealed and opened.") { [.value($0.totals.records)] },
    .gauge("relayvpn_link_half_open_flows", "TCP connections whose handshake isn't over.") {
      [.value($0.halfOpenFlows)]
    },
    .counter("relayvpn_link_retransmits_total", "TCP segments sent again to applications.") {
      [.value($0.retransmits)]
    },
    .counter("relayvpn_link_device_packets_total", "Packets from (in) and to (out) applications.") { status in
      [.value(status.device.packetsIn, ("direction", "in")), .value(status.device.packetsOut, ("direction", "out"))]
    },
    .counter("relayvpn_link_device_bytes_total", "Bytes of these packets.") { status in
      [.value(status.device.bytesIn, ("direction", "in")), .value(status.device.bytesOut, ("direction", "out"))]
    },
    .counter("relayvpn_link_packets_dropped_total", "Packets dropped, by where and why.") { status in
      status.drops.map { .value($0.value, ("where", "stack"), ("reason", $0.key)) }
        + status.device.drops.map { .value($0.value, ("where", "device"), ("reason", $0.key)) }
    },
    .gauge("relayvpn_link_memory_bytes", "Payload memory, in use and resident.") { status in
      guard let memory = status.memory else { return [] }
      return [.value(memory.inUse, ("state", "in_use")), .value(memory.resident, ("state", "resident"))]
    },
    .gauge("relayvpn_link_memory_pressed", "Whether nothing more is read for want of memory.") {
      [.value($0.memory?.pressed == true ? 1 : 0)]
    },
  ]
}
