import Access
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

  /// - Parameter now: seconds since 1970. Keys of accounts that may not be used then aren't among them.
  init(_ state: AccessState, now: Int64) {
    for (key, holder) in state.keys {
      switch holder {
      case .account(let name, let pc):
        if state.accounts[name]?.isValid(at: now) == true { identities[key] = .user(name, pc: pc) }
      case .site(let name):
        identities[key] = .site(name)
        siteKeys[name] = key
      }
    }
  }
}
