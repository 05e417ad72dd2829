import Access
import Control
import Crypto
import Kernel
import Logging
import Primitives
import Proxy
import Service

/// Sessions: from the wish to connect, over the meeting of two data connections, to the relay and its end.
extension Front {
  func connect(
    _ body: ControlMessage.Connect, _ request: UInt64?, _ id: SlotID, _ connection: Connection
  ) {
    guard case .user(let user, let pc) = connection.identity, let clientKey = connection.keyHash else { return }
    let purpose = body.reason?.prefix(bytes: GateLimits.reasonBytes)
    func refuse(_ reason: Refusal, _ code: FailureCode, _ message: String) {
      count(reason)
      logger.warning(
        "connect refused", metadata: ["user": "\(user)", "site": "\(body.site)", "reason": "\(reason.text)"])
      var event = AuditEvent(.refusal, account: user)
      event.operation = AuditEvent.Kind.connect.rawValue
      event.pc = pc
      event.address = connection.address
      event.site = body.site
      event.agents = body.agents
      event.reason = message
      audit(event)
      enqueue(ControlPeer.failure(code, message, request), id)
    }
    let allowed: Authorisation
    do throws(ConnectRefusal) {
      allowed = try authorise(user, body, purpose)
    } catch {
      return refuse(error.reason, error.code, error.message)
    }
    guard let site = registry.sites[body.site], let siteKey = membership.siteKeys[body.site] else { return }
    let agents = allowed.agents.map(\.description)
    guard sessions.count(of: user) < GateLimits.sessionsPerUser, sessions.count < GateLimits.sessions else {
      return refuse(.tooManySessions, .busy, "you have too many sessions: end one first")
    }
    let created = Clock.unixSeconds
    let limit = SessionLimit(
      created: created, began: now, longest: Int64(options.grantHours) * 3600, until: allowed.until,
      reason: allowed.ending(of: user))
    let names = Set(agents.map(\.name))
    do {
      var session = GateSession(
        id: try SessionID.random(), user: user, pc: pc, site: body.site, owner: id, clientKey: clientKey,
        siteKey: siteKey, agents: agents.map(\.name),
        descriptions: site.agents?.filter { names.contains($0.name) } ?? agents, reason: purpose, created: created,
        notAfter: limit.notAfter, began: now, expires: limit.expires, limit: limit.reason, rules: allowed.rules,
        deadline: now + GateLimits.meetingTime)
      session.ports = allowed.limits
      session.understandsLimits = site.features?.contains(SiteFeatures.grantedPorts) ?? false
      // The agents by name, so that one that the site adds later isn't granted unseen.
      let grant = try Grant(
        session: session.id, gate: keys.gate, site: body.site, siteKey: siteKey, user: user, pc: pc,
        clientKey: clientKey, agents: .named(session.agents), ports: session.ports, notBefore: session.created,
        notAfter: session.notAfter, reason: session.reason
      ).signed(with: keys.grantKey)
      let linkTicket = try tickets.issue(.linkManager, session: session.id, keyHash: clientKey, now: now)
      let siteTicket = try tickets.issue(.siteManager, session: session.id, keyHash: siteKey, now: now)
      let answer = ControlEnvelope(
        .session(
          .init(
            id: session.id, ticket: linkTicket, grant: grant, siteKey: siteKey, agents: agents,
            features: site.features)),
        request: request)
      guard (try? answer.encoded()) != nil else {
        tickets.revoke(session.id)
        return refuse(.notAllowed, .notPermitted, "a grant has no room for so many agents and ports: name an agent")
      }
      guard sessions.insert(session) else {
        tickets.revoke(session.id)
        return refuse(.tooManySessions, .busy, "too many sessions")
      }
      totals.sessionsOpened &+= 1
      logger.notice("session opened", metadata: metadata(opening: session, address: connection.address))
      audit(auditEvent(opening: session, address: connection.address))
      send(
        .dial(.init(id: session.id, ticket: siteTicket, grant: grant, serverTime: created)), to: site.connection)
      enqueue(answer, id)
    } catch {
      logger.error("a session can't be made", metadata: ["user": "\(user)", "error": "\(error)"])
      refuse(.busy, .internalError, "the GateManager can't make a session now")
    }
  }

