import Primitives
import Service

/// How long things take at a GateManager.
struct GateDurations: Sendable {
  /// From accept to the end of the TLS handshake.
  let handshake: DurationMetric
  /// From the wish to connect until both ends are relayed.
  let meeting: DurationMetric

  init(_ registry: MetricRegistry) {
    handshake = DurationMetric(
      "relayvpn_gate_handshake_seconds", "From a connection's accept to the end of its TLS handshake.",
      registry: registry)
    meeting = DurationMetric(
      "relayvpn_gate_meeting_seconds", "From a user's wish to connect until both ends are relayed.",
      registry: registry)
  }
}

/// A GateManager's status as metrics. Labels are reasons and kinds only: never users or sites, of which there may be ten
/// thousand.
enum GateMetrics {
  static let rows: [MetricTable<StatusReport>.Row] = [
    .gauge("relayvpn_gate_sites", "Enrolled sites by state.") { report in
      let online = report.sites.count { $0.online }
      return [.value(online, ("state", "online")), .value(report.sites.count - online, ("state", "offline"))]
    },
    .counter("relayvpn_gate_site_outages_total", "Connections of sites that were lost.") { report in
      [.value(report.sites.reduce(0) { $0 + $1.reconnects })]
    },
    .gauge("relayvpn_gate_users", "Connected users.") { [.value($0.users.count)] },
    .gauge("relayvpn_gate_sessions", "Sessions by stage.") { report in
      let relayed = report.sessions.count { $0.stage == "relayed" }
      return [.value(relayed, ("stage", "relayed")), .value(report.sessions.count - relayed, ("stage", "meeting"))]
    },
    .gauge("relayvpn_gate_sessions_limit", "Sessions that may be open at once.") { [.value($0.sessionLimit)] },
    .counter("relayvpn_gate_sessions_opened_total", "Sessions that users asked for and were granted.") {
      [.value($0.totals.sessionsOpened)]
    },
    .counter("relayvpn_gate_sessions_relayed_total", "Sessions whose two ends met.") {
      [.value($0.totals.sessionsRelayed)]
    },
    .counter("relayvpn_gate_sessions_ended_total", "Sessions that ended, by reason.") { report in
      report.totals.sessionsEnded.map { .value($0.value, ("reason", $0.key)) }
    },
    .gauge("relayvpn_gate_connections", "Connections to the open port before their switch to raw, by kind.") { report in
      let kinds = report.connections
      return [
        .value(kinds.handshaking, ("kind", "handshaking")), .value(kinds.anonymous, ("kind", "anonymous")),
        .value(kinds.sites, ("kind", "site")), .value(kinds.users, ("kind", "user")),
        .value(kinds.data, ("kind", "data")),
      ]
    },
    .gauge("relayvpn_gate_connections_limit", "Such connections that may be open at once.") {
      [.value($0.connections.limit)]
    },
    .counter("relayvpn_gate_connections_accepted_total", "Connections accepted on the open port.") {
      [.value($0.totals.connectionsAccepted)]
    },
    .counter("relayvpn_gate_handshakes_total", "TLS handshakes completed.") { [.value($0.totals.handshakes)] },
    .counter("relayvpn_gate_refusals_total", "Connections and requests turned away or ended, by reason.") { report in
      report.refusals.map { .value($0.value, ("reason", $0.key)) }
    },
    .gauge("relayvpn_gate_tickets", "Tickets that are out.") { [.value($0.tickets)] },
    .gauge("relayvpn_gate_pending_requests", "Logins and enrolments that wait.") { [.value($0.pendingRequests)] },
    .gauge("relayvpn_gate_throttled", "Names and addresses with failed logins that aren't forgotten.") {
      [.value($0.throttled)]
    },
    .gauge("relayvpn_gate_store_problems", "Records that can't be read.") { [.value($0.storeProblems.count)] },
    .gauge("relayvpn_gate_relays", "Relays under way.") { [.value($0.relay.active)] },
    .counter("relayvpn_gate_relays_started_total", "Relays started.") { [.value($0.relay.started)] },
    .counter("relayvpn_gate_relayed_bytes_total", "Ciphertext relayed, both ways.") { [.value($0.relay.bytes)] },
    .counter("relayvpn_gate_splices_total", "Calls of splice(2) that moved bytes.") { [.value($0.relay.splices)] },
    .gauge("relayvpn_gate_pipes", "Pipes of the relay, lent to a direction or kept empty.") { report in
      [.value(report.relay.pipesLent, ("state", "lent")), .value(report.relay.pipesKept, ("state", "kept"))]
    },
  ]
}
