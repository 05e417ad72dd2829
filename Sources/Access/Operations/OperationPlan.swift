internal import Control
internal import Crypto

/// What permitted operations change. Pure: all that isn't in the state is a parameter.
struct OperationPlan {
  var changes: [AccessChange] = []
  var answer = OperationAnswer.done

  /// What is made before, since it takes time or chance.
  struct Preparation: Sendable {
    var passwordHash: String?
    var code: (text: String, hash: SHA256Text)?
    var oneTimeSecret: OneTimeSecret?
    /// Whom an authenticator app names beside the account.
    var issuer = ""
  }

  /// - Parameter now: seconds since 1970.
  /// - Returns: `nil` for operations that change nothing.
  static func make(
    _ operation: Operation, _ prepared: Preparation, _ state: AccessState, now: Int64
  ) throws(OperationError) -> OperationPlan? {
    let planner = OperationPlanner(state: state, prepared: prepared, now: now)
    switch operation {
    case .listDomains, .listAccounts, .listGroups, .listSites, .listRules, .listAudit, .explain, .verifyAudit, .backUp:
      return nil
    case .addDomain(let path): return try planner.addDomain(path)
    case .removeDomain(let path): return try planner.removeDomain(path)
    case .addAccount(let account): return try planner.add(account)
    case .removeAccount(let name):
      _ = try planner.account(name)
      return OperationPlan(changes: [.removeAccount(name)])
    case .enableAccount(let name, let on): return try planner.change(name) { $0.isEnabled = on }
    case .setRole(let name, let role): return try planner.change(name) { $0.role = role }
    case .setPassword(let name, _):
      guard let hash = prepared.passwordHash else { throw .invalid("there is no password") }
      return try planner.change(name) { $0.password = hash }
    case .enrolOneTimeCode(let name):
      guard let secret = prepared.oneTimeSecret else { throw .invalid("there is no secret") }
      var plan = try planner.change(name) { $0.oneTimeCode = Account.OneTimeCode(secret: secret, since: now) }
      plan.answer = .oneTimeSecret(uri: secret.uri(issuer: prepared.issuer, account: name))
      return plan
    case .removeOneTimeCode(let name):
      guard try planner.account(name).oneTimeCode != nil else { throw .unknown("one-time code of account", name) }
      return try planner.change(name) { $0.oneTimeCode = nil }
    case .requireOneTimeCode(let path, let role, let on):
      let rule = CodeRule(domain: path, role: role)
      return OperationPlan(changes: [on ? .putCodeRule(rule) : .removeCodeRule(rule)])
    case .joinDomain(let name, let path):
      guard try planner.account(name).joined.count < AccessLimits.joinedDomains else {
        throw .tooMany("joined domain", AccessLimits.joinedDomains)
      }
      return try planner.change(name) { account in
        if !account.joined.contains(path) { account.joined = (account.joined + [path]).sorted() }
      }
    case .leaveDomain(let name, let path):
      return try planner.change(name) { account in account.joined.removeAll { $0 == path } }
    case .removePC(let name, let pc):
      guard try planner.account(name).pcs.contains(where: { $0.name == pc }) else { throw .unknown("PC", pc) }
      return try planner.change(name) { account in account.pcs.removeAll { $0.name == pc } }
    case .addGroup(let name, let path): return try planner.addGroup(name, path)
    case .removeGroup(let name): return OperationPlan(changes: [.removeGroup(name)])
    case .addMember(let group, let name): return try planner.addMember(group, name)
    case .removeMember(let group, let name): return try planner.removeMember(group, name)
    case .addSite(let name, let path, let hours): return try planner.addSite(name, path, hours)
    case .renewSite(let name, let hours): return try planner.renewSite(name, hours)
    case .attachSite(let name, let path): return try planner.move(name, path)
    case .detachSite(let name): return try planner.move(name, nil)
    case .removeSite(let name): return OperationPlan(changes: [.removeSite(name)])
    case .addRule(let rule): return try planner.add(rule)
    case .removeRule(let id): return OperationPlan(changes: [.removeRule(id)])
    case .enableRule(let id, let on):
      guard var rule = state.rules[id] else { throw .unknown("rule", "\(id)") }
      rule.isEnabled = on
      return OperationPlan(changes: [.putRule(rule)])
    }
  }
}

/// The longer steps.
private struct OperationPlanner {
  let state: AccessState
  let prepared: OperationPlan.Preparation
  let now: Int64

  func account(_ name: String) throws(OperationError) -> Account {
    guard let account = state.accounts[name] else { throw .unknown("account", name) }
    return account
  }

  func change(_ name: String, _ body: (inout Account) -> Void) throws(OperationError) -> OperationPlan {
    var account = try account(name)
    body(&account)
    return OperationPlan(changes: [.putAccount(account)])
  }

  private func room(_ word: String, _ count: Int) throws(OperationError) {
    guard count < AccessLimits.records else { throw .tooMany(word, AccessLimits.records) }
  }

  private func name(_ name: String) throws(OperationError) {
    guard AccessName.isValid(name) else { throw .invalid("`\(name.prefix(bytes: 64))` is no name: \(AccessName.rule)") }
  }

  // MARK: Domains

  func addDomain(_ path: DomainPath) throws(OperationError) -> OperationPlan {
    try room("domain", state.domains.count)
    // Names that differ by case only would be taken for each other.
    let lower = path.description.lowercased()
    let siblings = path.parent.map { state.children(of: $0) } ?? []
    if let taken = siblings.first(where: { $0.description.lowercased() == lower }) {
      throw .exists("domain", taken.description)
    }
    return OperationPlan(changes: [.putDomain(Domain(path: path, created: now))])
  }

