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
    /// IDLE, UP and how many flows, or DOWN.
    var state: String
    var flows: Int
    var about: String?
    /// Why it is switched off on site.
    var veto: String?
  }

  struct Site: Codable, Sendable {
    var name: String
    /// CONNECTED, or CONNECTING.
    var state: String
    var problem: String?
    var session: String?
    var reason: String
    var connectedSeconds: Int64?
    /// The latest, queues included, and the shortest.
    var roundTripMicroseconds: Int64?
    var shortestRoundTripMicroseconds: Int64?
    /// Open now, of whatever kind; and by kind.
    var flows = 0
    var tcpFlows = 0
    var udpFlows = 0
    var echoFlows = 0
    /// Payload from and to the site.
    var bytesIn: UInt64 = 0
    var bytesOut: UInt64 = 0
    /// Payload in a second, now.
    var rateIn: UInt64 = 0
    var rateOut: UInt64 = 0
    var meanRecordIn: UInt64 = 0
    var meanRecordOut: UInt64 = 0
    var queues: QueueReport?
    /// Datagrams and frames dropped and readers cut, by reason.
    var drops: [String: UInt64] = [:]
    /// How often the session was lost since the user connected, and the latest of these, oldest first.
    var reconnects: UInt64
    var outages: [OutageReport]
    var agents: [Agent]
  }

  struct RefusedFlow: Codable, Sendable {
    var flow: String
    var reason: String
    var count: UInt64
    var secondsAgo: Int64
    /// The latest of them in the logs of both hosts; missing if it never left this one.
    var id: String?
  }

  /// The control connection. There is none while nobody asks for a site.
  struct GateConnection: Codable, Sendable {
    var connected: Bool
    var reconnects: UInt64
    var outages: [OutageReport]
  }

  /// Packets of the device, super-segments counting as one.
  struct Device: Codable, Sendable {
    var packetsIn: UInt64 = 0
    var packetsOut: UInt64 = 0
    var bytesIn: UInt64 = 0
    var bytesOut: UInt64 = 0
    var softwareSegmented: UInt64 = 0
    /// By reason.
    var drops: [String: UInt64] = [:]
  }

  /// Since the service started, sessions that have ended included.
  struct Totals: Codable, Sendable {
    var sessionsOpened: UInt64 = 0
    /// By how they ended.
    var sessionsEnded: [String: UInt64] = [:]
    var flowsOpened: UInt64 = 0
    var bytesIn: UInt64 = 0
    var bytesOut: UInt64 = 0
    var records: UInt64 = 0
  }

  var user: String
  var pc: String
  var gate: String
  /// What is wrong, for people.
  var problems: [String] = []
  /// Whether there is a connection to GateManager, or an attempt at one: none while nobody asks for a site.
  var isServing: Bool
  var gateConnection: GateConnection?
  var sites: [Site]
  var tcpFlows = 0
  var udpFlows = 0
  var echoFlows = 0
  /// TCP connections whose handshake isn't over, and those in TIME-WAIT.
  var halfOpenFlows = 0
  var timeWaitFlows = 0
  /// Payload bytes of a TCP segment from and to applications, super-segments counting as one.
  var meanSegmentIn: UInt64 = 0
  var meanSegmentOut: UInt64 = 0
  var retransmits: UInt64 = 0
  var device = Device()
  var memory: MemoryReport?
  /// The same in short: bytes in use.
  var memoryInUse = 0
  /// Packets dropped by the stack, by reason.
  var drops: [String: UInt64] = [:]
  /// Flows denied or refused, by reason.
  var refusals: [String: UInt64] = [:]
  var recentRefusals: [RefusedFlow] = []
  var totals = Totals()
  /// Layer 2 agents, with their TAP devices.
  var ethernet: [EthernetReport]?
  /// With `--flows`; what is missing of them beyond the bound.
  var flows: [OpenFlowReport]?
  var flowsOmitted: Int?
  var process: ProcessReport?
}

