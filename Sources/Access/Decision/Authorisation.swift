public import Control

/// What somebody is allowed at a site, for now.
public struct Authorisation: Hashable, Sendable {
  public struct Agent: Hashable, Sendable {
    /// With the ports that are left to this account.
    public var description: AgentDescription
    /// What it is limited to where the site has more, as a grant says it; `nil` where it is all that the site has.
    public var limits: PortLimits?
    /// The rules that allow it, in rising order.
    public var rules: [AccessRule.ID]

    public var isNarrowed: Bool { limits != nil }

    /// Whether all of this is allowed.
    func allows(_ other: AgentDescription) -> Bool {
      func isWithin(_ one: [PortRange], _ all: [PortRange]) -> Bool {
        PortLimits.intersection(one, all) == PortLimits.merged(one)
      }
      return isWithin(other.tcp, description.tcp) && isWithin(other.udp, description.udp)
        && isWithin(other.ftp, description.ftp) && (description.icmp || !other.icmp)
        && (description.capture || !other.capture)
    }
  }

  public var agents: [Agent]
  /// When it ends, in seconds since 1970; `nil` if neither the rules nor the account say anything about that.
  public var until: Int64?
  /// Whether it is the account itself that ends then.
  public var endsWithAccount: Bool

  public var rules: [AccessRule.ID] { Array(Set(agents.flatMap(\.rules))).sorted() }

  /// Ports by agent, of those that are narrowed.
  public var limits: [String: PortLimits] {
    Dictionary(agents.compactMap { agent in agent.limits.map { (agent.description.name, $0) } }) { first, _ in first }
  }
}

extension Authorisation {
  /// Whether and what an account may reach at a site now. Denied is what isn't allowed by a rule.
  ///
  /// Its time depends on the account's groups, the depth of the site's domain, the rules of these, and the agents; not on
  /// how much else there is.
  ///
  /// - Parameters:
  ///   - announced: the agents that the site has.
  ///   - wanted: names of agents, each of which must be allowed; `nil` for all that are.
  ///   - reason: what the user gave as the purpose.
  ///   - now: seconds since 1970.
  public static func decide(
    _ state: AccessState, account name: String, site siteName: String, announced: [AgentDescription],
    wanted: [String]?, reason: String?, now: Int64
  ) throws(AccessDenial) -> Authorisation {
    let (account, site, domain) = try admit(state, name, siteName, now)
    var candidates: [Candidate] = []
    for id in applicable(state, name, site, domain) {
      guard let rule = state.rules[id] else { continue }
      candidates.append(Candidate(rule, state, now))
    }
    guard !candidates.isEmpty else { throw .noRule(account: name, site: siteName, domain: domain) }
    let hasReason = reason?.contains { !$0.isWhitespace } ?? false
    var result = Authorisation(agents: [], until: account.expires, endsWithAccount: false)
    var firstDenial: AccessDenial?
    let chosen: [AgentDescription]
    if let wanted {
      let known = Dictionary(announced.map { ($0.name, $0) }) { first, _ in first }
      var found: [AgentDescription] = []
      for agent in wanted {
        guard let description = known[agent] else { throw .agentUnknown(agent, site: siteName) }
        found.append(description)
      }
      chosen = found
    } else {
      chosen = announced
    }
    for agent in chosen {
      do throws(AccessDenial) {
        let (allowed, until) = try judge(agent, account.role, candidates, hasReason, siteName)
        result.agents.append(allowed)
        result.until = [result.until, until].compactMap { $0 }.min()
      } catch {
        if wanted != nil { throw error }
        firstDenial = firstDenial ?? error
      }
    }
    if result.agents.isEmpty, let firstDenial { throw firstDenial }
    // One that is off may be on again soon: it is the site that cuts it. But where all are off there is no access.
    if let first = result.agents.first?.description, let veto = first.veto,
      result.agents.allSatisfy({ $0.description.veto != nil })
    {
      throw .switchedOff(agent: first.name, site: siteName, veto: veto)
    }
    result.endsWithAccount = result.until != nil && result.until == account.expires
    return result
  }

