import Control
import Kernel
import Primitives
import Proxy
import Service

/// What `sitemanager status` shows; its JSON form is for scripts.
struct SiteStatus: Codable, Sendable {
  struct Agent: Codable, Sendable {
    var name: String
    var device: String
    /// IDLE, UP and how many flows, or DOWN.
    var state: String
    var flows: Int
    var about: String?
    /// Why it is switched off here.
    var veto: String?
  }

  struct Session: Codable, Sendable {
    var id: String
    var user: String
    var pc: String
    var reason: String?
    /// Seconds since 1970.
    var since: Int64
    var expires: Int64
    /// Open now, of whatever kind; and by kind.
    var flows: Int
    var tcpFlows: Int
    var udpFlows: Int
    var echoFlows: Int
    /// Since the session began.
    var flowsOpened: UInt64
    var flowsRefused: UInt64
    /// The latest, queues included, and the shortest.
    var roundTripMicroseconds: Int64?
    var shortestRoundTripMicroseconds: Int64?
    /// Payload of streams and flows, from and to the LinkManager.
    var bytesIn: UInt64
    var bytesOut: UInt64
    /// Payload in a second, now.
    var rateIn: UInt64
    var rateOut: UInt64
    var recordsIn: UInt64
    var recordsOut: UInt64
    var meanRecordIn: UInt64
    var meanRecordOut: UInt64
    var meanDeviceRead: UInt64
    var meanDeviceWrite: UInt64
    var queues: QueueReport
    var memory: MemoryReport
    /// The same in short: bytes in use.
    var memoryInUse: Int
    /// Datagrams and frames dropped and readers cut, by reason.
    var drops: [String: UInt64]
    var flowsByAgent: [String: Int]
    var refusals: [String: UInt64]
    /// Layer 2 connections, with the site's interfaces.
    var ethernet: [EthernetReport]?
  }

  /// Since the service started, sessions that have ended included.
  struct Totals: Codable, Sendable {
    var sessionsOpened: UInt64 = 0
    /// Meetings that came to nothing.
    var sessionsRefused: UInt64 = 0
    /// By how they ended.
    var sessionsEnded: [String: UInt64] = [:]
    var flowsOpened: UInt64 = 0
    var bytesIn: UInt64 = 0
    var bytesOut: UInt64 = 0
    var records: UInt64 = 0
    var drops: [String: UInt64] = [:]

    mutating func add(_ status: SessionStatus) {
      flowsOpened += status.counters.streamsOpened
      bytesIn += status.counters.dataBytesIn
      bytesOut += status.counters.dataBytesOut
      records += status.recordsSealed + status.recordsOpened
      for (reason, count) in status.drops { drops[reason, default: 0] += count }
    }
  }

  var site: String
  var gate: String
  /// What is wrong, for people.
  var problems: [String] = []
  var connected: Bool
  var connectedSeconds: Int64?
  var reconnects: UInt64
  /// The latest losses of the connection to GateManager, oldest first.
  var outages: [OutageReport]
  /// Why there is no connection.
  var problem: String?
  /// Why remote access is switched off here, if it is.
  var veto: String?
  var siteKey: String
  var agents: [Agent]
  var sessions: [Session]
  /// Meetings under way.
  var arriving: Int
  var sessionLimit: Int
  /// Flows refused, by reason.
  var refusals: [String: UInt64]
  var totals: Totals
  /// Under way, those that LinkManagers asked for among them.
  var captures: [CaptureReport]?
  /// With `--flows`; what is missing of them beyond the bound.
  var flows: [OpenFlowReport]?
  var flowsOmitted: Int?
  var process: ProcessReport?
}

extension SiteStatus.Session {
  init(id: SessionID, grant: Grant, since: Int64, status: SessionStatus) {
    self.init(
      id: "\(id)", user: grant.user, pc: grant.pc, reason: grant.reason, since: since, expires: grant.notAfter,
      flows: status.streams, tcpFlows: status.kinds.tcp, udpFlows: status.kinds.udp, echoFlows: status.kinds.echo,
      flowsOpened: status.counters.streamsOpened, flowsRefused: status.counters.streamsRefused,
      roundTripMicroseconds: status.roundTrip.map { $0.nanoseconds / 1000 },
      shortestRoundTripMicroseconds: status.shortestRoundTrip.map { $0.nanoseconds / 1000 },
      bytesIn: status.counters.dataBytesIn, bytesOut: status.counters.dataBytesOut, rateIn: status.rateIn,
      rateOut: status.rateOut, recordsIn: status.recordsOpened, recordsOut: status.recordsSealed,
      meanRecordIn: status.bytesOpened / max(1, status.recordsOpened),
      meanRecordOut: status.bytesSealed / max(1, status.recordsSealed),
      meanDeviceRead: status.payloadReadBytes / max(1, status.payloadReads),
      meanDeviceWrite: status.payloadWriteBytes / max(1, status.payloadWrites), queues: QueueReport(status.queues),
      memory: MemoryReport(status.pool), memoryInUse: status.memoryInUse, drops: status.drops,
      flowsByAgent: status.flowsByAgent,
      refusals: status.refusals, ethernet: status.ethernet.map(EthernetReport.init))
  }
}

