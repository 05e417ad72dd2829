import Control
import Framing
import Primitives

/// An agent as the site knows it: the device's real address, and what may be reached of it.
public struct SiteRule: Equatable, Sendable {
  public var agent: String
  /// One address, or a subnet; `nil` for an agent of an interface.
  public var device: IPPrefix?
  public var tcp: [PortRange]
  public var udp: [PortRange]
  /// Which of the TCP ports carry FTP control connections: what they announce may be reached as well.
  public var ftp: [PortRange]
  public var echo: Bool
  /// One of the site's interfaces, and what of it is offered; `nil` for an agent of a device or subnet.
  public var interface: SiteInterface?
  /// Whether what this agent's flows carry may be captured from remote.
  public var capture = false
  /// Why the operator on site has switched it off, as its user is told: then nothing of it is reached. `nil` if it is on.
  public var veto: String?

  public init(
    agent: String, device: IPPrefix?, tcp: [PortRange], udp: [PortRange], ftp: [PortRange] = [], echo: Bool
  ) {
    self.agent = agent
    self.device = device
    self.tcp = tcp
    self.udp = udp
    self.ftp = ftp
    self.echo = echo
  }

  public init(agent: String, interface: SiteInterface) {
    self.init(agent: agent, device: nil, tcp: [], udp: [], echo: false)
    self.interface = interface
  }
}

extension SiteRule {
  /// What is left of it within a grant's limits: of an interface, nothing.
  ///
  /// FTP's data connections belong to a control connection, which is judged like any other. A capture shows what others
  /// do, too.
  func narrowed(to limits: PortLimits) -> SiteRule {
    var rule = self
    rule.tcp = PortLimits.intersection(tcp, limits.tcp)
    rule.udp = PortLimits.intersection(udp, limits.udp)
    rule.ftp = PortLimits.intersection(ftp, limits.tcp)
    rule.echo = echo && limits.icmp
    rule.interface = nil
    rule.capture = false
    return rule
  }
}

/// An interface of the site's host, as an agent offers it.
public struct SiteInterface: Hashable, Sendable {
  public var name: String
  public var access: InterfaceAccess

  public init(_ name: String, _ access: InterfaceAccess) {
    self.name = name
    self.access = access
  }
}

/// What one session may reach: the site's own agents and the grant, each alone enough to say no.
public struct SitePolicy: Sendable {
  /// The site's own, with the ports that the grant gives.
  private var rules: [String: SiteRule]
  private let limits: [String: PortLimits]
  private let granted: Set<String>?
  private let expires: Instant?
  /// Addresses of the site's own interfaces: reached only where an agent names them.
  private let own: Set<IPAddress>

  /// - Parameters:
  ///   - granted: agents that the grant names; `nil` for all of the site.
  ///   - limits: the ports that the grant gives of an agent; of one that isn't named, all that its rule permits.
  ///   - expires: when the grant ends.
  public init(
    rules: [SiteRule], granted: Set<String>?, limits: [String: PortLimits] = [:], expires: Instant?,
    own: Set<IPAddress> = []
  ) {
    self.rules = Self.narrowed(rules, limits)
    self.limits = limits
    self.granted = granted
    self.expires = expires
    self.own = own
  }

  /// Later requests are judged by these rules.
  public mutating func replaceRules(_ rules: [SiteRule]) {
    self.rules = Self.narrowed(rules, limits)
  }

  private static func narrowed(_ rules: [SiteRule], _ limits: [String: PortLimits]) -> [String: SiteRule] {
    Dictionary(
      rules.map { rule in (rule.agent, limits[rule.agent].map { rule.narrowed(to: $0) } ?? rule) },
      uniquingKeysWith: { first, _ in first })
  }

  /// Whether a flow that is open may go on.
  ///
  /// - Parameter isFTPData: whether a control connection of FTP has announced it.
  func permits(
    agent: String, _ kind: StreamProtocol, _ target: Endpoint, isFTPData: Bool = false
  ) -> Bool {
    guard let rule = rules[agent], rule.veto == nil, granted?.contains(agent) ?? true else { return false }
    guard let transport = kind.transport else { return Self.offers(rule, kind) }
    guard rule.device?.contains(target.address) == true else { return false }
    if isFTPData { return !rule.ftp.isEmpty }
    switch transport {
    case .icmp: return rule.echo
    case .tcp: return rule.tcp.contains { $0.contains(target.port) }
    case .udp: return rule.udp.contains { $0.contains(target.port) }
    }
  }

  /// The interface that an agent stands for, and what of it is offered.
  func interface(of agent: String) -> SiteInterface? { rules[agent]?.interface }

  /// Whether a port of an agent carries FTP control connections.
  func carriesFTP(agent: String, _ port: UInt16) -> Bool {
    rules[agent]?.ftp.contains { $0.contains(port) } ?? false
  }

  public var deadline: Instant? { expires }

