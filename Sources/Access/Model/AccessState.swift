public import Crypto

/// All accounts, groups, sites, domains and rules, with what makes looking them up quick. A value: who holds one isn't
/// disturbed by changes.
public struct AccessState: Sendable {
  /// Who holds a key.
  public enum KeyHolder: Hashable, Sendable {
    case account(String, pc: String)
    case site(String)
  }

  struct RuleKey: Hashable {
    let domain: DomainPath
    let subject: AccessRule.Subject
  }

  public private(set) var domains: [DomainPath: Domain] = [:]
  public private(set) var accounts: [String: Account] = [:]
  public private(set) var groups: [String: AccountGroup] = [:]
  public private(set) var sites: [String: AccessSite] = [:]
  public private(set) var rules: [AccessRule.ID: AccessRule] = [:]
  public private(set) var codeRules: Set<CodeRule> = []

  public private(set) var keys: [KeyHash: KeyHolder] = [:]
  /// By the hash of a code that is out.
  public private(set) var codes: [SHA256Text: String] = [:]
  private(set) var rulesByKey: [RuleKey: [AccessRule.ID]] = [:]
  private(set) var rulesBySubject: [AccessRule.Subject: Set<AccessRule.ID>] = [:]
  private(set) var groupsByMember: [String: Set<String>] = [:]
  private(set) var sitesByDomain: [DomainPath: Set<String>] = [:]
  /// Direct children.
  private(set) var children: [DomainPath: Set<DomainPath>] = [:]
  /// Of rules with slots; `nil` where the zone isn't known here.
  private(set) var schedules: [AccessRule.ID: WeeklySchedule] = [:]
  /// The identifier that the next rule gets: higher than that of any rule there ever was.
  public internal(set) var nextRule: AccessRule.ID = 1
  /// Another number whenever a decision might be another one. A login, which adds a PC, changes none.
  public internal(set) var decisions = 0
  private let zones: ZoneCatalog
  private var zoneCache: [String: ZoneRules] = [:]

  public init(zones: ZoneCatalog = .system) {
    self.zones = zones
  }

  /// Subjects of rules that an account is.
  func subjects(of account: String) -> [AccessRule.Subject] {
    [.account(account)] + (groupsByMember[account] ?? []).sorted().map { .group($0) }
  }

  public func groups(of account: String) -> [String] { (groupsByMember[account] ?? []).sorted() }

  /// Sites in a domain itself, not below.
  public func sites(in domain: DomainPath) -> Set<String> { sitesByDomain[domain] ?? [] }

  public func children(of domain: DomainPath) -> Set<DomainPath> { children[domain] ?? [] }

  /// Whether an account has to have one-time codes, by its role in its domain or one above.
  public func requiresOneTimeCode(_ account: Account) -> Bool {
    account.domain.upwards.contains { codeRules.contains(CodeRule(domain: $0, role: account.role)) }
  }

  /// A rule's schedule; `nil` if it has no slots, or if its zone isn't known here.
  public func schedule(of rule: AccessRule.ID) -> WeeklySchedule? { schedules[rule] }

  /// Whether this host has the zone's rules.
  public func knows(zone name: String) -> Bool { zoneCache[name] != nil || zones.rules(name) != nil }

  func rules(for subject: AccessRule.Subject, in domain: DomainPath) -> [AccessRule.ID] {
    rulesByKey[RuleKey(domain: domain, subject: subject)] ?? []
  }
}

/// One step from a state to the next, as it is stored.
public enum AccessChange: Hashable, Sendable, Codable {
  case putDomain(Domain), removeDomain(DomainPath)
  case putAccount(Account), removeAccount(String)
  case putGroup(AccountGroup), removeGroup(String)
  case putSite(AccessSite), removeSite(String)
  case putRule(AccessRule), removeRule(AccessRule.ID)
  case putCodeRule(CodeRule), removeCodeRule(CodeRule)
}

extension AccessState {
  public mutating func apply(_ changes: some Sequence<AccessChange>) {
    for change in changes { apply(change) }
  }

