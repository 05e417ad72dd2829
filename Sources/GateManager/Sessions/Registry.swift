import Control
import Crypto
import Primitives

/// Who is connected now.
struct Registry {
  struct OnlineSite {
    let connection: SlotID
    let key: KeyHash
    let address: String
    /// Seconds since 1970.
    let since: Int64
    /// `nil` until the site has announced any.
    var agents: [AgentDescription]?
  }

  struct OnlineUser {
    let name, pc, address: String
    let key: KeyHash
    /// Seconds since 1970.
    let since: Int64
  }

  private(set) var sites: [String: OnlineSite] = [:]
  private(set) var users: [SlotID: OnlineUser] = [:]

  /// A site came. Gives the connection that it had before, which is to be closed.
  mutating func add(_ site: OnlineSite, name: String) -> SlotID? {
    sites.updateValue(site, forKey: name).map(\.connection)
  }

  mutating func add(_ user: OnlineUser, on connection: SlotID) {
    users[connection] = user
  }

  /// Keeps what a site says about its agents, unless a newer connection speaks for it.
  mutating func announce(_ agents: [AgentDescription], by name: String, on connection: SlotID) {
    guard sites[name]?.connection == connection else { return }
    sites[name]?.agents = agents
  }

  /// A connection is gone. A site that has a newer one stays.
  mutating func remove(_ connection: SlotID, _ identity: PeerIdentity) {
    users[connection] = nil
    if case .site(let name) = identity, sites[name]?.connection == connection { sites[name] = nil }
  }

  enum Choice: Equatable {
    case agents([AgentDescription])
    case refused(Refusal, FailureCode, String)
  }

  /// Which agents of a site a user gets. All users may reach all sites.
  /// - Parameter wanted: `nil` for all.
  func choose(_ name: String, _ wanted: [String]?, membership: Membership) -> Choice {
    guard membership.siteKeys[name] != nil else {
      return .refused(.unknownSite, .unknownSite, "there is no site of this name")
    }
    guard let site = sites[name] else {
      return .refused(.siteOffline, .siteOffline, "the site isn't connected to the GateManager now")
    }
    guard let announced = site.agents else {
      return .refused(
        .siteOffline, .siteOffline, "the site has just come and hasn't announced its agents yet: try again")
    }
    guard let wanted else { return .agents(announced) }
    for agent in wanted where !announced.contains(where: { $0.name == agent }) {
      return .refused(.unknownAgent, .notPermitted, "the site has no agent `\(agent.prefix(bytes: 64))`")
    }
    return .agents(announced.filter { wanted.contains($0.name) })
  }

  /// Every enrolled site, for a user to choose from.
  func summaries(_ membership: Membership) -> [ControlMessage.SiteSummary] {
    membership.siteKeys.sorted { $0.key < $1.key }.map { name, key in
      let site = sites[name]
      return ControlMessage.SiteSummary(name: name, online: site != nil, keyHash: key, agents: site?.agents ?? [])
    }
  }
}