  /// What can be granted of it.
  /// - Parameters:
  ///   - each: whether it has to be all agents or none.
  ///   - withLimits: whether the site understands grants that limit ports. One that doesn't opens all ports of an agent:
  ///     so an agent with more than are allowed is none at all there.
  public func granting(each: Bool, withLimits: Bool) throws(AccessDenial) -> Authorisation {
    var rest = self
    rest.agents.removeAll()
    var firstDenial: AccessDenial?
    for agent in agents {
      let name = agent.description.name
      let tooMany = max(agent.limits?.tcp.count ?? 0, agent.limits?.udp.count ?? 0) > ControlProtocol.portRangeLimit
      guard !agent.isNarrowed || withLimits && !tooMany else {
        firstDenial = firstDenial ?? (withLimits ? .tooManyRanges(agent: name) : .morePorts(agent: name))
        continue
      }
      rest.agents.append(agent)
    }
    if let firstDenial, each || rest.agents.isEmpty { throw firstDenial }
    return rest
  }

  /// Refuses if something was granted that isn't allowed any more.
  /// - Parameters:
  ///   - granted: the ports by agent, of those that were narrowed.
  ///   - announced: the agents that the site has.
  public func check(granted: [String: PortLimits], announced: [AgentDescription]) throws(AccessDenial) {
    for agent in agents {
      guard let limits = agent.limits, let whole = announced.first(where: { $0.name == agent.description.name })
      else { continue }
      // What the site has no more it doesn't serve, whatever was granted.
      guard let had = granted[whole.name].map({ $0.narrowing(whole) }) ?? whole, !agent.allows(had) else { continue }
      throw .fewerPorts(agent: whole.name, left: limits)
    }
  }

  /// Whether a rule might let an account reach a site at some time: what lists show.
  static func concerns(_ state: AccessState, account: String, site: String, now: Int64) -> Bool {
    guard let (_, site, domain) = try? admit(state, account, site, now) else { return false }
    return !applicable(state, account, site, domain).isEmpty
  }

  /// All sites that a rule might let an account reach at some time. Its time depends on how many these are.
  public static func sites(_ state: AccessState, account name: String, now: Int64) -> Set<String> {
    guard let account = state.accounts[name], account.isValid(at: now), account.role.mayConnect else { return [] }
    var found: Set<String> = []
    var seen: Set<DomainPath> = []
    for subject in state.subjects(of: name) {
      for id in state.rulesBySubject[subject] ?? [] {
        guard let rule = state.rules[id], rule.isEnabled else { continue }
        guard let site = rule.site else {
          var waiting = [rule.domain]
          while let domain = waiting.popLast() {
            guard seen.insert(domain).inserted else { continue }
            if account.reaches(domain) { found.formUnion(state.sites(in: domain)) }
            waiting += state.children(of: domain)
          }
          continue
        }
        guard let domain = state.sites[site]?.domain else { continue }
        if rule.domain.contains(domain), account.reaches(domain) { found.insert(site) }
      }
    }
    return found
  }

  /// A rule, and what the time says about it.
  private struct Candidate {
    let rule: AccessRule
    let isOpen: Bool
    /// When that changes.
    let changes: Int64?
    let hasZone: Bool

    init(_ rule: AccessRule, _ state: AccessState, _ now: Int64) {
      self.rule = rule
      let schedule = state.schedule(of: rule.id)
      hasZone = rule.slots == nil || schedule != nil
      isOpen = hasZone && (schedule?.isOpen(at: now) ?? true)
      changes = schedule?.nextChange(after: now)
    }
  }

