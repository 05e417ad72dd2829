/// What an operation needs: computed from who asks and what it is done to, in one place for all fronts.
///
/// - Objects that lie outside of somebody's domains don't exist for them; so say the errors, too.
/// - Who sees an object but may not do this to it is told whom it is for.
/// - A site that waits belongs to ROOT.
enum OperationPermission {
  /// The right in a domain.
  static func right(of actor: Actor, in domain: DomainPath, _ state: AccessState) -> AccessRight {
    switch actor {
    case .host: return .host
    case .account(let name):
      guard let account = state.accounts[name], account.domain.contains(domain) else { return .nothing }
      return account.role.right
    }
  }

  /// Refuses what isn't permitted, or isn't there.
  static func check(
    _ operation: Operation, by actor: Actor, _ state: AccessState, now: Int64
  ) throws(OperationError) {
    if case .account(let name) = actor, !(state.accounts[name]?.isValid(at: now) ?? false) { throw .noAccount(name) }
    let check = Check(actor: actor, state: state)
    switch operation {
    case .listDomains, .listAccounts, .listGroups, .listSites, .listRules, .listAudit: try check.any(.view)
    case .addDomain(let path):
      guard let parent = path.parent else { throw .exists("domain", path.description) }
      try check.domain(parent, .administer)
    case .removeDomain(let path):
      // Not the one that the asker is in, but those below.
      try check.domain(path, .administer)
      if case .account(let name) = actor, state.accounts[name]?.domain == path {
        throw .invalid("your own account is in domain \(path)")
      }
    case .addAccount(let account):
      // With a rule for it, it takes as much as the rule does.
      let isPlain = account.role.isUser && !account.reachesAll
      try check.domain(account.domain, isPlain ? .operate : .administer)
    case .enableAccount(let name, _), .setPassword(let name, _), .removePC(let name, _), .enrolOneTimeCode(let name),
      .removeOneTimeCode(let name):
      try check.account(name, .operate)
    case .removeAccount(let name):
      try check.account(name, .operate)
      if actor == .account(name) { throw .invalid("that is your own account") }
    case .setRole(let name, _):
      try check.account(name, .administer)
      if actor == .account(name) { throw .invalid("that is your own account") }
    case .joinDomain(let name, let path), .leaveDomain(let name, let path):
      try check.account(name, .administer)
      try check.domain(path, .administer)
    case .requireOneTimeCode(let path, _, _): try check.domain(path, .administer)
    case .addGroup(_, let path): try check.domain(path, .administer)
    case .removeGroup(let name): try check.group(name, .administer)
    case .addMember(let group, let name), .removeMember(let group, let name):
      try check.group(group, .administer)
      try check.account(name, .view)
    case .addSite(_, let path, _): try check.domain(path ?? .root, .operate)
    case .renewSite(let name, _): try check.site(name, .operate)
    case .removeSite(let name), .detachSite(let name): try check.site(name, .administer)
    case .attachSite(let name, let path):
      try check.site(name, .administer)
      try check.domain(path, .administer)
    case .addRule(let rule):
      try check.domain(rule.domain, .administer)
      switch rule.subject {
      case .account(let name): try check.account(name, .view)
      case .group(let name): try check.group(name, .view)
      }
      if let site = rule.site { try check.site(site, .view) }
    case .removeRule(let id), .enableRule(let id, _): try check.rule(id, .administer)
    case .explain(let account, let site, _, _):
      // Everybody may ask about themselves: the answer hides what they may not know.
      guard actor != .account(account) else { return }
      try check.account(account, .view)
      try check.site(site, .view)
    case .verifyAudit, .backUp:
      guard actor == .host else { throw .notPermitted(needs: .host) }
    }
  }

  private struct Check {
    let actor: Actor
    let state: AccessState

    /// For what concerns no single object: what is listed is chosen by `right(of:in:)`.
    func any(_ needed: AccessRight) throws(OperationError) {
      guard case .account(let name) = actor else { return }
      guard let role = state.accounts[name]?.role, role.right >= needed else { throw .notPermitted(needs: needed) }
    }

    func domain(_ path: DomainPath, _ needed: AccessRight) throws(OperationError) {
      try object("domain", path.description, state.domains[path] == nil ? nil : path, needed)
    }

    func account(_ name: String, _ needed: AccessRight) throws(OperationError) {
      let account = state.accounts[name]
      // Administrators are looked after by domain administrators.
      let more = needed == .operate && account?.role.isUser == false ? AccessRight.administer : needed
      try object("account", name, account?.domain, more)
    }

    func group(_ name: String, _ needed: AccessRight) throws(OperationError) {
      try object("group", name, state.groups[name]?.domain, needed)
    }

    func site(_ name: String, _ needed: AccessRight) throws(OperationError) {
      try object("site", name, state.sites[name].map { $0.domain ?? .root }, needed)
    }

    func rule(_ id: AccessRule.ID, _ needed: AccessRight) throws(OperationError) {
      try object("rule", "\(id)", state.rules[id]?.domain, needed)
    }

    private func object(
      _ word: String, _ name: String, _ domain: DomainPath?, _ needed: AccessRight
    ) throws(OperationError) {
      guard let domain else { throw .unknown(word, name) }
      let right = OperationPermission.right(of: actor, in: domain, state)
      guard right > .nothing else { throw .unknown(word, name) }
      guard right >= needed else { throw .notPermitted(needs: needed) }
    }
  }
}
