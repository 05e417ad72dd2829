import Access
import Control
import Crypto
import Primitives
import Proxy

/// One session: a user's PC, a site, and how far they are on their way to each other.
struct GateSession: Sendable {
  enum Stage: Sendable, Equatable { case meeting, relayed }

  let id: SessionID
  let user, pc, site: String
  /// The LinkManager's control connection, which it lives and dies with.
  let owner: SlotID
  let clientKey, siteKey: KeyHash
  let agents: [String]
  /// The agents as the site announced them, for when the rules change.
  let descriptions: [AgentDescription]
  /// The ports by agent, of those that were granted with fewer than the site has.
  var ports: [String: PortLimits] = [:]
  /// Whether the site understands such grants.
  var understandsLimits = false
  let reason: String?
  /// Seconds since 1970.
  let created: Int64
  var notAfter: Int64
  /// When it was asked for and when the grant is over, on a clock that nobody sets.
  var began = Instant.zero
  var expires: Instant
  /// Why it ends then, if that isn't because a session may last only so long.
  var limit: String?
  /// The rules that allow it.
  var rules: [AccessRule.ID]
  /// Until when both ends have to be there.
  var deadline: Instant?
  var stage = Stage.meeting
  /// The data connections that are there.
  var link, siteEnd: SlotID?
  var meter: RelayMeter?
  var rateFromLink = Throughput()
  var rateFromSite = Throughput()

  subscript(role: Role) -> SlotID? {
    get { role == .linkManager ? link : siteEnd }
    set {
      if role == .linkManager { link = newValue } else { siteEnd = newValue }
    }
  }

  var ends: [SlotID] { [link, siteEnd].compactMap { $0 } }

  /// Why it has ended, when an end or the relay says so. The site counts the session's time, too, and may be a little
  /// earlier: what has ended it then is the rule or the account all the same.
  func story(_ end: String, now: Instant) -> String {
    guard let limit, now + .seconds(1) >= expires else { return end }
    return "\(limit) (\(end))"
  }
}

/// When a session has to end, on both clocks.
struct SessionLimit {
  /// Seconds since 1970.
  let notAfter: Int64
  let expires: Instant
  let reason: String?

  /// - Parameters:
  ///   - longest: seconds that a session may last from `created` on.
  ///   - until: when the rules or the account end it, if they do; seconds since 1970.
  ///   - reason: why that is.
  init(created: Int64, began: Instant, longest: Int64, until: Int64?, reason: String) {
    if let until, until < created + longest {
      notAfter = until
      self.reason = reason
    } else {
      notAfter = created + longest
      self.reason = nil
    }
    expires = began + .seconds(max(0, notAfter - created))
  }
}

extension Authorisation {
  /// What is to be said when its time is over.
  func ending(of account: String) -> String {
    if endsWithAccount { return "account \(account) has ended" }
    return "the time of \(rules.count == 1 ? "rule" : "rules") \(rules.map { "\($0)" }.joined(separator: ", ")) is over"
  }
}

/// All sessions under way.
struct SessionTable {
  private(set) var all: [SessionID: GateSession] = [:]
  private var counts: [String: Int] = [:]

  var count: Int { all.count }

  func count(of user: String) -> Int { counts[user] ?? 0 }

  subscript(id: SessionID) -> GateSession? { all[id] }

  /// False when there are too many.
  mutating func insert(_ session: GateSession) -> Bool {
    guard all.count < GateLimits.sessions, count(of: session.user) < GateLimits.sessionsPerUser,
      all[session.id] == nil
    else { return false }
    all[session.id] = session
    counts[session.user, default: 0] += 1
    return true
  }

  /// An end has come. Gives both once the second one has; `nil` for a session or an end that is unknown or taken.
  mutating func attach(_ connection: SlotID, as role: Role, to id: SessionID) -> [SlotID]? {
    guard var session = all[id], session.stage == .meeting, session[role] == nil else { return nil }
    session[role] = connection
    all[id] = session
    return session.ends
  }

  /// The rules have changed: it goes on until another time.
  mutating func limit(_ id: SessionID, to limit: SessionLimit, rules: [AccessRule.ID]) {
    all[id]?.notAfter = limit.notAfter
    all[id]?.expires = limit.expires
    all[id]?.limit = limit.reason
    all[id]?.rules = rules
  }

  mutating func relayed(_ id: SessionID, _ meter: RelayMeter) {
    all[id]?.stage = .relayed
    all[id]?.deadline = nil
    all[id]?.meter = meter
  }

  /// Measures how fast the relays are; to be called about twice a second.
  mutating func sampleRates(now: Instant) {
    for index in all.values.indices {
      guard let meter = all.values[index].meter else { continue }
      all.values[index].rateFromLink.sample(meter.bytes(from: .first), now: now)
      all.values[index].rateFromSite.sample(meter.bytes(from: .second), now: now)
    }
  }

  mutating func remove(_ id: SessionID) -> GateSession? {
    guard let session = all.removeValue(forKey: id) else { return nil }
    let left = (counts[session.user] ?? 1) - 1
    counts[session.user] = left > 0 ? left : nil
    return session
  }

  /// Those that nobody came for in time, and those whose grant is over.
  func overdue(now: Instant) -> [(id: SessionID, isExpired: Bool)] {
    all.values.compactMap { session in
      if now > session.expires { return (session.id, true) }
      if let deadline = session.deadline, now >= deadline { return (session.id, false) }
      return nil
    }
  }

  func ids(where matches: (GateSession) -> Bool) -> [SessionID] {
    all.values.filter(matches).map(\.id)
  }
}
