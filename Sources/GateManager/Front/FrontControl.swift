import Access
import Control
import Kernel
import Logging
import Primitives
import Proxy
import Service

/// What control peers ask for.
extension Front {
  func perform(_ actions: [ControlPeer.Action], _ id: SlotID, _ connection: Connection) {
    for action in actions {
      guard connections.contains(id), !connection.isClosing else { return }
      switch action {
      case .send(let envelope): enqueue(envelope, id)
      case .online(let identity): arrived(id, identity, connection)
      case .enroll(let body, let request):
        ask(id, connection, request, keys: ["host:\(connection.host)"]) {
          .enroll(body, address: connection.address, connection: id, request: request)
        }
      case .login(let body, let request):
        let name = body.user.prefix(bytes: 64)
        var keys = ["host:\(connection.host)", "login:\(name)@\(connection.host)"]
        // Whoever knows a password may guess codes from many addresses.
        if body.code != nil { keys.append("\(LoginThrottle.codePrefix)\(name)") }
        ask(id, connection, request, keys: keys) {
          .login(body, address: connection.address, connection: id, request: request)
        }
      case .agents(let agents, let features, _): announced(agents, features, id, connection)
      case .report(let report): reported(report, connection)
      case .list(let request): list(id, request, connection)
      case .explain(let body, let request): explain(body, request, id, connection)
      case .connect(let body, let request): connect(body, request, id, connection)
      case .cancel(let ending): cancel(ending, id, connection)
      case .note(let reason, let detail):
        count(reason)
        tell("message refused", reason, detail, connection)
      case .close(let reason, let detail):
        count(reason)
        tell("control connection refused", reason, detail, connection)
        closeSoon(id, reason)
      }
    }
  }

  // MARK: Enrolment and login

  /// Hands a request to the worker, unless there are too many or the asker has to wait.
  private func ask(
    _ id: SlotID, _ connection: Connection, _ request: UInt64?, keys: [String], _ job: () -> AccessWorker.Job
  ) {
    if let wait = throttle.wait(for: keys, now: now) {
      count(.throttled)
      let seconds = Int(wait.milliseconds / 1000) + 1
      return enqueue(
        ControlPeer.failure(
          .tooManyAttempts, "too many failed tries: wait \(seconds) s", request, retryAfter: seconds), id)
    }
    guard pending.count < GateLimits.pendingRequests, pending[id] == nil else {
      count(.busy)
      return enqueue(ControlPeer.failure(.busy, "too many requests wait: try again", request, retryAfter: 2), id)
    }
    pending[id] = keys
    worker.send(job())
  }

  func take(_ event: AccessWorker.Event) {
    switch event {
    case .storeProblems(let problems): storeProblems = problems
    case .answered(let outcome, let id, let request):
      // The connection may have gone: a failed try counts all the same.
      let keys = pending.removeValue(forKey: id) ?? []
      let address = connections.contains(id) ? connections[id].address : ""
      switch outcome {
      case .granted(let answer, let key, let identity):
        throttle.succeeded(keys)
        logger.notice(
          identity.role == .siteManager ? "site enrolled" : "user logged in",
          metadata: ["name": "\(identity.name)", "key": "\(key)", "address": "\(address)"])
        send(answer, to: id, request: request)
      case .refused(let reason, let failure):
        count(reason)
        switch reason {
        case .badOneTimeCode: throttle.failed(keys, now: now)
        // No code was judged: nobody is kept out who knows the password.
        case .badCredentials, .badCode:
          throttle.failed(keys.filter { !$0.hasPrefix(LoginThrottle.codePrefix) }, now: now)
        default: break
        }
        logger.warning("request refused", metadata: ["reason": "\(reason.text)", "address": "\(address)"])
        send(.failure(failure), to: id, request: request)
      }
    }
  }

  /// Ends what rests on keys that aren't registered any more, and what the rules don't allow any more.
  func replace(_ state: AccessState) {
    let decidesAnew = state.decisions != access.decisions
    access = state
    let new = Membership(state, now: Clock.unixSeconds)
    defer { if decidesAnew { judgeSessionsAnew() } }
    guard new != membership else { return }
    membership = new
    siteOutages = siteOutages.filter { new.siteKeys[$0.key] != nil }
    vetoes = vetoes.filter { new.siteKeys[$0.key] != nil }
    for session in sessions.ids(where: { new.identities[$0.clientKey] == nil || new.siteKeys[$0.site] != $0.siteKey }) {
      endSession(session, .membershipEnded)
    }
    for id in connections.ids where connections.contains(id) {
      let connection = connections[id]
      guard let identity = connection.identity, let key = connection.keyHash else { continue }
      let current = new.identities[key]
      if current?.role != identity.role || current?.name != identity.name { turnAway(id, .membershipEnded) }
    }
  }

  // MARK: Coming and going

