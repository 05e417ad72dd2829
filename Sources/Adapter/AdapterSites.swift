import Control
import Framing
import Primitives
import Proxy

/// Sessions as they come, end in order, and break.
extension AdapterCore {
  /// Takes in a session that is ready for records. A site's new session replaces its old one.
  ///
  /// - Parameters:
  ///   - surplus: bytes that came with the handshake's last message.
  ///   - session: what it is called on all three parts, for reports of flows.
  ///   - connection: the owner's own name for the session's connection; comes back with no search.
  /// - Throws: `AdapterError.tooManySites`, or `.session` when it can't be used.
  package mutating func attach(
    site name: String, session id: SessionID? = nil, agents: [AgentDescription], secrets: RecordSecrets,
    surplus: [UInt8], connection: SlotID, now: Instant
  ) throws(AdapterError) -> SlotID {
    guard hasRoom(for: name) else { throw .tooManySites(configuration.sessions) }
    if let old = siteIDs[name] { endSite(old, .local("a new session replaces this one"), now: now) }
    var peer: BufferedSession
    do throws(SessionError) {
      peer = BufferedSession(try Session(role: .link, secrets: secrets, limits: configuration.session, now: now))
    } catch {
      throw .session("\(error)")
    }
    do throws(SessionEnd) {
      try peer.receive(surplus: surplus, pool: &pool, now: now)
    } catch {
      peer.close(pool: &pool)
      throw .session("\(error)")
    }
    let key = sites.insert(
      AttachedSite(name: name, peer: peer, connection: connection, since: now, session: id))
    siteList = sites.ids
    siteIDs[name] = key
    table.add(site: name, agents: agents)
    return key
  }

  /// Whether a site may be attached: one that is attached already has its place.
  func hasRoom(for name: String) -> Bool { siteIDs[name] != nil || sites.count < configuration.sessions }

  /// Acts on what a site's session has to tell, after bytes were received for it.
  package mutating func takeEvents(of site: SlotID, now: Instant) {
    takeSessionEvents(site, now: now)
  }

  /// Acts on what sealing has brought about. To be called after each `BufferedSession.seal`, before anything else:
  /// sending the last FIN ends streams, whose slots are taken again otherwise.
  package mutating func sealed(_ site: SlotID, now: Instant) {
    takeSessionEvents(site, now: now)
    if sites.contains(site), sites[site].peer.session.isFinished {
      endSite(site, .finished(sites[site].peer.session.peerGoodbye), now: now)
    }
  }

  /// Time that a site has to answer a goodbye, so that nothing of it is lost to a reset.
  private static var goodbyeTime: Interval { .seconds(2) }

  /// Ends a session in order: its flows are cut now, its connection goes once the peer has ended as well.
  package mutating func leaveSite(named name: String, _ reason: String, now: Instant) {
    guard let id = siteIDs[name], sites.contains(id), sites[id].endDeadline == nil else { return }
    sites[id].peer.session.end(reason)
    sites[id].endDeadline = now + Self.goodbyeTime
    sites[id].leaving = reason
    release(id, now: now)
  }

  /// Ends a session whose connection is of no use any more.
  package mutating func endSite(_ id: SlotID, _ end: SessionEnd, now: Instant) {
    guard sites.contains(id) else { return }
    release(id, now: now)
    var last = SessionStatus()
    sites[id].peer.describe(into: &last)
    totals.add(last)
    guard var site = sites.remove(id) else { return }
    siteList = sites.ids
    site.peer.close(pool: &pool)
    events.append(.ended(connection: site.connection, site.leaving.map { .local($0) } ?? end))
  }

  /// Cuts a site's flows and takes its agents out of reach.
  private mutating func release(_ id: SlotID, now: Instant) {
    for binding in bindings.ids where bindings[binding].site == id {
      cut(binding, .internalError, .sessionEnded, now: now)
    }
    // A newer session may have the name by now.
    let name = sites[id].name
    guard siteIDs[name] == id else { return }
    siteIDs[name] = nil
    table.remove(site: name)
  }
}
