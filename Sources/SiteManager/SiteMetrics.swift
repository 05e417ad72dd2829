import Primitives
import Service

/// How long things take at a site.
struct SiteDurations: Sendable {
  /// From the request for a TCP flow until the device answered, or didn't.
  let dial: DurationMetric
  /// From the first byte of a flow to its end.
  let flow: DurationMetric

  init(_ registry: MetricRegistry) {
    dial = DurationMetric(
      "relayvpn_site_dial_seconds", "From the request for a TCP flow until its device answered, or didn't, by outcome.",
      registry: registry)
    flow = DurationMetric(
      "relayvpn_site_flow_seconds", "How long flows were there, by protocol.", registry: registry)
  }
}

/// A SiteManager's status as metrics. Labels are agents, reasons and protocols: some hundreds at most.
enum SiteMetrics {
  static let rows: [MetricTable<SiteStatus>.Row] = [
    .gauge("relayvpn_site_connected", "Whether there is a connection to GateManager.") {
      [.value($0.connected ? 1 : 0)]
    },
    .counter("relayvpn_site_outages_total", "How often the connection to GateManager was lost.") {
      [.value($0.reconnects)]
    },
    .gauge("relayvpn_site_sessions", "Open sessions.") { [.value($0.sessions.count)] },
    .gauge("relayvpn_site_sessions_limit", "Sessions that may be open at once.") { [.value($0.sessionLimit)] },
    .gauge("relayvpn_site_arrivals", "Sessions that are being met.") { [.value($0.arriving)] },
    .counter("relayvpn_site_sessions_opened_total", "Sessions that were met.") { [.value($0.totals.sessionsOpened)] },
    .counter("relayvpn_site_sessions_refused_total", "Sessions that came to nothing.") {
      [.value($0.totals.sessionsRefused)]
    },
    .counter("relayvpn_site_sessions_ended_total", "Sessions that ended, by how they did.") { status in
      status.totals.sessionsEnded.map { .value($0.value, ("reason", $0.key)) }
    },
    .gauge("relayvpn_site_flows", "Open flows by protocol.") { status in
      [
        .value(status.sessions.reduce(0) { $0 + $1.tcpFlows }, ("protocol", "tcp")),
        .value(status.sessions.reduce(0) { $0 + $1.udpFlows }, ("protocol", "udp")),
        .value(status.sessions.reduce(0) { $0 + $1.echoFlows }, ("protocol", "icmp")),
      ]
    },
    .gauge("relayvpn_site_agent_flows", "Open flows by agent.") { status in
      status.agents.map { .value($0.flows, ("agent", $0.name)) }
    },
    .counter("relayvpn_site_flows_opened_total", "Flows that were asked for.") { [.value($0.totals.flowsOpened)] },
    .counter("relayvpn_site_flows_refused_total", "Flows that were refused, by reason.") { status in
      status.refusals.map { .value($0.value, ("reason", $0.key)) }
    },
    .counter("relayvpn_site_payload_bytes_total", "Payload from (in) and to (out) LinkManagers.") { status in
      [.value(status.totals.bytesIn, ("direction", "in")), .value(status.totals.bytesOut, ("direction", "out"))]
    },
    .counter("relayvpn_site_records_total", "Records sealed and opened.") { [.value($0.totals.records)] },
    .counter("relayvpn_site_drops_total", "Datagrams and frames dropped and readers cut, by reason.") { status in
      status.totals.drops.map { .value($0.value, ("reason", $0.key)) }
    },
    .gauge("relayvpn_site_queued_bytes", "Bytes that wait in all sessions, by place.") { status in
      let queues = status.sessions.map(\.queues)
      return [
        .value(queues.reduce(0) { $0 + $1.payload }, ("place", "payload")),
        .value(queues.reduce(0) { $0 + $1.sealed }, ("place", "sealed")),
        .value(queues.reduce(0) { $0 + $1.kernel }, ("place", "kernel")),
        .value(queues.reduce(0) { $0 + $1.held }, ("place", "held")),
      ]
    },
    .gauge("relayvpn_site_memory_bytes", "Payload memory of all sessions, in use and resident.") { status in
      [
        .value(status.sessions.reduce(0) { $0 + $1.memory.inUse }, ("state", "in_use")),
        .value(status.sessions.reduce(0) { $0 + $1.memory.resident }, ("state", "resident")),
      ]
    },
    .gauge("relayvpn_site_memory_pressed", "Sessions that don't read for want of memory.") { status in
      [.value(status.sessions.count { $0.memory.pressed })]
    },
  ]
}
