internal import Control

extension Authorisation {
  /// Whether an account could connect to an agent now, and by which rule or why not: one line for people.
  ///
  /// - Parameters:
  ///   - announced: what the site has said; `nil` if it isn't connected.
  ///   - now: seconds since 1970.
  public static func explain(
    _ state: AccessState, account: String, site: String, agent: String, reason: String?, announced: SiteAnnouncement?,
    now: Int64
  ) -> (isAllowed: Bool, text: String) {
    // A site that isn't connected has said nothing about its agents: then the rules alone are judged.
    let agents =
      announced?.agents
      ?? [
        AgentDescription(name: agent, target: .device(.v4), tcp: [.all], udp: [.all], icmp: true)
      ]
    do throws(AccessDenial) {
      var allowed = try decide(
        state, account: account, site: site, announced: agents, wanted: [agent], reason: reason, now: now)
      if let announced { allowed = try allowed.granting(each: true, withLimits: announced.grantedPorts) }
      let ports = allowed.agents.compactMap(\.limits).map { ", \($0) of it" }.joined()
      let rules = allowed.rules.map { "\($0)" }.joined(separator: ", ")
      let end = allowed.until.map { ", until \(UTCText.minute($0))" } ?? ""
      let away = announced == nil ? "; the site isn't connected" : ""
      return (true, "allowed by rule \(rules)\(ports)\(end)\(away)")
    } catch {
      return (false, "\(error)")
    }
  }
}
