public import Control

/// Why somebody may not connect: one line that tells a technician whom to ask for what.
public enum AccessDenial: Error, Hashable, Sendable {
  case accountUnknown(String)
  case accountDisabled(String)
  /// Seconds since 1970.
  case accountExpired(String, at: Int64)
  case role(AccountRole)
  /// There is none, or none that this account may know of.
  case siteUnknown(String)
  /// Attached to no domain yet.
  case siteWaiting(String)
  /// Nothing lets the account reach the site.
  case noRule(account: String, site: String, domain: DomainPath)
  /// The site has no such agent.
  case agentUnknown(String, site: String)
  /// There are rules for the site, and none is for this agent.
  case agentNotCovered(String, site: String)
  /// A rule would allow it at another time; seconds since 1970.
  case outsideSlot(rule: AccessRule.ID, slots: WeeklySlots, opens: Int64?)
  /// The rule's time zone isn't known on this host.
  case zoneUnusable(rule: AccessRule.ID, zone: String)
  case reasonRequired(rule: AccessRule.ID)
  /// Nothing of the agent's ports is left within what the rule allows.
  case ports(agent: String, rule: AccessRule.ID, allowed: PortLimits)
  /// Nothing of the agent's ports is left within what the role allows.
  case rolePorts(agent: String, AccountRole)
  /// It has ports that the account may use, and others, and its site can't be told which.
  case morePorts(agent: String)
  /// What the account may use of it doesn't fit a grant.
  case tooManyRanges(agent: String)
  /// On site, by its operator; with what was said there.
  case switchedOff(agent: String, site: String, veto: String)
  /// A session was granted more of it than is allowed now.
  case fewerPorts(agent: String, left: PortLimits)
}

extension AccessDenial: CustomStringConvertible {
  public var description: String {
    switch self {
    case .accountUnknown(let name): "there is no account `\(name)`"
    case .accountDisabled(let name): "account \(name) is disabled: an administrator of its domain can enable it"
    case .accountExpired(let name, let time): "account \(name) ended \(UTCText.minute(time))"
    case .role(let role): "a \(role.text) connects nowhere"
    case .siteUnknown: "there is no site of this name"
    case .siteWaiting(let site): "site \(site) waits for an administrator to attach it to a domain"
    case .noRule(let account, let site, let domain):
      "no rule lets \(account) reach site \(site) in \(domain): an administrator of \(domain) can make one"
    case .agentUnknown(let agent, let site): "site \(site) has no agent `\(agent)`"
    case .agentNotCovered(let agent, let site): "no rule of yours for site \(site) is for its agent \(agent)"
    case .outsideSlot(let rule, let slots, let opens):
      "rule \(rule) is closed now: it is open \(slots)" + (opens.map { ", next \(UTCText.minute($0))" } ?? "")
    case .zoneUnusable(let rule, let zone):
      "rule \(rule) is closed: this GateManager's host doesn't know its time zone \(zone)"
    case .reasonRequired(let rule): "rule \(rule) asks for a reason: connect with --reason TEXT"
    case .ports(let agent, let rule, let allowed): "rule \(rule) allows \(allowed), and agent \(agent) has none of it"
    case .rolePorts(let agent, let role):
      "a \(role.text) may use \(role.portLimits ?? PortLimits()), and agent \(agent) has none of it"
    case .morePorts(let agent):
      "agent \(agent) has more ports than you may use, and its SiteManager is too old to be told which: it has to be "
        + "updated, or an agent with these alone made at the site"
    case .tooManyRanges(let agent):
      "the rules allow more than \(ControlProtocol.portRangeLimit) port ranges of agent \(agent): rules with fewer and "
        + "wider ones are needed"
    case .switchedOff(let agent, let site, let veto): "agent \(agent) of site \(site): \(veto)"
    case .fewerPorts(let agent, let left): "the rules now allow only \(left) of agent \(agent): connect again"
    }
  }
}

/// Times for people: `2026-03-29 01:00 UTC`.
enum UTCText {
  static func minute(_ time: Int64) -> String {
    let date = CivilDate(daysSince1970: floorDiv(time, 86_400))
    let minutes = floorMod(time, 86_400) / 60
    return "\(date.year)-\(two(date.month))-\(two(date.day)) \(two(minutes / 60)):\(two(minutes % 60)) UTC"
  }

  /// RFC 3339, in microseconds: `2026-03-29T01:00:00.000000Z`.
  static func timestamp(microseconds: Int64) -> String {
    let time = floorDiv(microseconds, 1_000_000)
    let date = CivilDate(daysSince1970: floorDiv(time, 86_400))
    let second = floorMod(time, 86_400)
    let fraction = "\(1_000_000 + floorMod(microseconds, 1_000_000))".dropFirst()
    return "\(date.year)-\(two(date.month))-\(two(date.day))T\(two(second / 3600)):\(two(second / 60 % 60))"
      + ":\(two(second % 60)).\(fraction)Z"
  }

  private static func two(_ number: Int64) -> String { number < 10 ? "0\(number)" : "\(number)" }
}
