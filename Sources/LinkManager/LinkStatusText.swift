import Kernel
import Primitives
import Service

extension LinkStatus: CustomStringConvertible {
  /// For people: what is wrong comes first.
  var description: String {
    let now = Kernel.Clock.unixSeconds
    var text = "\(user) at \(gate): \(isServing ? "serving" : "idle, no connections")\n"
    for problem in problems { text += "! \(problem.escaped)\n" }
    for site in sites { text += "\n" + Self.text(site, now: now) }
    for link in ethernet ?? [] { text += link.text }
    text += "\nflows: \(tcpFlows) tcp, \(udpFlows) udp, \(echoFlows) ping; bytes per segment \(meanSegmentIn) in, "
    text += "\(meanSegmentOut) out; retransmits \(retransmits)\n"
    if let memory, !sites.isEmpty { text += "memory: \(memory.text)\n" }
    for (reason, count) in drops.sorted(by: { $0.key < $1.key }) { text += "packets dropped: \(reason): \(count)\n" }
    for (reason, count) in device.drops.sorted(by: { $0.key < $1.key }) {
      text += "packets dropped by the device: \(reason): \(count)\n"
    }
    for refusal in recentRefusals {
      let id = refusal.id.map { ", flow \($0)" } ?? ""
      text += "refused: \(refusal.flow): \(refusal.reason.escaped) (\(refusal.count)x, "
      text += "\(Quantity.age(seconds: refusal.secondsAgo)) ago\(id))\n"
    }
    text += OutageReport.text(gateConnection?.outages ?? [], of: "GateManager", now: now)
    if let flows {
      text += flows.isEmpty ? "\nno flows\n" : "\n\(OpenFlowReport.table(flows))\n"
      if let flowsOmitted, flowsOmitted > 0 { text += "… and \(flowsOmitted) more\n" }
    }
    if let process { text += process.text + "\n" }
    return text
  }

  private static func text(_ site: Site, now: Int64) -> String {
    let delay = { (time: Int64) in Quantity.delay(microseconds: time) }
    var text = "site \(site.name): \(site.state)"
    if let seconds = site.connectedSeconds { text += " for \(Quantity.age(seconds: seconds))" }
    if let session = site.session { text += ", session \(session.prefix(8))" }
    if let roundTrip = site.roundTripMicroseconds {
      text += ", round trip \(delay(roundTrip))"
      if let shortest = site.shortestRoundTripMicroseconds { text += " (shortest \(delay(shortest)))" }
    }
    if let problem = site.problem { text += " (\(problem.escaped))" }
    text += "\n  in \(Quantity.bytes(site.bytesIn)) at \(Quantity.rate(bytes: site.rateIn, in: .seconds(1)))"
    text += ", out \(Quantity.bytes(site.bytesOut)) at \(Quantity.rate(bytes: site.rateOut, in: .seconds(1)))"
    text += ", bytes per record \(site.meanRecordIn) in, \(site.meanRecordOut) out\n"
    if let queues = site.queues {
      text += "  flows: \(site.tcpFlows) tcp, \(site.udpFlows) udp, \(site.echoFlows) ping; \(queues.text)\n"
    }
    for (reason, count) in site.drops.sorted(by: { $0.key < $1.key }) { text += "  dropped: \(reason): \(count)\n" }
    let outages = OutageReport.text(site.outages, of: "the session", now: now)
    for line in outages.split(separator: "\n") { text += "  \(line)\n" }
    return text + "\(table(site.agents))\n"
  }

  static func table(_ agents: [Agent]) -> Table {
    var table = Table("AGENT", "ADDRESS", "IPV6 ADDRESS", "TCP", "UDP", "PING", "STATE", "ABOUT")
    for agent in agents {
      table.append(
        agent.name, agent.v4 ?? "-", agent.v6 ?? "-", agent.tcp.isEmpty ? "-" : agent.tcp,
        agent.udp.isEmpty ? "-" : agent.udp, agent.ping ? "yes" : "no", agent.state, agent.about ?? "")
    }
    return table
  }
}
