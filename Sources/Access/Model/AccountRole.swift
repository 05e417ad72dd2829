public import Control

/// What an account is for. Whatever it is, it ends at the account's domains.
public enum AccountRole: String, Hashable, Sendable, Codable, CaseIterable {
  /// Reaches agents, where a rule says so.
  case linkUser
  /// The same from a browser or a phone, on four ports only.
  case mobileUser
  /// Looks after users and sites, and reaches agents where a rule says so.
  case basicAdministrator
  /// Does all that there is to do in its domains.
  case domainAdministrator
  /// Sees all that a domain administrator sees, changes nothing and connects nowhere.
  case domainObserver

  /// What people call it.
  public var text: String {
    switch self {
    case .linkUser: "LinkManager user"
    case .mobileUser: "LinkManager Mobile user"
    case .basicAdministrator: "basic administrator"
    case .domainAdministrator: "domain administrator"
    case .domainObserver: "domain observer"
    }
  }

  /// Whether rules can let it connect.
  public var mayConnect: Bool { self != .domainObserver }

  /// The ports beyond which no rule helps; `nil` for no such limit.
  public var portLimits: PortLimits? { self == .mobileUser ? .mobile : nil }

  /// Accounts that others look after may not look after others.
  public var isUser: Bool { self == .linkUser || self == .mobileUser }

  /// What it may do with what lies in its domains.
  public var right: AccessRight {
    switch self {
    case .linkUser, .mobileUser: .nothing
    case .domainObserver: .view
    case .basicAdministrator: .operate
    case .domainAdministrator: .administer
    }
  }
}

/// How far somebody's rights go; each has those before it.
public enum AccessRight: Int, Hashable, Sendable, Codable, CaseIterable, Comparable {
  case nothing
  case view
  /// Users and sites.
  case operate
  /// Domains, administrators, groups and rules too.
  case administer
  /// What concerns the GateManager as a whole: only who works on its host.
  case host

  public static func < (left: AccessRight, right: AccessRight) -> Bool { left.rawValue < right.rawValue }
}

extension PortLimits {
  /// LinkManager Mobile: web, remote desktop and VNC.
  public static let mobile = PortLimits(tcp: [80, 443, 3389, 5900].compactMap { PortRange($0) })
}
