import Control
import Primitives
import Proxy
import Service

/// What `gatemanager status --json` prints.
struct StatusReport: Codable, Sendable {
  struct Site: Codable, Sendable {
    var name: String
    var online: Bool
    /// Present while it is online. Seconds since 1970.
    var since: Int64?
    var address: String?
    var key: String
    var agents: [AgentDescription]
  }

  struct User: Codable, Sendable {
    var name, pc, address: String
    /// Seconds since 1970.
    var since: Int64
    var sessions: Int
  }

  struct Session: Codable, Sendable {
    var id, user, pc, site, stage: String
    var agents: [String]
    var reason: String?
    /// Seconds since 1970.
    var since, until: Int64
    /// Of ciphertext: from the LinkManager, and from the SiteManager.
    var bytesFromLink, bytesFromSite, splices: UInt64
  }

  struct Relay: Codable, Sendable {
    var threads, active: Int
    var started, bytes, splices: UInt64
  }

  var gate, listen: String
  /// Seconds since 1970.
  var since, now: Int64
  var key: String
  var connections: Int
  var sites: [Site]
  var users: [User]
  var sessions: [Session]
  var relay: Relay
  /// By reason.
  var refusals: [String: UInt64]

  /// For people.
  var text: String {
    var parts = ["\(gate) listens on \(listen), up for \(Quantity.age(seconds: now - since))", "key \(key)"]
    var table = Table("SITE", "STATE", "SINCE", "ADDRESS", "AGENTS")
    for site in sites {
      table.append(
        site.name, site.online ? "online" : "offline", site.since.map { Quantity.age(seconds: now - $0) } ?? "",
        site.address ?? "", site.agents.map(\.name).joined(separator: " "))
    }
    parts.append(table.isEmpty ? "no site is enrolled: `gatemanager site add NAME`" : "\(table)")
    var people = Table("USER", "PC", "SINCE", "ADDRESS", "SESSIONS")
    for user in users {
      people.append(user.name, user.pc, Quantity.age(seconds: now - user.since), user.address, "\(user.sessions)")
    }
    parts.append(people.isEmpty ? "no user is connected" : "\(people)")
    var running = Table("SESSION", "USER", "SITE", "STATE", "SINCE", "FROM LINK", "FROM SITE")
    for session in sessions {
      running.append(
        String(session.id.prefix(8)), session.user, session.site, session.stage,
        Quantity.age(seconds: now - session.since), Quantity.bytes(session.bytesFromLink),
        Quantity.bytes(session.bytesFromSite))
    }
    parts.append(running.isEmpty ? "no session" : "\(running)")
    parts.append(
      "relay: \(relay.threads) threads, \(relay.active) relays, \(relay.started) since start, "
        + "\(Quantity.bytes(relay.bytes)) in \(relay.splices) splices")
    if !refusals.isEmpty {
      parts.append(
        "refused: " + refusals.sorted { $0.key < $1.key }.map { "\($0.key) \($0.value)" }.joined(separator: ", "))
    }
    return parts.joined(separator: "\n\n")
  }
}
