import Control
import Kernel
import Primitives
import Proxy
import Service

extension SiteService {
  /// - Parameter flows: whether each flow is told of as well, up to `OpenFlowReport.limit`.
  func status(flows wantsFlows: Bool = false) -> SiteStatus {
    let state = state.withLock { $0 }
    let meetings = state.meetings.sorted { ($0.value.since, "\($0.key)") < ($1.value.since, "\($1.key)") }
    var totals = state.totals
    let sessions = meetings.map { id, meeting in
      let status = meeting.session.status
      totals.add(status)
      return SiteStatus.Session(id: id, grant: meeting.grant, since: meeting.since, status: status)
    }
    let agents = state.agents.map { agent in
      let flows = sessions.reduce(0) { $0 + ($1.flowsByAgent[agent.name] ?? 0) }
      let veto = state.remote.veto(of: agent.name)
      return SiteStatus.Agent(
        name: agent.name, device: "\(agent.place)",
        state: veto == nil ? flows > 0 ? "UP:\(flows)" : "IDLE" : AgentState.down.rawValue, flows: flows,
        about: agent.about, veto: veto)
    }
    let isConnected = state.connectedSince != nil
    let outage = state.outages.latest.last
    var report = SiteStatus(
      site: name, gate: identity.server.address.description, connected: isConnected,
      connectedSeconds: state.connectedSince.map { (Clock.now - $0).milliseconds / 1000 },
      reconnects: state.outages.count,
      outages: state.outages.latest.map(OutageReport.init),
      problem: isConnected ? nil : outage.map { $0.latestFailure ?? $0.cause }, siteKey: "\(identity.keyHash)",
      agents: agents, sessions: sessions, arriving: state.arriving, sessionLimit: sessionLimit,
      refusals: state.refusals, totals: totals)
    report.veto = state.remote.veto
    let captures = captures.reports
    if !captures.isEmpty { report.captures = captures }
    if wantsFlows {
      var all: [OpenFlowReport] = []
      for (_, meeting) in meetings where all.count < OpenFlowReport.limit {
        all += meeting.session.flows(limit: OpenFlowReport.limit - all.count).map(OpenFlowReport.init)
      }
      report.flows = all.sorted { $0.seconds > $1.seconds }
      report.flowsOmitted = max(0, sessions.reduce(0) { $0 + $1.flows } - all.count)
    }
    return report.completed()
  }
}
