/// What lists and questions answer: only what the asker may see.
enum OperationLists {
  /// `nil` for operations that change something, or read the audit.
  static func answer(
    _ operation: Operation, by actor: Actor, _ state: AccessState, announced: (String) -> SiteAnnouncement?,
    now: Int64
  ) -> OperationAnswer? {
    // Rights depend on domains, of which there are few beside the objects in them.
    let visible = Set(state.domains.keys.filter { OperationPermission.right(of: actor, in: $0, state) >= .view })
    switch operation {
    case .listDomains:
      let counts = Dictionary(grouping: state.accounts.values, by: \.domain).mapValues(\.count)
      return .domains(
        visible.sorted().map { path in
          let roles = AccountRole.allCases.filter { role in
            path.upwards.contains { state.codeRules.contains(CodeRule(domain: $0, role: role)) }
          }
          return OperationAnswer.DomainRow(
            path: path, sites: state.sites(in: path).count, accounts: counts[path] ?? 0, codeRoles: roles)
        })
    case .listAccounts:
      return .accounts(
        state.accounts.values.filter { visible.contains($0.domain) }.sorted { $0.name < $1.name }.map { account in
          let groups = state.groups(of: account.name).filter { name in
            state.groups[name].map { visible.contains($0.domain) } ?? false
          }
          return OperationAnswer.AccountRow(
            name: account.name, domain: account.domain, joined: account.joined.filter { visible.contains($0) },
            role: account.role, isEnabled: account.isEnabled, expires: account.expires, created: account.created,
            groups: groups, hasOneTimeCode: account.oneTimeCode != nil,
            requiresOneTimeCode: state.requiresOneTimeCode(account), pcs: account.pcs.map(\.name))
        })
    case .listGroups:
      return .groups(
        state.groups.values.filter { visible.contains($0.domain) }.sorted { $0.name < $1.name }.map { group in
          var group = group
          group.members = group.members.filter { name in
            state.accounts[name].map { visible.contains($0.domain) } ?? false
          }
          return group
        })
    case .listSites:
      return .sites(
        state.sites.values.filter { visible.contains($0.domain ?? .root) }.sorted { $0.name < $1.name }.map { site in
          OperationAnswer.SiteRow(
            name: site.name, domain: site.domain, created: site.created, codeExpires: site.enrolment?.expires,
            key: site.key, enrolled: site.enrolled)
        })
    case .listRules:
      return .rules(state.rules.values.filter { visible.contains($0.domain) }.sorted { $0.id < $1.id })
    case .explain(let account, let site, let agent, let hasReason):
      let decision = Authorisation.explain(
        state, account: account, site: site, agent: agent, reason: hasReason ? "-" : nil, announced: announced(site),
        now: now)
      return .explanation(isAllowed: decision.isAllowed, text: decision.text)
    default: return nil
    }
  }

  /// Which entries of the audit somebody sees: those about accounts and sites of their domains.
  static func sees(_ entry: AuditEntry, _ actor: Actor, _ state: AccessState) -> Bool {
    if actor == .host { return true }
    let domains = [
      entry.event.account.flatMap { state.accounts[$0]?.domain }, entry.event.site.flatMap { state.sites[$0]?.domain },
    ]
    return domains.contains { domain in
      domain.map { OperationPermission.right(of: actor, in: $0, state) >= .view } ?? false
    }
  }
}
