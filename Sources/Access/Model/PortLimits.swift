public import Control

/// The ports that something is limited to.
public struct PortLimits: Hashable, Sendable, Codable {
  public var tcp, udp: [PortRange]
  public var icmp: Bool

  public init(tcp: [PortRange] = [], udp: [PortRange] = [], icmp: Bool = false) {
    self.tcp = tcp
    self.udp = udp
    self.icmp = icmp
  }

  /// LinkManager Mobile: web, remote desktop and VNC.
  public static let mobile = PortLimits(tcp: [80, 443, 3389, 5900].compactMap { PortRange($0) })

  /// What is left of an agent within these limits; `nil` for nothing, as of an interface of the site, which has no ports.
  ///
  /// FTP's data connections have ports of their own, but they belong to a control connection, which is judged like any
  /// other. A capture shows what others do, too.
  public func narrowing(_ agent: AgentDescription) -> AgentDescription? {
    if case .interface = agent.target { return nil }
    var agent = agent
    agent.tcp = Self.intersection(agent.tcp, tcp)
    agent.udp = Self.intersection(agent.udp, udp)
    agent.ftp = Self.intersection(agent.ftp, tcp)
    agent.icmp = agent.icmp && icmp
    agent.capture = false
    return agent.tcp.isEmpty && agent.udp.isEmpty && !agent.icmp ? nil : agent
  }

  /// What either allows.
  public func union(_ other: PortLimits) -> PortLimits {
    PortLimits(
      tcp: Self.merged(tcp + other.tcp), udp: Self.merged(udp + other.udp), icmp: icmp || other.icmp)
  }

  /// In rising order; ranges that touch become one.
  static func merged(_ ranges: [PortRange]) -> [PortRange] {
    var result: [PortRange] = []
    for range in ranges.sorted(by: { ($0.lower, $0.upper) < ($1.lower, $1.upper) }) {
      guard let last = result.last, Int(last.upper) + 1 >= Int(range.lower) else {
        result.append(range)
        continue
      }
      if let joined = PortRange(last.lower, max(last.upper, range.upper)) { result[result.count - 1] = joined }
    }
    return result
  }

  static func intersection(_ left: [PortRange], _ right: [PortRange]) -> [PortRange] {
    var result: [PortRange] = []
    for one in left {
      for other in right {
        let (lower, upper) = (max(one.lower, other.lower), min(one.upper, other.upper))
        if lower <= upper, let both = PortRange(lower, upper) { result.append(both) }
      }
    }
    return merged(result)
  }
}

extension PortLimits: CustomStringConvertible {
  /// `TCP 80,443 UDP 161 ping`, or `no port`.
  public var description: String {
    var parts: [String] = []
    if !tcp.isEmpty { parts.append("TCP " + tcp.map(\.description).joined(separator: ",")) }
    if !udp.isEmpty { parts.append("UDP " + udp.map(\.description).joined(separator: ",")) }
    if icmp { parts.append("ping") }
    return parts.isEmpty ? "no port" : parts.joined(separator: " ")
  }
}
