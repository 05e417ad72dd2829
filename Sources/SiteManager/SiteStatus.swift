import Control
import Primitives
import Proxy
import Service

/// What `sitemanager status` shows; its JSON form is for scripts.
struct SiteStatus: Codable, Sendable {
  struct Agent: Codable, Sendable {
    var name: String
    var device: String
    /// IDLE, or UP and how many flows.
    var state: String
    var flows: Int
    var about: String?
  }

  struct Session: Codable, Sendable {
    var id: String
    var user: String
    var pc: String
    var reason: String?
    /// Seconds since 1970.
    var since: Int64
    var expires: Int64
    var flows: Int
    var roundTripMicroseconds: Int64?
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
    var memoryInUse: Int
    var flowsByAgent: [String: Int]
    var refusals: [String: UInt64]
  }

  var site: String
  var gate: String
  var connected: Bool
  var connectedSeconds: Int64?
  var reconnects: Int
  /// Why there is no connection.
  var problem: String?
  var siteKey: String
  var agents: [Agent]
  var sessions: [Session]
  /// Flows refused, by reason.
  var refusals: [String: UInt64]
}

extension SiteStatus.Session {
  init(
    id: SessionID, meeting: SiteService.Meeting, before: SessionStatus?
  ) {
    let status = meeting.session.status
    let earlier = before?.counters ?? status.counters
    let seconds = max(0.001, (status.time - (before?.time ?? status.time)).seconds)
    let rate = { (later: UInt64, sooner: UInt64) in UInt64(Double(later &- sooner) / seconds) }
    self.init(
      id: "\(id)", user: meeting.grant.user, pc: meeting.grant.pc, reason: meeting.grant.reason,
      since: meeting.since, expires: meeting.grant.notAfter, flows: status.streams,
      roundTripMicroseconds: status.roundTrip.map { $0.nanoseconds / 1000 },
      bytesIn: status.counters.dataBytesIn, bytesOut: status.counters.dataBytesOut,
      rateIn: rate(status.counters.dataBytesIn, earlier.dataBytesIn),
      rateOut: rate(status.counters.dataBytesOut, earlier.dataBytesOut),
      recordsIn: status.recordsOpened, recordsOut: status.recordsSealed,
      meanRecordIn: status.bytesOpened / max(1, status.recordsOpened),
      meanRecordOut: status.bytesSealed / max(1, status.recordsSealed),
      meanDeviceRead: status.payloadReadBytes / max(1, status.payloadReads),
      meanDeviceWrite: status.payloadWriteBytes / max(1, status.payloadWrites),
      memoryInUse: status.memoryInUse, flowsByAgent: status.flowsByAgent, refusals: status.refusals)
  }
}

extension SiteStatus: CustomStringConvertible {
  var description: String {
    var text = "site \(site) at \(gate): "
    text += connected ? "connected for \(Quantity.age(seconds: connectedSeconds ?? 0))" : "not connected"
    if let problem, !connected { text += " (\(problem))" }
    text += "\nkey \(siteKey), reconnects \(reconnects)\n\n"
    var table = Table("AGENT", "DEVICE", "STATE", "ABOUT")
    for agent in agents { table.append(agent.name, agent.device, agent.state, agent.about ?? "") }
    text += "\(table)\n"
    if sessions.isEmpty { return text + "no sessions\n" }
    var list = Table(
      "SESSION", "USER", "PC", "FLOWS", "RTT", "IN", "OUT", "RATE IN/OUT", "RECORD IN/OUT", "DEVICE READ/WRITE",
      "REASON")
    for session in sessions {
      list.append(
        String(session.id.prefix(8)), session.user, session.pc, "\(session.flows)",
        session.roundTripMicroseconds.map { "\($0) µs" } ?? "-", Quantity.bytes(session.bytesIn),
        Quantity.bytes(session.bytesOut), "\(Quantity.bytes(session.rateIn))/s \(Quantity.bytes(session.rateOut))/s",
        "\(session.meanRecordIn)/\(session.meanRecordOut)",
        "\(session.meanDeviceRead)/\(session.meanDeviceWrite)", session.reason ?? "")
    }
    text += "\n\(list)\n"
    for (reason, count) in refusals.sorted(by: { $0.key < $1.key }) { text += "refused: \(reason): \(count)\n" }
    return text
  }
}