  /// The rule by which a request that is for no flow to an address is permitted, or who says no and why.
  public func rule(for request: OpenRequest, now: Instant) throws(Refusal) -> SiteRule {
    let rule = try grantedRule(request, now: now)
    guard Self.offers(rule, request.protocol) else {
      if limits[rule.agent] != nil { throw notGranted(rule.agent, "\(request.protocol)") }
      throw Refusal(.portNotPermitted, "agent \(rule.agent) doesn't permit \(request.protocol)")
    }
    return rule
  }

  private func grantedRule(_ request: OpenRequest, now: Instant) throws(Refusal) -> SiteRule {
    if let expires, now >= expires { throw Refusal(.grantEnded) }
    guard let rule = rules[request.agent] else { throw Refusal(.unknownAgent, request.agent) }
    guard granted?.contains(rule.agent) ?? true else { throw Refusal(.notGranted, rule.agent) }
    // Older LinkManagers know no reason of its own for it.
    if let veto = rule.veto { throw Refusal(.portNotPermitted, "agent \(rule.agent): \(veto)") }
    return rule
  }

  private static func offers(_ rule: SiteRule, _ kind: StreamProtocol) -> Bool {
    switch kind {
    case .discovery: rule.interface.map { !$0.access.discovery.isEmpty || $0.access.assignment } ?? false
    case .capture: rule.capture
    case .ethernet: rule.interface?.access.ethernet != nil
    case .icmp, .tcp, .udp: false
    }
  }

  /// The device endpoint for a request, or who says no and why.
  public func target(for request: OpenRequest, now: Instant) throws(Refusal) -> Endpoint {
    try target(for: request, announced: FTPPinholes(), now: now).endpoint
  }

  /// The same, when data connections of FTP were announced.
  ///
  /// - Returns: also, whether the endpoint is permitted only because it was announced.
  func target(
    for request: OpenRequest, announced: FTPPinholes, now: Instant
  ) throws(Refusal) -> (endpoint: Endpoint, isFTPData: Bool) {
    let rule = try grantedRule(request, now: now)
    guard let device = rule.device, let transport = request.protocol.transport else {
      throw Refusal(.addressNotPermitted, "agent \(rule.agent) is an interface of the site")
    }
    switch transport {
    case .icmp:
      guard rule.echo else {
        if limits[rule.agent] != nil { throw notGranted(rule.agent, "ping") }
        throw Refusal(.portNotPermitted, "agent \(rule.agent) doesn't permit ping")
      }
    case .tcp, .udp:
      let ranges = transport == .tcp ? rule.tcp : rule.udp
      if !ranges.contains(where: { $0.contains(request.port) }) {
        let endpoint = Endpoint(try address(of: device, rule, request), request.port)
        guard transport == .tcp, !rule.ftp.isEmpty,
          announced.contains(endpoint, of: rule.agent, now: now)
        else {
          if limits[rule.agent] != nil {
            throw notGranted(rule.agent, "\(transport == .tcp ? "TCP" : "UDP") \(request.port)")
          }
          throw Refusal(.portNotPermitted, "agent \(rule.agent) doesn't permit \(transport) \(request.port)")
        }
        return (endpoint, true)
      }
    }
    return (Endpoint(try address(of: device, rule, request), request.port), false)
  }

  /// A limit says no, or the agent as well: the limit is what the user can be told to ask for.
  private func notGranted(_ agent: String, _ wanted: String) -> Refusal {
    Refusal(.notGranted, "of agent \(agent) it gives \(limits[agent] ?? PortLimits()), and not \(wanted)")
  }

  private func address(of device: IPPrefix, _ rule: SiteRule, _ request: OpenRequest) throws(Refusal) -> IPAddress {
    guard device.length < device.address.bitWidth else {
      guard request.hostOffset == nil || request.hostOffset == 0 else {
        throw Refusal(.addressNotPermitted, "agent \(rule.agent) is one device")
      }
      return device.address
    }
    guard let offset = request.hostOffset, let address = device.address(at: offset) else {
      throw Refusal(.addressNotPermitted, "no such host in the subnet of agent \(rule.agent)")
    }
    // The subnet's own name and its broadcast address are no hosts (RFC 1122 section 3.2.1.3).
    let isV4Edge = address.family == .v4 && device.length < 31 && (offset == 0 || offset == device.lastOffset)
    guard !isV4Edge, !Self.isNeverDialled(address), !own.contains(address) else {
      throw Refusal(.addressNotPermitted, "the site doesn't dial this host of agent \(rule.agent)")
    }
    return address
  }

  /// Never reached through a subnet: loopback, link-local, multicast, broadcast, the unspecified address.
  static func isNeverDialled(_ address: IPAddress) -> Bool {
    address.isLoopback || address.isLinkLocal || address.isMulticast || address.isBroadcast || address.isUnspecified
      || address.isV4Mapped
  }
}
