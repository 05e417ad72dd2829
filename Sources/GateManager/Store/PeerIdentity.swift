import Control
import Crypto

/// Who holds a registered key.
enum PeerIdentity: Hashable, Sendable {
  case site(String)
  case user(String, pc: String)

  var role: Role {
    switch self {
    case .site: .siteManager
    case .user: .linkManager
    }
  }

  var name: String {
    switch self {
    case .site(let name), .user(let name, _): name
    }
  }
}

/// All registered keys. Who somebody is depends on the key alone, never on what a certificate says.
struct Membership: Hashable, Sendable {
  private(set) var identities: [KeyHash: PeerIdentity] = [:]
  /// Every site that is enrolled.
  private(set) var siteKeys: [String: KeyHash] = [:]

  init() {}

  init(users: [UserRecord], sites: [SiteRecord]) {
    for user in users {
      for pc in user.pcs { add(pc.key, .user(user.name, pc: pc.name)) }
    }
    for site in sites {
      if let key = site.key { add(key, .site(site.name)) }
    }
  }

  mutating func add(_ key: KeyHash, _ identity: PeerIdentity) {
    identities[key] = identity
    guard case .site(let name) = identity else { return }
    if let old = siteKeys.updateValue(key, forKey: name), old != key { identities[old] = nil }
  }
}