extension SiteStatus {
  /// Fills in what is wrong, and what the process costs.
  func completed() -> SiteStatus {
    var report = self
    report.process = ProcessReport.current
    if !connected { report.problems.append("not connected to GateManager: \(problem ?? "still trying")") }
    if sessions.count + arriving >= sessionLimit {
      report.problems.append("\(sessionLimit) sessions are open or arriving: more are refused")
    }
    for session in sessions {
      report.problems += session.memory.problems(of: "session \(session.id.prefix(8))")
    }
    report.problems += report.process?.problems ?? []
    return report
  }
}

extension SiteStatus: CustomStringConvertible {
  /// For people: what is wrong comes first.
  var description: String {
    var text = "site \(site) at \(gate): "
    text += connected ? "connected for \(Quantity.age(seconds: connectedSeconds ?? 0))" : "not connected"
    text += ", lost \(reconnects) times\nkey \(siteKey)\n"
    if let veto { text += "! \(veto.escaped)\n" }
    for problem in problems { text += "! \(problem.escaped)\n" }
    for capture in captures ?? [] { text += "\(capture.text)\n" }
    var table = Table("AGENT", "DEVICE", "STATE", "ABOUT")
    for agent in agents {
      let state = veto == nil && agent.veto != nil ? "\(agent.state): \(agent.veto ?? "")" : agent.state
      table.append(agent.name, agent.device, state, agent.about ?? "")
    }
    text += "\n\(table)\n\n\(sessionsText)"
    for (reason, count) in refusals.sorted(by: { $0.key < $1.key }) { text += "refused: \(reason): \(count)\n" }
    for (reason, count) in totals.drops.sorted(by: { $0.key < $1.key }) { text += "dropped: \(reason): \(count)\n" }
    text += OutageReport.text(outages, of: "GateManager", now: Clock.unixSeconds)
    if let flows {
      text += flows.isEmpty ? "\nno flows\n" : "\n\(OpenFlowReport.table(flows))\n"
      if let flowsOmitted, flowsOmitted > 0 { text += "… and \(flowsOmitted) more\n" }
    }
    if let process { text += process.text + "\n" }
    return text
  }

  private var sessionsText: String {
    guard !sessions.isEmpty else { return "no sessions\n" }
    var table = Table(
      "SESSION", "USER", "PC", "AGE", "TCP/UDP/PING", "RTT (MIN)", "IN", "RATE", "OUT", "RATE", "RECORD IN/OUT",
      "DEVICE READ/WRITE", "REASON")
    let now = Clock.unixSeconds
    for session in sessions {
      let delay = { (time: Int64?) in time.map { Quantity.delay(microseconds: $0) } ?? "-" }
      table.append(
        String(session.id.prefix(8)), session.user, session.pc, Quantity.age(seconds: now - session.since),
        "\(session.tcpFlows)/\(session.udpFlows)/\(session.echoFlows)",
        "\(delay(session.roundTripMicroseconds)) (\(delay(session.shortestRoundTripMicroseconds)))",
        Quantity.bytes(session.bytesIn), Quantity.rate(bytes: session.rateIn, in: .seconds(1)),
        Quantity.bytes(session.bytesOut), Quantity.rate(bytes: session.rateOut, in: .seconds(1)),
        "\(session.meanRecordIn)/\(session.meanRecordOut)", "\(session.meanDeviceRead)/\(session.meanDeviceWrite)",
        session.reason ?? "")
    }
    var text = "\(table)\n"
    for session in sessions {
      text += "\(session.id.prefix(8)) \(session.queues.text)\n\(session.id.prefix(8)) memory: \(session.memory.text)\n"
      for link in session.ethernet ?? [] { text += "\(session.id.prefix(8)) \(link.text)" }
    }
    return text
  }
}