  private func arrived(_ id: SlotID, _ identity: PeerIdentity, _ connection: Connection) {
    guard let key = connection.keyHash else { return }
    let unix = Clock.unixSeconds
    switch identity {
    case .site(let name):
      let site = Registry.OnlineSite(connection: id, key: key, address: connection.address, since: unix, agents: nil)
      // The newer connection wins: the older may be one that died without a word.
      if let old = registry.add(site, name: name), old != id {
        siteOutages[name, default: OutageLog()].lost(Refusal.fenced.text, now: now, unixSeconds: unix)
        fence(old)
      }
      siteOutages[name]?.recovered(now: now)
      announced.set(name, nil)
      logger.notice("site online", metadata: ["site": "\(name)", "address": "\(connection.address)"])
    case .user(let name, let pc):
      registry.add(
        Registry.OnlineUser(name: name, pc: pc, address: connection.address, key: key, since: unix), on: id)
      logger.notice(
        "user connected", metadata: ["user": "\(name)", "pc": "\(pc)", "address": "\(connection.address)"])
    }
  }

  /// Closes a site's older connection, and says why: where two hosts run with one site's key, each has to learn what
  /// throws it out again and again.
  private func fence(_ id: SlotID) {
    guard connections.contains(id) else { return }
    count(.fenced)
    tell("control connection refused", .fenced, "", connections[id])
    enqueue(ControlPeer.failure(.other("fenced"), Refusal.fenced.text, nil), id)
    closeSoon(id, .fenced)
    flush(id)
  }

  func left(_ id: SlotID, _ identity: PeerIdentity, _ connection: Connection, _ reason: Refusal) {
    let isAway = registry.remove(id, identity)
    switch identity {
    case .site(let name):
      // The site was called by this connection and may not have heard it: whoever waits at the relay needn't any more.
      // A session whose ends have both come doesn't need it.
      for session in sessions.ids(where: { $0.site == name && $0.stage == .meeting && $0.siteEnd == nil }) {
        endSession(session, .siteOffline)
      }
      // A newer connection speaks for it.
      guard isAway else { return }
      announced.set(name, nil)
      siteOutages[name, default: OutageLog()].lost(reason.text, now: now, unixSeconds: Clock.unixSeconds)
      logger.notice("site offline", metadata: ["site": "\(name)", "reason": "\(reason.text)"])
    case .user(let name, let pc):
      for session in sessions.ids(where: { $0.owner == id }) { endSession(session, .disconnected) }
      logger.notice("user left", metadata: ["user": "\(name)", "pc": "\(pc)", "reason": "\(reason.text)"])
    }
  }

  // MARK: Sites and agents

  /// What a site says of itself is told as its word. A session that isn't there any more may have been its reason.
  private func reported(_ report: SiteReport, _ connection: Connection) {
    guard case .site(let name)? = connection.identity else { return }
    let session = sessions[report.session].flatMap { $0.site == name ? $0 : nil }
    audit(auditEvent(report, of: name, session))
  }

  private func announced(
    _ agents: [AgentDescription], _ features: SiteFeatures?, _ id: SlotID, _ connection: Connection
  ) {
    guard case .site(let name) = connection.identity else { return }
    registry.announce(agents, features, by: name, on: id)
    if registry.sites[name]?.connection == id {
      announced.set(name, SiteAnnouncement(agents, features: features))
      judgeVetoes(of: name, agents)
    }
    judgeSessionsAnew(at: name)
    logger.info("agents announced", metadata: ["site": "\(name)", "count": "\(agents.count)"])
  }

  /// Answers somebody about themselves, as `gatemanager why` does others.
  private func explain(
    _ body: ControlMessage.Explain, _ request: UInt64?, _ id: SlotID, _ connection: Connection
  ) {
    guard case .user(let user, _) = connection.identity else { return }
    let decision = Authorisation.explain(
      access, account: user, site: body.site.prefix(bytes: 64), agent: body.agent.prefix(bytes: 64),
      reason: body.reason, announced: announced[body.site], now: Clock.unixSeconds)
    enqueue(
      ControlEnvelope(
        .explained(.init(isAllowed: decision.isAllowed, text: decision.text.prefix(bytes: ControlProtocol.textLimit))),
        request: request), id)
  }

  /// The sites that some rule lets the user reach at some time.
  private func list(_ id: SlotID, _ request: UInt64?, _ connection: Connection) {
    guard case .user(let user, _) = connection.identity else { return }
    let visible = Authorisation.sites(access, account: user, now: Clock.unixSeconds)
    var summaries = registry.summaries(membership, of: visible)
    var envelope = ControlEnvelope(.sites(summaries), request: request)
    // More than fits a message: then without what is known about the agents.
    if (try? envelope.encoded()) == nil {
      for index in summaries.indices { summaries[index].agents = [] }
      envelope = ControlEnvelope(.sites(summaries), request: request)
    }
    if (try? envelope.encoded()) == nil {
      envelope = ControlPeer.failure(.internalError, "there are too many sites to list", request)
    }
    enqueue(envelope, id)
  }
}