  /// Rules and memberships of what is removed go with it, as they do in the store.
  public mutating func apply(_ change: AccessChange) {
    if matters(change) { decisions += 1 }
    switch change {
    case .putDomain(let domain):
      domains[domain.path] = domain
      if let parent = domain.path.parent { children[parent, default: []].insert(domain.path) }
    case .removeDomain(let path):
      domains[path] = nil
      if let parent = path.parent { children[parent]?.remove(path) }
      codeRules = codeRules.filter { $0.domain != path }
    case .putAccount(let account):
      forgetKeys(of: accounts[account.name])
      accounts[account.name] = account
      for pc in account.pcs { keys[pc.key] = .account(account.name, pc: pc.name) }
    case .removeAccount(let name):
      forgetKeys(of: accounts.removeValue(forKey: name))
      for group in groupsByMember.removeValue(forKey: name) ?? [] { groups[group]?.members.removeAll { $0 == name } }
      removeRules { $0.subject == .account(name) }
    case .putGroup(let group):
      for member in groups[group.name]?.members ?? [] { groupsByMember[member]?.remove(group.name) }
      groups[group.name] = group
      for member in group.members { groupsByMember[member, default: []].insert(group.name) }
    case .removeGroup(let name):
      for member in groups.removeValue(forKey: name)?.members ?? [] { groupsByMember[member]?.remove(name) }
      removeRules { $0.subject == .group(name) }
    case .putSite(let site):
      forget(sites[site.name])
      sites[site.name] = site
      if let key = site.key { keys[key] = .site(site.name) }
      if let code = site.enrolment?.secretHash { codes[code] = site.name }
      if let domain = site.domain { sitesByDomain[domain, default: []].insert(site.name) }
    case .removeSite(let name):
      forget(sites.removeValue(forKey: name))
      removeRules { $0.site == name }
    case .putRule(let rule): put(rule)
    case .removeRule(let id): removeRule(id)
    case .putCodeRule(let rule): codeRules.insert(rule)
    case .removeCodeRule(let rule): codeRules.remove(rule)
    }
  }

  /// Whether decisions may depend on it.
  private func matters(_ change: AccessChange) -> Bool {
    switch change {
    case .putAccount(var account):
      guard let old = accounts[account.name] else { return true }
      account.pcs = old.pcs
      account.password = old.password
      account.oneTimeCode = old.oneTimeCode
      return account != old
    case .putCodeRule, .removeCodeRule: return false
    case .putSite(let site): return sites[site.name].map { $0.domain != site.domain } ?? true
    case .putDomain, .removeDomain, .removeAccount, .putGroup, .removeGroup, .removeSite, .putRule, .removeRule:
      return true
    }
  }

  private mutating func forgetKeys(of account: Account?) {
    for pc in account?.pcs ?? [] { keys[pc.key] = nil }
  }

  private mutating func forget(_ site: AccessSite?) {
    guard let site else { return }
    if let key = site.key { keys[key] = nil }
    if let code = site.enrolment?.secretHash { codes[code] = nil }
    if let domain = site.domain { sitesByDomain[domain]?.remove(site.name) }
  }

  private mutating func put(_ rule: AccessRule) {
    removeRule(rule.id)
    rules[rule.id] = rule
    nextRule = max(nextRule, rule.id + 1)
    rulesByKey[RuleKey(domain: rule.domain, subject: rule.subject), default: []].append(rule.id)
    rulesBySubject[rule.subject, default: []].insert(rule.id)
    guard let slots = rule.slots else { return }
    if zoneCache[slots.zone] == nil { zoneCache[slots.zone] = zones.rules(slots.zone) }
    schedules[rule.id] = zoneCache[slots.zone].map { WeeklySchedule(slots, zone: $0) }
  }

  private mutating func removeRule(_ id: AccessRule.ID) {
    guard let rule = rules.removeValue(forKey: id) else { return }
    let key = RuleKey(domain: rule.domain, subject: rule.subject)
    rulesByKey[key]?.removeAll { $0 == id }
    if rulesByKey[key]?.isEmpty == true { rulesByKey[key] = nil }
    rulesBySubject[rule.subject]?.remove(id)
    schedules[id] = nil
  }

  private mutating func removeRules(where matches: (AccessRule) -> Bool) {
    for rule in rules.values.filter(matches) { removeRule(rule.id) }
  }
}

extension AccessState: Equatable {
  /// By what is kept; the rest follows from it.
  public static func == (left: AccessState, right: AccessState) -> Bool {
    left.domains == right.domains && left.accounts == right.accounts && left.groups == right.groups
      && left.sites == right.sites && left.rules == right.rules && left.codeRules == right.codeRules
  }
}
