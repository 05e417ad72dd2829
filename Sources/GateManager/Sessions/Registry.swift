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
    /// Passed on as they are to whoever connects to it.
    var features: SiteFeatures?
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
  mutating func announce(
    _ agents: [AgentDescription], _ features: SiteFeatures? = nil, by name: String, on connection: SlotID
  ) {
    guard sites[name]?.connection == connection else { return }
    sites[name]?.agents = agents
    sites[name]?.features = features
  }

  /// A connection is gone. A site that has a newer one stays.
  /// - Returns: whether nobody speaks for the user or site on it any more.
  mutating func remove(_ connection: SlotID, _ identity: PeerIdentity) -> Bool {
    guard case .site(let name) = identity else { return users.removeValue(forKey: connection) != nil }
    guard sites[name]?.connection == connection else { return false }
    sites[name] = nil
    return true
  }

  /// Those of some sites that are enrolled, by name. Its time depends on how many these are.
  func summaries(_ membership: Membership, of chosen: some Sequence<String>) -> [ControlMessage.SiteSummary] {
    chosen.sorted().compactMap { name in
      guard let key = membership.siteKeys[name] else { return nil }
      let site = sites[name]
      return ControlMessage.SiteSummary(name: name, online: site != nil, keyHash: key, agents: site?.agents ?? [])
    }
  }
}
