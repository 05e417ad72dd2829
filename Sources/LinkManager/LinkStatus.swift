import Adapter
import Control
import Kernel
import Primitives
import Proxy
import Service

/// What `linkmanager status` shows; its JSON form is for scripts.
struct LinkStatus: Codable, Sendable {
  struct Agent: Codable, Sendable {
    var name: String
    var v4: String?
    var v6: String?
    var tcp: String
    var udp: String
    var ping: Bool
    /// IDLE, or UP and how many flows.
    var state: String
    var flows: Int
    var about: String?
  }

  struct Site: Codable, Sendable {
    var name: String
    /// CONNECTED, or CONNECTING.
    var state: String
    var problem: String?
    var session: String?
    var reason: String
    var connectedSeconds: Int64?
    var roundTripMicroseconds: Int64?
    var flows = 0
    /// Payload from and to the site.
    var bytesIn: UInt64 = 0
    var bytesOut: UInt64 = 0
    /// Payload in a second, now.
    var rateIn: UInt64 = 0
    var rateOut: UInt64 = 0
    var meanRecordIn: UInt64 = 0
    var meanRecordOut: UInt64 = 0
    var agents: [Agent]
  }

  struct RefusedFlow: Codable, Sendable {
    var flow: String
    var reason: String
    var count: UInt64
    var secondsAgo: Int64
  }

  var user: String
  var pc: String
  var gate: String
  /// Whether there is a connection to GateManager: none while nobody asks for a site.
  var isServing: Bool
  var sites: [Site]
  var tcpFlows = 0
  var udpFlows = 0
  var echoFlows = 0
  /// Payload bytes of a TCP segment from and to applications, super-segments counting as one.
  var meanSegmentIn: UInt64 = 0
  var meanSegmentOut: UInt64 = 0
  var retransmits: UInt64 = 0
  var memoryInUse = 0
  /// Packets dropped, by reason.
  var drops: [String: UInt64] = [:]
  /// Flows denied or refused, by reason.
  var refusals: [String: UInt64] = [:]
  var recentRefusals: [RefusedFlow] = []
}

extension LinkStatus {
  init(
    user: String, pc: String, gate: String, isServing: Bool, sites: [String: LinkService.Site],
    before: AdapterStatus?, after: AdapterStatus?, interval: Interval
  ) {
    self.init(user: user, pc: pc, gate: gate, isServing: isServing, sites: [])
    let now = after?.sites.isEmpty == false ? interval.seconds : 1
    self.sites = sites.sorted { $0.key < $1.key }.map { name, site in
      let earlier = before?.sites.first { $0.name == name }
      let later = after?.sites.first { $0.name == name }
      return Site(name, site, earlier, later, seconds: max(0.001, now))
    }
    guard let after else { return }
    tcpFlows = after.tcpFlows
    udpFlows = after.udpFlows
    echoFlows = after.echoFlows
    meanSegmentIn = after.payloadBytesIn / max(1, after.segmentsIn)
    meanSegmentOut = after.payloadBytesOut / max(1, after.segmentsOut)
    retransmits = after.retransmits
    memoryInUse = after.memoryInUse
    drops = after.drops
    refusals = after.refusals
    let present = Kernel.Clock.now
    recentRefusals = after.recentRefusals.reversed().map { entry in
      RefusedFlow(
        flow: entry.transport == .icmp
          ? "ping \(entry.destination.address)" : "\(entry.transport) \(entry.destination)",
        reason: entry.reason, count: entry.count, secondsAgo: (present - entry.last).milliseconds / 1000)
    }
  }
}

extension LinkStatus.Site {
  fileprivate init(
    _ name: String, _ site: LinkService.Site, _ before: AdapterStatus.Site?, _ after: AdapterStatus.Site?,
    seconds: Double
  ) {
    let flows = after?.flowsByAgent ?? [:]
    self.init(
      name: name, state: site.session == nil ? "CONNECTING" : "CONNECTED", problem: site.problem,
      session: site.session.map { "\($0)" }, reason: site.reason,
      agents: site.aliases.map { LinkStatus.Agent($0, flows: flows[$0.agent.name] ?? 0) })
    guard let after else { return }
    let counters = after.session.counters
    connectedSeconds = (Kernel.Clock.now - after.since).milliseconds / 1000
    roundTripMicroseconds = after.session.roundTrip.map { $0.nanoseconds / 1000 }
    self.flows = after.session.streams
    bytesIn = counters.dataBytesIn
    bytesOut = counters.dataBytesOut
    meanRecordIn = after.session.bytesOpened / max(1, after.session.recordsOpened)
    meanRecordOut = after.session.bytesSealed / max(1, after.session.recordsSealed)
    guard let earlier = before?.session.counters else { return }
    rateIn = UInt64(Double(counters.dataBytesIn &- earlier.dataBytesIn) / seconds)
    rateOut = UInt64(Double(counters.dataBytesOut &- earlier.dataBytesOut) / seconds)
  }
}

extension LinkStatus.Agent {
  init(_ alias: AgentAlias, flows: Int) {
    let address = { (prefix: IPPrefix?) in
      prefix.map { $0.length == $0.address.bitWidth ? "\($0.address)" : "\($0)" }
    }
    let ports = { (ranges: [PortRange]) in ranges.map(\.description).joined(separator: ", ") }
    self.init(
      name: alias.agent.name, v4: address(alias.v4), v6: address(alias.v6), tcp: ports(alias.agent.tcp),
      udp: ports(alias.agent.udp), ping: alias.agent.icmp, state: flows > 0 ? "UP:\(flows)" : "IDLE", flows: flows,
      about: alias.agent.about)
  }
}

extension LinkStatus: CustomStringConvertible {
  var description: String {
    var text = "\(user) at \(gate): \(isServing ? "serving" : "idle, no connections")\n"
    for site in sites {
      text += "\nsite \(site.name): \(site.state)"
      if let seconds = site.connectedSeconds { text += " for \(Quantity.age(seconds: seconds))" }
      if let roundTrip = site.roundTripMicroseconds { text += ", round trip \(roundTrip) µs" }
      if let problem = site.problem { text += " (\(problem))" }
      text += "\n  in \(Quantity.bytes(site.bytesIn)) at \(Quantity.bytes(site.rateIn))/s"
      text += ", out \(Quantity.bytes(site.bytesOut)) at \(Quantity.bytes(site.rateOut))/s"
      text += ", bytes per record \(site.meanRecordIn) in, \(site.meanRecordOut) out\n"
      text += "\(LinkStatus.table(site.agents))\n"
    }
    text += "\nflows: \(tcpFlows) tcp, \(udpFlows) udp, \(echoFlows) ping; bytes per segment \(meanSegmentIn) in, "
    text += "\(meanSegmentOut) out; retransmits \(retransmits)\n"
    for (reason, count) in drops.sorted(by: { $0.key < $1.key }) { text += "packets dropped: \(reason): \(count)\n" }
    for refusal in recentRefusals {
      text += "refused: \(refusal.flow): \(refusal.reason) (\(refusal.count)x, \(refusal.secondsAgo) s ago)\n"
    }
    return text
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