  private static func admit(
    _ state: AccessState, _ name: String, _ siteName: String, _ now: Int64
  ) throws(AccessDenial) -> (Account, AccessSite, DomainPath) {
    guard let account = state.accounts[name] else { throw .accountUnknown(name) }
    guard account.isEnabled else { throw .accountDisabled(name) }
    if let expires = account.expires, now >= expires { throw .accountExpired(name, at: expires) }
    guard account.role.mayConnect else { throw .role(account.role) }
    guard let site = state.sites[siteName] else { throw .siteUnknown(siteName) }
    // What lies outside of an account's domains doesn't exist for it.
    guard let domain = site.domain else {
      if account.reaches(.root) { throw .siteWaiting(siteName) }
      throw .siteUnknown(siteName)
    }
    guard account.reaches(domain) else { throw .siteUnknown(siteName) }
    return (account, site, domain)
  }

  /// Enabled rules for an account and a site, at whatever time and for whatever agents.
  private static func applicable(
    _ state: AccessState, _ account: String, _ site: AccessSite, _ domain: DomainPath
  ) -> [AccessRule.ID] {
    let subjects = state.subjects(of: account)
    var found: [AccessRule.ID] = []
    for path in domain.upwards {
      for subject in subjects {
        for id in state.rules(for: subject, in: path) {
          guard let rule = state.rules[id], rule.isEnabled, rule.site == nil || rule.site == site.name else { continue }
          found.append(id)
        }
      }
    }
    return found.sorted()
  }

  private static func judge(
    _ agent: AgentDescription, _ role: AccountRole, _ candidates: [Candidate], _ hasReason: Bool, _ site: String
  ) throws(AccessDenial) -> (Agent, until: Int64?) {
    let covering = candidates.filter { $0.rule.covers(agent: agent.name) }
    guard !covering.isEmpty else { throw .agentNotCovered(agent.name, site: site) }
    let open = covering.filter(\.isOpen)
    guard !open.isEmpty else {
      // The one that opens first.
      let next = covering.filter(\.hasZone).min { ($0.changes ?? .max) < ($1.changes ?? .max) }
      if let next, let slots = next.rule.slots {
        throw .outsideSlot(rule: next.rule.id, slots: slots, opens: next.changes)
      }
      throw .zoneUnusable(rule: covering[0].rule.id, zone: covering[0].rule.slots?.zone ?? "")
    }
    // A rule that asks for no reason lets through what another one asks a reason for.
    let usable = open.filter { hasReason || !$0.rule.requiresReason }
    guard let first = usable.first else { throw .reasonRequired(rule: open[0].rule.id) }
    var narrowed = agent
    if usable.allSatisfy({ $0.rule.ports != nil }) {
      let allowed = usable.reduce(PortLimits()) { $0.union($1.rule.ports ?? PortLimits()) }
      guard let rest = allowed.narrowing(agent) else {
        throw .ports(agent: agent.name, rule: first.rule.id, allowed: allowed)
      }
      narrowed = rest
    }
    if let limits = role.portLimits {
      guard let rest = limits.narrowing(narrowed) else { throw .rolePorts(agent: agent.name, role) }
      narrowed = rest
    }
    // Rules for all ports are as good as the longest of them, where one without slots is for always. Where there is none,
    // the ports are those of several rules together: whichever closes first, they are others from then on.
    let whole = usable.filter { $0.rule.ports == nil }
    let until: Int64?
    if whole.isEmpty {
      until = usable.compactMap(\.changes).min()
    } else {
      until = whole.contains { $0.changes == nil } ? nil : whole.compactMap(\.changes).max()
    }
    let isNarrowed =
      PortLimits.merged(narrowed.tcp) != PortLimits.merged(agent.tcp)
      || PortLimits.merged(narrowed.udp) != PortLimits.merged(agent.udp)
      || PortLimits.merged(narrowed.ftp) != PortLimits.merged(agent.ftp) || narrowed.icmp != agent.icmp
      || narrowed.capture != agent.capture
    let limits = isNarrowed ? PortLimits(tcp: narrowed.tcp, udp: narrowed.udp, icmp: narrowed.icmp) : nil
    return (
      Agent(description: isNarrowed ? narrowed : agent, limits: limits, rules: usable.map(\.rule.id)), until
    )
  }
}
