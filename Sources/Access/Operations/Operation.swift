/// Everything that can be asked of what a GateManager keeps, whoever asks and by whatever way: a command line, an API.
///
/// What each needs is in `OperationPermission`, what each does in `OperationPlan`.
public enum Operation: Hashable, Sendable, Codable {
  case listDomains
  case addDomain(DomainPath)
  case removeDomain(DomainPath)

  case listAccounts
  case addAccount(NewAccount)
  case removeAccount(String)
  case enableAccount(String, Bool)
  case setRole(String, AccountRole)
  /// The password itself; kept is a hash of it.
  case setPassword(String, password: String)
  /// A secret for one-time codes, in place of any that was there.
  case enrolOneTimeCode(String)
  case removeOneTimeCode(String)
  /// Whether accounts of a role have to have one-time codes, in a domain and below.
  case requireOneTimeCode(DomainPath, AccountRole, Bool)
  /// Further domains whose objects may concern the account.
  case joinDomain(account: String, DomainPath)
  case leaveDomain(account: String, DomainPath)
  /// Logs one PC out for good.
  case removePC(account: String, name: String)

  case listGroups
  case addGroup(String, DomainPath)
  case removeGroup(String)
  case addMember(group: String, account: String)
  case removeMember(group: String, account: String)

  case listSites
  /// Makes a site and its enrolment code.
  case addSite(String, DomainPath?, hours: Int)
  /// Makes another code.
  case renewSite(String, hours: Int)
  case attachSite(String, DomainPath)
  case detachSite(String)
  case removeSite(String)

  case listRules
  /// Its `id` and `created` are given by the store.
  case addRule(AccessRule)
  case removeRule(AccessRule.ID)
  case enableRule(AccessRule.ID, Bool)

  /// Whether an account could connect now, and by which rule or why not.
  case explain(account: String, site: String, agent: String, hasReason: Bool)
  case listAudit(after: Int64, limit: Int)
  case verifyAudit(noted: AuditHead?)
  /// A path on GateManager's host.
  case backUp(to: String)

  public struct NewAccount: Hashable, Sendable, Codable {
    public var name: String
    public var domain: DomainPath
    public var role: AccountRole
    public var password: String
    /// Seconds since 1970.
    public var expires: Int64?
    /// Whether it gets a rule for all agents of its domain, and has what users had before there were rules.
    public var reachesAll: Bool

    public init(
      name: String, domain: DomainPath, role: AccountRole = .linkUser, password: String, expires: Int64? = nil,
      reachesAll: Bool = false
    ) {
      self.name = name
      self.domain = domain
      self.role = role
      self.password = password
      self.expires = expires
      self.reachesAll = reachesAll
    }
  }

  /// An operation without its object.
  public enum Kind: String, Hashable, Sendable, Codable, CaseIterable {
    case listDomains, addDomain, removeDomain
    case listAccounts, addAccount, removeAccount, enableAccount, setRole, setPassword, joinDomain, leaveDomain, removePC
    case enrolOneTimeCode, removeOneTimeCode, requireOneTimeCode
    case listGroups, addGroup, removeGroup, addMember, removeMember
    case listSites, addSite, renewSite, attachSite, detachSite, removeSite
    case listRules, addRule, removeRule, enableRule
    case explain, listAudit, verifyAudit, backUp
  }

  public var kind: Kind {
    switch self {
    case .listDomains: .listDomains
    case .addDomain: .addDomain
    case .removeDomain: .removeDomain
    case .listAccounts: .listAccounts
    case .addAccount: .addAccount
    case .removeAccount: .removeAccount
    case .enableAccount: .enableAccount
    case .setRole: .setRole
    case .setPassword: .setPassword
    case .enrolOneTimeCode: .enrolOneTimeCode
    case .removeOneTimeCode: .removeOneTimeCode
    case .requireOneTimeCode: .requireOneTimeCode
    case .joinDomain: .joinDomain
    case .leaveDomain: .leaveDomain
    case .removePC: .removePC
    case .listGroups: .listGroups
    case .addGroup: .addGroup
    case .removeGroup: .removeGroup
    case .addMember: .addMember
    case .removeMember: .removeMember
    case .listSites: .listSites
    case .addSite: .addSite
    case .renewSite: .renewSite
    case .attachSite: .attachSite
    case .detachSite: .detachSite
    case .removeSite: .removeSite
    case .listRules: .listRules
    case .addRule: .addRule
    case .removeRule: .removeRule
    case .enableRule: .enableRule
    case .explain: .explain
    case .listAudit: .listAudit
    case .verifyAudit: .verifyAudit
    case .backUp: .backUp
    }
  }

  /// What it is done to, for the audit. Never a password.
  var object: String? {
    switch self {
    case .listDomains, .listAccounts, .listGroups, .listSites, .listRules, .listAudit, .verifyAudit: nil
    case .addDomain(let path), .removeDomain(let path): "domain \(path)"
    case .addAccount(let account): "account \(account.name) in \(account.domain) as \(account.role.rawValue)"
    case .removeAccount(let name), .setPassword(let name, _), .enrolOneTimeCode(let name), .removeOneTimeCode(let name):
      "account \(name)"
    case .requireOneTimeCode(let path, let role, let on):
      "domain \(path), \(role.rawValue) \(on ? "on" : "off")"
    case .enableAccount(let name, let on): "account \(name) \(on ? "on" : "off")"
    case .setRole(let name, let role): "account \(name) as \(role.rawValue)"
    case .joinDomain(let name, let path), .leaveDomain(let name, let path): "account \(name), domain \(path)"
    case .removePC(let name, let pc): "account \(name), PC \(pc)"
    case .addGroup(let name, let path): "group \(name) in \(path)"
    case .removeGroup(let name): "group \(name)"
    case .addMember(let group, let name), .removeMember(let group, let name): "group \(group), account \(name)"
    case .addSite(let name, let path, _): "site \(name) in \(path.map(\.description) ?? "no domain")"
    case .renewSite(let name, _), .detachSite(let name), .removeSite(let name): "site \(name)"
    case .attachSite(let name, let path): "site \(name) to \(path)"
    case .addRule(let rule): "\(rule)"
    case .removeRule(let id): "rule \(id)"
    case .enableRule(let id, let on): "rule \(id) \(on ? "on" : "off")"
    case .explain(let account, let site, let agent, _): "account \(account), \(site)/\(agent)"
    case .backUp(let path): path
    }
  }

  var auditKind: AuditEvent.Kind {
    switch kind {
    case .addRule, .removeRule, .enableRule: .ruleChange
    case .attachSite, .detachSite: .attachment
    default: .change
    }
  }
}

/// Who asks.
public enum Actor: Hashable, Sendable {
  /// Somebody who may write GateManager's directory, and so anything.
  case host
  case account(String)

  public var text: String {
    switch self {
    case .host: "host"
    case .account(let name): name
    }
  }
}

extension AccessRule: CustomStringConvertible {
  /// `account ann × ROOT, site north, agents plc: TCP 502, mon 06:00-14:00 (Europe/Berlin), with a reason`.
  public var description: String {
    var text = "\(subject.text) × \(domain)"
    if let site { text += ", site \(site)" }
    text += ", " + (agents.map { "agents \($0.joined(separator: " "))" } ?? "all agents")
    if let ports { text += ", \(ports)" }
    if let slots { text += ", \(slots)" }
    if requiresReason { text += ", with a reason" }
    if !isEnabled { text += ", off" }
    return text
  }
}