  func removeDomain(_ path: DomainPath) throws(OperationError) -> OperationPlan {
    guard path != .root else { throw .invalid("ROOT can't be removed") }
    let isUsed =
      !state.children(of: path).isEmpty || !state.sites(in: path).isEmpty
      || state.accounts.values.contains { $0.domain == path || $0.joined.contains(path) }
      || state.groups.values.contains { $0.domain == path } || state.rules.values.contains { $0.domain == path }
    guard !isUsed else { throw .notEmpty(path.description) }
    return OperationPlan(changes: [.removeDomain(path)])
  }

  // MARK: Accounts and groups

  func add(_ new: Operation.NewAccount) throws(OperationError) -> OperationPlan {
    try name(new.name)
    try room("account", state.accounts.count)
    guard state.accounts[new.name] == nil else { throw .exists("account", new.name) }
    guard let hash = prepared.passwordHash else { throw .invalid("there is no password") }
    var plan = OperationPlan(changes: [
      .putAccount(
        Account(
          name: new.name, domain: new.domain, role: new.role, password: hash, expires: new.expires, created: now))
    ])
    if new.reachesAll {
      plan.changes.append(
        .putRule(
          AccessRule(id: state.nextRule, subject: .account(new.name), domain: new.domain, created: now)))
    }
    return plan
  }

  func addGroup(_ group: String, _ path: DomainPath) throws(OperationError) -> OperationPlan {
    try name(group)
    try room("group", state.groups.count)
    guard state.groups[group] == nil else { throw .exists("group", group) }
    return OperationPlan(changes: [.putGroup(AccountGroup(name: group, domain: path))])
  }

  func addMember(_ name: String, _ member: String) throws(OperationError) -> OperationPlan {
    guard var group = state.groups[name] else { throw .unknown("group", name) }
    guard !group.members.contains(member) else { throw .exists("member", member) }
    guard group.members.count < AccessLimits.groupMembers else {
      throw .tooMany("member", AccessLimits.groupMembers)
    }
    guard state.groups(of: member).count < AccessLimits.groupsPerAccount else {
      throw .tooMany("group of one account", AccessLimits.groupsPerAccount)
    }
    group.members = (group.members + [member]).sorted()
    return OperationPlan(changes: [.putGroup(group)])
  }

  func removeMember(_ name: String, _ member: String) throws(OperationError) -> OperationPlan {
    guard var group = state.groups[name] else { throw .unknown("group", name) }
    guard let index = group.members.firstIndex(of: member) else { throw .unknown("member", member) }
    group.members.remove(at: index)
    return OperationPlan(changes: [.putGroup(group)])
  }

  // MARK: Sites

  func addSite(_ site: String, _ path: DomainPath?, _ hours: Int) throws(OperationError) -> OperationPlan {
    try name(site)
    try room("site", state.sites.count)
    guard state.sites[site] == nil else { throw .exists("site", site) }
    return try coded(AccessSite(name: site, domain: path, created: now), hours)
  }

  func renewSite(_ name: String, _ hours: Int) throws(OperationError) -> OperationPlan {
    guard let site = state.sites[name] else { throw .unknown("site", name) }
    return try coded(site, hours)
  }

  private func coded(_ site: AccessSite, _ hours: Int) throws(OperationError) -> OperationPlan {
    guard (1...8760).contains(hours) else { throw .invalid("a code is good for 1 to 8760 hours") }
    guard let code = prepared.code else { throw .invalid("there is no code") }
    var site = site
    let expires = now + Int64(hours) * 3600
    site.enrolment = AccessSite.Enrolment(secretHash: code.hash, expires: expires)
    return OperationPlan(changes: [.putSite(site)], answer: .code(code.text, expires: expires))
  }

  func move(_ name: String, _ path: DomainPath?) throws(OperationError) -> OperationPlan {
    guard var site = state.sites[name] else { throw .unknown("site", name) }
    site.domain = path
    return OperationPlan(changes: [.putSite(site)])
  }

  // MARK: Rules

  func add(_ new: AccessRule) throws(OperationError) -> OperationPlan {
    try room("rule", state.rules.count)
    guard state.rules(for: new.subject, in: new.domain).count < AccessLimits.rulesPerSubjectAndDomain else {
      throw .tooMany("rule of one subject and domain", AccessLimits.rulesPerSubjectAndDomain)
    }
    if let name = new.site {
      guard let domain = state.sites[name]?.domain, new.domain.contains(domain) else {
        throw .invalid("site \(name) isn't in \(new.domain)")
      }
    }
    if let agents = new.agents {
      guard (1...AccessLimits.ruleAgents).contains(agents.count), agents.allSatisfy(AgentDescription.isValidName) else {
        throw .invalid("a rule names 1 to \(AccessLimits.ruleAgents) agents")
      }
    }
    if let ports = new.ports {
      guard ports.tcp.count <= AccessLimits.rulePorts, ports.udp.count <= AccessLimits.rulePorts else {
        throw .invalid("a rule has \(AccessLimits.rulePorts) port ranges of a protocol at most")
      }
      guard ports != PortLimits() else { throw .invalid("a rule without any port allows nothing") }
    }
    if let zone = new.slots?.zone, !state.knows(zone: zone) {
      throw .invalid("this host doesn't know the time zone \(zone)")
    }
    var rule = new
    rule.id = state.nextRule
    rule.created = now
    return OperationPlan(changes: [.putRule(rule)], answer: .rule(rule.id))
  }
}
