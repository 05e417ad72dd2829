import Control
import Kernel
import Logging
import Primitives
import Proxy
import Service

/// What the front tells about itself.
extension Front {
  func report() -> StatusReport {
    let figures = relay.figures
    let sites = registry.summaries(membership, of: membership.siteKeys.keys).map { summary in
      let online = registry.sites[summary.name]
      let outages = siteOutages[summary.name]
      return StatusReport.Site(
        name: summary.name, online: summary.online, since: online?.since, address: online?.address,
        key: "\(summary.keyHash)", agents: summary.agents.map(\.name), reconnects: outages?.count ?? 0,
        outages: outages?.latest.map(OutageReport.init) ?? [])
    }
    var sessionsOf: [SlotID: Int] = [:]
    for session in sessions.all.values { sessionsOf[session.owner, default: 0] += 1 }
    let users = registry.users.map { id, user in
      StatusReport.User(
        name: user.name, pc: user.pc, address: user.address, since: user.since, sessions: sessionsOf[id] ?? 0)
    }
    let running = sessions.all.values.map { session in
      StatusReport.Session(
        id: "\(session.id)", user: session.user, pc: session.pc, site: session.site,
        stage: session.stage == .relayed ? "relayed" : "meeting", agents: session.agents, reason: session.reason,
        since: session.created, until: session.notAfter, bytesFromLink: session.meter?.bytes(from: .first) ?? 0,
        bytesFromSite: session.meter?.bytes(from: .second) ?? 0, rateFromLink: session.rateFromLink.perSecond,
        rateFromSite: session.rateFromSite.perSecond, splices: session.meter?.splices ?? 0)
    }
    return StatusReport(
      gate: keys.gate, listen: Socket.localEndpoint(listener).map { "\($0)" } ?? "\(options.listen)", since: started,
      now: Clock.unixSeconds, key: "\(keys.server.keyHash)", connections: connections.count,
      connectionKinds: connectionKinds,
      sites: sites,
      users: users.sorted { ($0.name, $0.since) < ($1.name, $1.since) },
      sessions: running.sorted { $0.since < $1.since },
      relay: StatusReport.Relay(
        threads: relay.threadCount, active: figures.active, started: figures.started, bytes: figures.bytes,
        splices: figures.splices, pipesLent: figures.pipes - figures.idlePipes, pipesKept: figures.idlePipes),
      totals: totals, refusals: Dictionary(uniqueKeysWithValues: refusals.map { ($0.key.rawValue, $0.value) }),
      tickets: tickets.count, pendingRequests: pending.count, throttled: throttle.count,
      storeProblems: storeProblems)
  }

  private var connectionKinds: StatusReport.ConnectionKinds {
    var kinds = StatusReport.ConnectionKinds()
    for id in connections.ids {
      let connection = connections[id]
      switch connection.kind {
      case .handshaking: kinds.handshaking += 1
      case .data: kinds.data += 1
      case .control:
        switch connection.identity {
        case .site: kinds.sites += 1
        case .user: kinds.users += 1
        case nil: kinds.anonymous += 1
        }
      }
    }
    return kinds
  }

  // MARK: Stories

  /// Who asked for what: the first line of a session's story.
  func metadata(opening session: GateSession, address: String) -> Logger.Metadata {
    var all = metadata(session)
    all["agents"] = "\(session.agents.joined(separator: " "))"
    all["address"] = "\(address)"
    all["until"] = "\(Timestamp.text(unixSeconds: session.notAfter))"
    if let reason = session.reason { all["purpose"] = "\(reason)" }
    return all
  }

  /// - Parameter reason: of its end.
  func metadata(_ session: GateSession, reason: String? = nil) -> Logger.Metadata {
    var all: Logger.Metadata = [
      "session": "\(session.id)", "user": "\(session.user)", "pc": "\(session.pc)", "site": "\(session.site)",
    ]
    if let reason {
      all["reason"] = "\(reason)"
      all["seconds"] = "\((now - session.began).milliseconds / 1000)"
    }
    if let meter = session.meter {
      all["bytesFromLink"] = "\(meter.bytes(from: .first))"
      all["bytesFromSite"] = "\(meter.bytes(from: .second))"
    }
    return all
  }
}

extension RelayEnd {
  /// What happened, with the parts' names in place of the relay's sides.
  var story: String {
    switch self {
    case .finished: "both ends have finished"
    case .reset(let side): "the \(side.part)'s connection was reset"
    case .timedOut(let side): "the \(side.part)'s connection answers no more"
    case .cancelled, .stopped, .failed: description
    }
  }

  /// For counters: few and short.
  var label: String {
    switch self {
    case .finished: "finished"
    case .reset(let side): side == .first ? "linkReset" : "siteReset"
    case .timedOut(let side): side == .first ? "linkSilent" : "siteSilent"
    case .cancelled: "cancelled"
    case .stopped: "stopping"
    case .failed: "relayFailed"
    }
  }
}

extension RelaySide {
  /// The order in which sessions hand their ends over.
  fileprivate var part: String { self == .first ? "LinkManager" : "SiteManager" }
}
