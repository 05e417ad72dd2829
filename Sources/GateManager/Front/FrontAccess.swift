import Access
import Control
import Kernel
import Primitives
import Service

/// Who may connect, and go on; and what the audit is told of it.
extension Front {
  /// Which agents of a site a user gets now.
  func authorise(
    _ user: String, _ body: ControlMessage.Connect, _ purpose: String?
  ) throws(ConnectRefusal) -> Authorisation {
    let site = registry.sites[body.site]
    let announced = site?.agents
    let allowed: Authorisation
    do throws(AccessDenial) {
      guard membership.siteKeys[body.site] != nil else { throw .siteUnknown(body.site) }
      // First the rules: whether a site is connected is for those to know whom it concerns.
      allowed = try Authorisation.decide(
        access, account: user, site: body.site, announced: announced ?? [],
        wanted: announced == nil ? nil : body.agents?.map { $0.prefix(bytes: 64) }, reason: purpose,
        now: Clock.unixSeconds
      ).granting(each: body.agents != nil, withLimits: site?.features?.contains(SiteFeatures.grantedPorts) ?? false)
    } catch {
      throw ConnectRefusal(error)
    }
    guard site != nil else {
      throw ConnectRefusal(.siteOffline, .siteOffline, "the site isn't connected to the GateManager now")
    }
    guard announced != nil else {
      throw ConnectRefusal(
        .siteOffline, .siteOffline, "the site has just come and hasn't announced its agents yet: try again")
    }
    guard !allowed.agents.isEmpty else {
      throw ConnectRefusal(.unknownAgent, .notPermitted, "the site has no agent for you")
    }
    return allowed
  }

  /// Accounts, rules or sites have changed, or a site's agents: ends what isn't allowed any more, and moves the ends of
  /// the others.
  /// - Parameter site: whose sessions; `nil` for all.
  func judgeSessionsAnew(at site: String? = nil) {
    for id in sessions.ids(where: { site == nil || $0.site == site }) {
      guard let session = sessions[id] else { continue }
      // An agent that is granted in whole is so with a port that it has got since. What the site has no more it cuts
      // itself.
      let announced = registry.sites[session.site]?.agents ?? []
      let descriptions = session.descriptions.map { old in announced.first { $0.name == old.name } ?? old }
      do throws(AccessDenial) {
        let allowed = try Authorisation.decide(
          access, account: session.user, site: session.site, announced: descriptions, wanted: session.agents,
          reason: session.reason, now: Clock.unixSeconds
        ).granting(each: true, withLimits: session.understandsLimits)
        try allowed.check(granted: session.ports, announced: descriptions)
        let limit = SessionLimit(
          created: session.created, began: session.began, longest: Int64(options.grantHours) * 3600,
          until: allowed.until, reason: allowed.ending(of: session.user))
        // What the site was granted isn't made longer.
        if limit.notAfter <= session.notAfter {
          sessions.limit(id, to: limit, rules: allowed.rules)
        }
      } catch {
        endSession(id, .accessEnded, "\(error)")
      }
    }
  }

  /// Tells the audit and the LinkManagers what a site's operator has switched off or on since the site last said.
  func judgeVetoes(of site: String, _ agents: [AgentDescription]) {
    let before = vetoes[site] ?? [:]
    var current: [String: String] = [:]
    for agent in agents { current[agent.name] = agent.veto }
    guard current != before else { return }
    vetoes[site] = current.isEmpty ? nil : current
    let off = current.keys.filter { current[$0] != before[$0] }.sorted()
    let on = before.keys.filter { current[$0] == nil }.sorted()
    for (operation, names) in [("switchOff", off), ("switchOn", on)] where !names.isEmpty {
      var event = AuditEvent(.veto)
      event.site = site
      event.agents = names
      event.operation = operation
      let said = Set(names.compactMap { current[$0] }).sorted().joined(separator: "; ")
      if !said.isEmpty { event.reason = said }
      audit(event)
      logger.notice(
        "switched on site",
        metadata: [
          "site": "\(site)", "operation": "\(operation)", "agents": "\(names.joined(separator: " "))",
          "reason": "\(said)",
        ])
    }
    let changed = Set(off + on)
    for id in sessions.ids(where: { $0.site == site }) {
      guard let session = sessions[id] else { continue }
      let names = session.agents.filter(changed.contains)
      guard !names.isEmpty else { continue }
      let states = names.map { name in
        let state = agents.first { $0.name == name }?.state
        return (name, AgentStates.Condition(state: state, veto: current[name]))
      }
      send(.agentStates(AgentStates(id: id, agents: Dictionary(states) { first, _ in first })), to: session.owner)
    }
  }

  // MARK: Audit

  func auditEvent(opening session: GateSession, address: String) -> AuditEvent {
    var event = auditEvent(.connect, session)
    event.address = address
    event.reason = session.reason
    event.rules = session.rules
    event.key = "\(session.clientKey)"
    return event
  }

  func auditEvent(ending session: GateSession, reason: String) -> AuditEvent {
    var event = auditEvent(.disconnect, session)
    event.reason = reason
    event.bytesFromLink = session.meter?.bytes(from: .first)
    event.bytesFromSite = session.meter?.bytes(from: .second)
    event.milliseconds = (now - session.began).milliseconds
    return event
  }

  func auditEvent(_ report: SiteReport, of site: String, _ session: GateSession?) -> AuditEvent {
    var event = AuditEvent(.siteReport, account: session?.user)
    event.pc = session?.pc
    event.site = site
    event.agents = [report.agent.escaped]
    event.session = "\(report.session)"
    event.operation = report.what.escaped
    event.reason = report.detail.escaped
    // It may have waited for a connection.
    let age = Clock.unixSeconds.subtractingReportingOverflow(report.time)
    if age.overflow || age.partialValue.magnitude > 60 {
      event.reason = "at \(Timestamp.text(unixSeconds: report.time)) by the site's clock: \(report.detail.escaped)"
    }
    event.count = report.packets.flatMap { Int64(exactly: $0) }
    event.bytesFromSite = report.bytes
    return event
  }

  private func auditEvent(_ kind: AuditEvent.Kind, _ session: GateSession) -> AuditEvent {
    var event = AuditEvent(kind, account: session.user)
    event.pc = session.pc
    event.site = session.site
    event.agents = session.agents
    event.session = "\(session.id)"
    return event
  }
}

/// Why somebody may not connect: for counters, for their LinkManager, and for people.
struct ConnectRefusal: Error {
  let reason: Refusal
  let code: FailureCode
  let message: String

  init(_ reason: Refusal, _ code: FailureCode, _ message: String) {
    self.reason = reason
    self.code = code
    self.message = message
  }

  init(_ denial: AccessDenial) {
    message = "\(denial)"
    switch denial {
    case .siteUnknown: (reason, code) = (.unknownSite, .unknownSite)
    case .agentUnknown: (reason, code) = (.unknownAgent, .notPermitted)
    case .switchedOff: (reason, code) = (.switchedOff, .notPermitted)
    case .reasonRequired: (reason, code) = (.reasonMissing, .notPermitted)
    default: (reason, code) = (.notAllowed, .notPermitted)
    }
  }
}