  // MARK: Data connections

  func perform(_ action: DataPeer.Action, _ id: SlotID, _ connection: Connection) {
    switch action {
    case .redeem(let ticket): redeem(ticket, id, connection)
    case .leave: break
    case .raw: becomeRaw(id, connection)
    case .close(let reason):
      if reason == .noPeer {
        enqueue(ControlPeer.failure(.siteOffline, "the other end didn't come", nil), id)
      }
      count(reason)
      tell("data connection ended", reason, "", connection)
      guard reason == .noPeer else { return close(id, reason) }
      closeSoon(id, reason)
      flush(id)
    }
  }

  private func redeem(_ ticket: Ticket, _ id: SlotID, _ connection: Connection) {
    let session: SessionID
    let (role, ends): (Role, [SlotID])
    do throws(TicketRefusal) {
      (session, role, ends) = try check(ticket, id, connection)
    } catch {
      return refuse(id, .badTicket, .notPermitted, error.reason)
    }
    connection.session = session
    if case .data(var peer) = connection.kind {
      peer.redeemed(now: now)
      connection.kind = .data(peer)
    }
    logger.info(
      "end arrived",
      metadata: ["session": "\(session)", "role": "\(role.rawValue)", "address": "\(connection.address)"])
    guard ends.count == 2 else { return }
    for end in ends where connections.contains(end) { meet(end, connections[end]) }
  }

  /// Spends a ticket, whatever comes of it.
  private func check(
    _ ticket: Ticket, _ id: SlotID, _ connection: Connection
  ) throws(TicketRefusal) -> (SessionID, Role, ends: [SlotID]) {
    guard let key = connection.keyHash, let role = membership.identities[key]?.role else {
      throw TicketRefusal(reason: "the key isn't registered here: enrol the site, or log in, again")
    }
    guard connection.decoder.buffered == 0 else { throw TicketRefusal(reason: "more bytes came behind the ticket") }
    let session: SessionID
    do throws(TicketError) {
      session = try tickets.redeem(ticket, as: role, keyHash: key, now: now)
    } catch {
      throw TicketRefusal(reason: "\(error)")
    }
    guard let ends = sessions.attach(id, as: role, to: session) else {
      throw TicketRefusal(reason: "the ticket's session is over, or has this end already")
    }
    return (session, role, ends)
  }

  /// Says `attached` and close_notify; what follows from this end is raw.
  private func meet(_ id: SlotID, _ connection: Connection) {
    guard case .data(var peer) = connection.kind else { return }
    let action = peer.meet(now: now)
    connection.kind = .data(peer)
    guard action == .leave else { return perform(action, id, connection) }
    enqueue(ControlEnvelope(.attached), id)
    connection.wantsCloseNotify = true
    flush(id)
  }

  /// One end has left TLS. Its socket isn't read from until the other end has, too.
  private func becomeRaw(_ id: SlotID, _ connection: Connection) {
    try? poller.remove(connection.rawSocket)
    guard let session = connection.session.flatMap({ sessions[$0] }), let link = session.link,
      let site = session.siteEnd, connections.contains(link), connections.contains(site)
    else { return close(id, .switchFailed) }
    let (first, second) = (connections[link], connections[site])
    guard case .data(let one) = first.kind, case .data(let other) = second.kind, one.isRaw, other.isRaw else { return }
    guard let firstSocket = first.socket.take() else { return }
    guard let secondSocket = second.socket.take() else { return }
    for (id, connection) in [(link, first), (site, second)] {
      leaveStrangers(connection, hasGone: true)
      connections.remove(id)
    }
    guard let meter = relay.add(session.id, first: firstSocket, second: secondSocket) else {
      return endSession(session.id, .stopping)
    }
    sessions.relayed(session.id, meter)
    totals.sessionsRelayed &+= 1
    durations?.meeting.record(now - session.began)
    var story = metadata(session)
    story["meetingMilliseconds"] = "\((now - session.began).milliseconds)"
    logger.notice("session relayed", metadata: story)
  }

