/// The ports that something is limited to: a rule, a role, or what a grant gives of an agent.
public struct PortLimits: Hashable, Sendable {
  public var tcp, udp: [PortRange]
  public var icmp: Bool

  public init(tcp: [PortRange] = [], udp: [PortRange] = [], icmp: Bool = false) {
    self.tcp = tcp
    self.udp = udp
    self.icmp = icmp
  }

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
  package static func merged(_ ranges: [PortRange]) -> [PortRange] {
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

  package static func intersection(_ left: [PortRange], _ right: [PortRange]) -> [PortRange] {
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

extension PortLimits: Codable {
  private enum CodingKeys: String, CodingKey { case tcp, udp, icmp }

  /// All three, each in its bound: what is missing isn't taken for nothing, and less for all.
  public init(from decoder: any Decoder) throws {
    let container = try decoder.container(keyedBy: CodingKeys.self)
    func ranges(_ key: CodingKeys) throws -> [PortRange] {
      let ranges = try container.decode([PortRange].self, forKey: key)
      guard ranges.count <= ControlProtocol.portRangeLimit else {
        throw DecodingError.dataCorruptedError(forKey: key, in: container, debugDescription: "too many port ranges")
      }
      return ranges
    }
    self.init(tcp: try ranges(.tcp), udp: try ranges(.udp), icmp: try container.decode(Bool.self, forKey: .icmp))
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