extension LinkStatus {
  /// Fills in what the adapter knows.
  mutating func describe(_ adapter: AdapterStatus) {
    tcpFlows = adapter.tcpFlows
    udpFlows = adapter.udpFlows
    echoFlows = adapter.echoFlows
    halfOpenFlows = adapter.halfOpen
    timeWaitFlows = adapter.timeWait
    meanSegmentIn = adapter.payloadBytesIn / max(1, adapter.segmentsIn)
    meanSegmentOut = adapter.payloadBytesOut / max(1, adapter.segmentsOut)
    retransmits = adapter.retransmits
    memory = MemoryReport(adapter.pool)
    memoryInUse = adapter.pool.bytesInUse
    drops = adapter.drops
    refusals = adapter.refusals
    ethernet = adapter.ethernet.map(EthernetReport.init)
    let counters = adapter.device
    device = Device(
      packetsIn: counters.packetsRead, packetsOut: counters.packetsWritten, bytesIn: counters.bytesRead,
      bytesOut: counters.bytesWritten, softwareSegmented: counters.softwareSegmented,
      drops: [
        "queue full": counters.droppedFull, "device down": counters.droppedDown, "rejected": counters.droppedRejected,
        "malformed": counters.droppedMalformed, "bad offload header": counters.badOffloads,
      ].filter { $0.value > 0 })
    let present = Kernel.Clock.now
    recentRefusals = adapter.recentRefusals.reversed().map { entry in
      RefusedFlow(
        flow: entry.transport == .icmp
          ? "ping \(entry.destination.address)" : "\(entry.transport) \(entry.destination)",
        reason: entry.reason, count: entry.count, secondsAgo: (present - entry.last).milliseconds / 1000,
        id: entry.connection.map { "\($0)" })
    }
  }

  /// Fills in what is wrong, and what the process costs.
  func completed() -> LinkStatus {
    var report = self
    report.process = ProcessReport.current
    if isServing, let gateConnection, !gateConnection.connected {
      let outage = gateConnection.outages.last
      report.problems.append(
        "not connected to GateManager: \(outage.map { $0.latestFailure ?? $0.cause } ?? "still trying")")
    }
    for site in sites where site.state != "CONNECTED" {
      report.problems.append("site \(site.name) is not connected: \(site.problem ?? "still trying")")
    }
    for site in sites {
      for agent in site.agents {
        if let veto = agent.veto { report.problems.append("agent \(site.name)/\(agent.name): \(veto)") }
      }
    }
    report.problems += memory?.problems(of: "memory") ?? []
    report.problems += report.process?.problems ?? []
    return report
  }
}

extension LinkStatus.Site {
  init(_ name: String, _ site: LinkService.Site, _ adapter: AdapterStatus.Site?) {
    let flows = adapter?.flowsByAgent ?? [:]
    self.init(
      name: name, state: site.session == nil ? "CONNECTING" : "CONNECTED", problem: site.problem,
      session: site.session.map { "\($0)" }, reason: site.reason, reconnects: site.outages.count,
      outages: site.outages.latest.map(OutageReport.init),
      agents: site.aliases.map { alias in
        LinkStatus.Agent(alias, flows: flows[alias.agent.name] ?? 0, veto: site.vetoes[alias.agent.name])
      })
    guard let adapter else { return }
    let session = adapter.session
    connectedSeconds = (Kernel.Clock.now - adapter.since).milliseconds / 1000
    roundTripMicroseconds = session.roundTrip.map { $0.nanoseconds / 1000 }
    shortestRoundTripMicroseconds = session.shortestRoundTrip.map { $0.nanoseconds / 1000 }
    self.flows = session.streams
    tcpFlows = session.kinds.tcp
    udpFlows = session.kinds.udp
    echoFlows = session.kinds.echo
    bytesIn = session.counters.dataBytesIn
    bytesOut = session.counters.dataBytesOut
    rateIn = session.rateIn
    rateOut = session.rateOut
    meanRecordIn = session.bytesOpened / max(1, session.recordsOpened)
    meanRecordOut = session.bytesSealed / max(1, session.recordsSealed)
    queues = QueueReport(session.queues)
    drops = session.drops
  }
}

extension LinkStatus.Agent {
  init(_ alias: AgentAlias, flows: Int, veto: String?) {
    let address = { (prefix: IPPrefix?) in
      prefix.map { $0.length == $0.address.bitWidth ? "\($0.address)" : "\($0)" }
    }
    let ports = { (ranges: [PortRange]) in ranges.map(\.description).joined(separator: ", ") }
    self.init(
      name: alias.agent.name, v4: address(alias.v4), v6: address(alias.v6), tcp: ports(alias.agent.tcp),
      udp: ports(alias.agent.udp), ping: alias.agent.icmp,
      state: veto == nil ? flows > 0 ? "UP:\(flows)" : "IDLE" : AgentState.down.rawValue, flows: flows,
      about: alias.agent.about, veto: veto)
  }
}