  /// A data connection ended before its switch.
  func dataConnectionEnded(_ id: SessionID, _ reason: Refusal) {
    guard let session = sessions[id], session.stage == .meeting else { return }
    endSession(id, reason)
  }

  // MARK: Ends

  /// Cuts a session and tells both control connections.
  /// - Parameter story: why, in other words than the reason's own.
  func endSession(_ id: SessionID, _ reason: Refusal, _ story: String? = nil) {
    let story = story ?? reason.text
    guard let session = forget(id, story) else { return }
    totals.sessionsEnded[reason.rawValue, default: 0] &+= 1
    logger.notice("session ended", metadata: metadata(session, reason: story))
    audit(auditEvent(ending: session, reason: story))
    if session.stage == .relayed { relay.cancel(id) }
    let ending = ControlMessage.Ending(id: id, reason: story)
    tell(session, .revoke(ending))
  }

  func relayEnded(_ id: SessionID, _ end: RelayEnd) {
    guard let session = forget(id, end.story) else { return }
    totals.sessionsEnded[end.label, default: 0] &+= 1
    let story = session.story(end.story, now: now)
    logger.notice("session ended", metadata: metadata(session, reason: story))
    audit(auditEvent(ending: session, reason: story))
    tell(session, .sessionEnded(ControlMessage.Ending(id: id, reason: end.story)))
  }

  /// An end says that it won't come, or has left.
  func cancel(_ ending: ControlMessage.Ending, _ id: SlotID, _ connection: Connection) {
    guard let session = sessions[ending.id], let identity = connection.identity else { return }
    switch identity {
    // By the key, not the connection: it may be said again by the one that follows a lost one.
    case .user: guard session.clientKey == connection.keyHash else { return }
    case .site(let name): guard session.site == name else { return }
    }
    let reason = ending.reason.escaped.prefix(bytes: GateLimits.reasonBytes)
    let story = session.story("\(identity.name): \(reason)", now: now)
    guard forget(ending.id, reason) != nil else { return }
    totals.sessionsEnded[identity.role == .siteManager ? "leftBySite" : "leftByUser", default: 0] &+= 1
    logger.notice("session ended", metadata: metadata(session, reason: story))
    audit(auditEvent(ending: session, reason: story))
    if session.stage == .relayed { relay.cancel(ending.id) }
    tell(session, .sessionEnded(ControlMessage.Ending(id: ending.id, reason: reason)))
  }

  func endOverdueSessions() {
    for (id, isExpired) in sessions.overdue(now: now) {
      if isExpired, let limit = sessions[id]?.limit {
        endSession(id, .accessEnded, limit)
      } else {
        endSession(id, isExpired ? .sessionEnded : .noPeer)
      }
    }
  }

  /// Takes a session out, with its tickets and the data connections that wait for it.
  private func forget(_ id: SessionID, _ reason: String) -> GateSession? {
    guard let session = sessions.remove(id) else { return nil }
    tickets.revoke(id)
    for end in session.ends where connections.contains(end) && connections[end].session == id {
      let connection = connections[end]
      connection.session = nil
      guard !connection.isClosing else { continue }
      // Behind a close_notify nothing may be said any more.
      guard !connection.wantsCloseNotify else {
        close(end, .sessionEnded)
        continue
      }
      enqueue(ControlPeer.failure(.siteOffline, "the session ended: \(reason)", nil), end)
      closeSoon(end, .sessionEnded)
      flush(end)
    }
    return session
  }

  private func tell(_ session: GateSession, _ message: ControlMessage) {
    send(message, to: session.owner)
    if let site = registry.sites[session.site], site.key == session.siteKey { send(message, to: site.connection) }
  }
}

/// Why a ticket isn't good, for people.
private struct TicketRefusal: Error {
  let reason: String
}
