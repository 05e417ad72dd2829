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

  /// Enrolled sites.
  /// - Parameter chosen: which of them; `nil` for all.
  func summaries(_ membership: Membership, of chosen: Set<String>? = nil) -> [ControlMessage.SiteSummary] {
    membership.siteKeys.filter { chosen?.contains($0.key) ?? true }.sorted { $0.key < $1.key }.map { name, key in
      let site = sites[name]
      return ControlMessage.SiteSummary(name: name, online: site != nil, keyHash: key, agents: site?.agents ?? [])
    }
  }
}
