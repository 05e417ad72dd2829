import Control
import Primitives
import Proxy
import Service

/// What `gatemanager status --json` prints. Times are in seconds since 1970, rates in bytes a second.
struct StatusReport: Codable, Sendable {
  struct Site: Codable, Sendable {
    var name: String
    var online: Bool
    /// Present while it is online.
    var since: Int64?
    var address: String?
    var key: String
    /// By name.
    var agents: [String]
    /// How often its connection was lost since the service started, and the latest of these.
    var reconnects: UInt64
    var outages: [OutageReport]
  }

  struct User: Codable, Sendable {
    var name, pc, address: String
    var since: Int64
    var sessions: Int
  }

  struct Session: Codable, Sendable {
    /// `stage` is `meeting` or `relayed`.
    var id, user, pc, site, stage: String
    var agents: [String]
    var reason: String?
    var since, until: Int64
    /// Of ciphertext: from the LinkManager, and from the SiteManager.
    var bytesFromLink, bytesFromSite, rateFromLink, rateFromSite, splices: UInt64
  }

  struct Relay: Codable, Sendable {
    var threads, active: Int
    var started, bytes, splices: UInt64
    /// Pipes that hold bytes or are about to, and empty ones that are kept.
    var pipesLent, pipesKept: Int
  }

  /// Connections to the open port before their switch to raw, by what they are.
  struct Connections: Codable, Sendable {
    /// `handshaking`: neither their key nor their purpose is known yet. `anonymous`: without a registered key.
    var handshaking = 0
    var anonymous = 0
    var sites = 0
    var users = 0
    var data = 0
    var limit = GateLimits.connections

    var total: Int { handshaking + anonymous + sites + users + data }
  }

  var gate, listen: String
  var since, now: Int64
  var key: String
  /// What is wrong, for people.
  var problems: [String] = []
  var connections: Connections
  var sites: [Site]
  var users: [User]
  var sessions: [Session]
  var sessionLimit = GateLimits.sessions
  var relay: Relay
  /// Since the start.
  var totals: FrontTotals
  /// By reason.
  var refusals: [String: UInt64]
  /// Tickets that are out, logins and enrolments that wait, names and addresses that are slowed down.
  var tickets, pendingRequests, throttled: Int
  /// Records that can't be read.
  var storeProblems: [String]
  var process: ProcessReport?

  /// Fills in what is wrong, and what the process costs.
  func completed() -> StatusReport {
    var report = self
    report.process = ProcessReport.current
    var found = storeProblems.map { "a record can't be read: \($0)" }
    let lost = sites.filter { !$0.online && !$0.outages.isEmpty }
    for site in lost.prefix(10) {
      found.append("site \(site.name) is offline: \(site.outages.last?.cause ?? "")")
    }
    if lost.count > 10 { found.append("\(lost.count - 10) more sites are offline that were online") }
    let open =
      connections.handshaking + connections.anonymous + connections.sites + connections.users + connections.data
    if open * 10 >= connections.limit * 9 { found.append("\(open) of \(connections.limit) connections are in use") }
    if sessions.count * 10 >= sessionLimit * 9 {
      found.append("\(sessions.count) of \(sessionLimit) sessions are in use")
    }
    report.problems = found + (report.process?.problems ?? [])
    return report
  }
}

/// What the front has done since it started.
struct FrontTotals: Codable, Sendable {
  var connectionsAccepted: UInt64 = 0
  var handshakes: UInt64 = 0
  var sessionsOpened: UInt64 = 0
  var sessionsRelayed: UInt64 = 0
  /// By reason: those of `Refusal`, of the relay, or of the end that left.
  var sessionsEnded: [String: UInt64] = [:]
}

extension StatusReport: CustomStringConvertible {
  /// Rows of a table that a person is shown; JSON has all.
  private static let rowLimit = 50

  /// For people: what is wrong comes first.
  var description: String {
    var parts = ["\(gate) listens on \(listen), up for \(Quantity.age(seconds: now - since))\nkey \(key)"]
    if !problems.isEmpty { parts.append(problems.map { "! \($0.escaped)" }.joined(separator: "\n")) }
    parts.append(sitesText)
    parts.append(usersText)
    parts.append(sessionsText)
    parts.append(
      "connections: \(connections.handshaking) in their handshake, \(connections.anonymous) anonymous, "
        + "\(connections.sites) sites, \(connections.users) users, \(connections.data) data; "
        + "\(totals.connectionsAccepted) accepted, \(totals.handshakes) handshakes\n"
        + "relay: \(relay.active) relays on \(relay.threads) threads, \(relay.started) since start, "
        + "\(Quantity.bytes(relay.bytes)) in \(relay.splices) splices; "
        + "pipes: \(relay.pipesLent) lent, \(relay.pipesKept) kept")
    if !totals.sessionsEnded.isEmpty { parts.append("sessions ended: " + Self.list(totals.sessionsEnded)) }
    if !refusals.isEmpty { parts.append("refused: " + Self.list(refusals)) }
    if let process { parts.append(process.text) }
    return parts.joined(separator: "\n\n")
  }

  private static func list(_ counts: [String: UInt64]) -> String {
    counts.sorted { $0.key < $1.key }.map { "\($0.key) \($0.value)" }.joined(separator: ", ")
  }

  private static func more(_ count: Int) -> String {
    count > rowLimit ? "\n… and \(count - rowLimit) more: --json shows all" : ""
  }

  private var sitesText: String {
    guard !sites.isEmpty else { return "no site is enrolled: `gatemanager site add NAME`" }
    var table = Table("SITE", "STATE", "SINCE", "ADDRESS", "LOST", "AGENTS")
    // Those that aren't there come first.
    for site in (sites.filter { !$0.online } + sites.filter(\.online)).prefix(Self.rowLimit) {
      let since = site.online ? site.since : site.outages.last?.since
      table.append(
        site.name, site.online ? "online" : "offline", since.map { Quantity.age(seconds: now - $0) } ?? "",
        site.address ?? "", "\(site.reconnects)", site.agents.joined(separator: " "))
    }
    return "sites: \(sites.count { $0.online }) of \(sites.count) online\n\(table)\(Self.more(sites.count))"
  }

  private var usersText: String {
    guard !users.isEmpty else { return "no user is connected" }
    var table = Table("USER", "PC", "SINCE", "ADDRESS", "SESSIONS")
    for user in users.prefix(Self.rowLimit) {
      table.append(user.name, user.pc, Quantity.age(seconds: now - user.since), user.address, "\(user.sessions)")
    }
    return "\(table)\(Self.more(users.count))"
  }

  private var sessionsText: String {
    guard !sessions.isEmpty else { return "no session" }
    var table = Table(
      "SESSION", "USER", "PC", "SITE", "STATE", "SINCE", "FROM LINK", "RATE", "FROM SITE", "RATE", "REASON")
    for session in sessions.prefix(Self.rowLimit) {
      table.append(
        String(session.id.prefix(8)), session.user, session.pc, session.site, session.stage,
        Quantity.age(seconds: now - session.since), Quantity.bytes(session.bytesFromLink),
        Quantity.rate(bytes: session.rateFromLink, in: .seconds(1)), Quantity.bytes(session.bytesFromSite),
        Quantity.rate(bytes: session.rateFromSite, in: .seconds(1)), session.reason ?? "")
    }
    return "\(table)\(Self.more(sessions.count))"
  }
}
