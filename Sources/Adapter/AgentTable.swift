import Control
import Framing
import Primitives

/// An agent as it can be reached from this side.
public struct AgentAlias: Hashable, Sendable {
  public let site: String
  public let agent: AgentDescription
  /// The addresses that stand for the device or subnet; none for an interface.
  public let v4: IPPrefix?
  public let v6: IPPrefix?

  /// `site/agent`
  public var name: String { "\(site)/\(agent.name)" }

  var isSubnet: Bool {
    if case .subnet = agent.target { return true }
    return false
  }
}

/// Whether a packet may leave, and who says so.
public enum Verdict: Hashable, Sendable {
  /// The agent permits it. For a subnet: which host, counted from the subnet's first address.
  case permitted(AgentAlias, hostOffset: UInt128?)
  case denied(Denial)
}

/// Which rule keeps a packet from leaving.
public enum Denial: Hashable, Sendable, CustomStringConvertible {
  /// No agent of a connected site has this address.
  case noAgent(IPAddress)
  case portNotPermitted(AgentAlias, TransportProtocol, UInt16)
  case echoNotPermitted(AgentAlias)

  public var description: String {
    switch self {
    case .noAgent(let address): return "no agent of a connected site has the address \(address)"
    case .portNotPermitted(let alias, let transport, let port):
      let ranges = transport == .tcp ? alias.agent.tcp : alias.agent.udp
      let permitted =
        ranges.isEmpty ? "no \(transport) port" : "\(transport) \(ranges.map(\.description).joined(separator: ", "))"
      return "agent \(alias.name) permits \(permitted), not \(port)"
    case .echoNotPermitted(let alias): return "agent \(alias.name) doesn't permit ping"
    }
  }

  /// Short name for counters.
  public var label: String {
    switch self {
    case .noAgent: "no agent"
    case .portNotPermitted: "port not permitted"
    case .echoNotPermitted: "ping not permitted"
    }
  }
}

/// The filter: everything that agents of live grants permit, and nothing else. Looked up once a flow.
public struct AgentTable: Sendable {
  private var allocator: AliasAllocator
  private(set) var aliases: [AgentAlias?] = []
  private var free: [Int] = []
  /// Devices, by their alias.
  private var devices: [IPAddress: Int] = [:]
  /// Subnets: few, so that a search in order is as good as a tree.
  private var subnets: [(prefix: IPPrefix, index: Int)] = []

  public init(pool: AliasPool = .standard) {
    allocator = AliasAllocator(pool: pool)
  }

  public var pool: AliasPool { allocator.pool }

  /// All agents that can be reached, by site and name.
  public var all: [AgentAlias] {
    aliases.compactMap { $0 }.sorted { $0.name < $1.name }
  }

  /// Makes the agents of a site reachable. Replaces what the site had.
  ///
  /// - Returns: agents for which the pool has no alias.
  @discardableResult
  public mutating func add(site: String, agents: [AgentDescription]) -> [String] {
    remove(site: site)
    var homeless: [String] = []
    for agent in agents {
      let name = "\(site)/\(agent.name)"
      if case .interface = agent.target {
        insert(AgentAlias(site: site, agent: agent, v4: nil, v6: nil))
        continue
      }
      let (v4, v6) = allocator.allocate(name, hostBits: Self.hostBits(agent.target))
      guard v4 != nil || v6 != nil else {
        homeless.append(agent.name)
        continue
      }
      insert(AgentAlias(site: site, agent: agent, v4: v4, v6: v6))
    }
    return homeless
  }

  public mutating func remove(site: String) {
    for index in aliases.indices where aliases[index]?.site == site {
      guard let alias = aliases[index] else { continue }
      for prefix in [alias.v4, alias.v6].compactMap({ $0 }) {
        allocator.release(prefix)
        devices[prefix.address] = nil
      }
      subnets.removeAll { $0.index == index }
      aliases[index] = nil
      free.append(index)
    }
  }

  /// Keeps aliases out of these networks, from now on, and gives those that are in one another place. One that has none
  /// of the other family and finds no room goes on without: its site has to be connected anew.
  mutating func avoid(_ networks: [IPPrefix]) -> [AliasMove] {
    allocator.avoided = networks
    var moves: [AliasMove] = []
    for index in aliases.indices {
      guard let old = aliases[index] else { continue }
      let isHidden = { (prefix: IPPrefix?) in
        prefix.map { prefix in networks.contains { $0.overlaps(prefix) } } ?? false
      }
      guard isHidden(old.v4) || isHidden(old.v6) else { continue }
      // All of its places at once: the other family's is found again where it was.
      for prefix in [old.v4, old.v6].compactMap({ $0 }) {
        allocator.release(prefix)
        devices[prefix.address] = nil
      }
      subnets.removeAll { $0.index == index }
      let (v4, v6) = allocator.allocate(old.name, hostBits: Self.hostBits(old.agent.target))
      let new = AgentAlias(site: old.site, agent: old.agent, v4: v4, v6: v6)
      place(new, at: index)
      for (from, to) in [(old.v4, v4), (old.v6, v6)] {
        guard let from, from != to else { continue }
        moves.append(AliasMove(agent: old.name, from: from, to: to))
      }
    }
    return moves
  }

  /// Which agent an address belongs to.
  public func alias(of address: IPAddress) -> (alias: AgentAlias, hostOffset: UInt128?)? {
    if let index = devices[address], let alias = aliases[index] { return (alias, nil) }
    for (prefix, index) in subnets {
      if let offset = prefix.offset(of: address), let alias = aliases[index] { return (alias, offset) }
    }
    return nil
  }

  /// Decides about a flow.
  public func verdict(_ transport: TransportProtocol, _ destination: Endpoint) -> Verdict {
    guard let (alias, offset) = alias(of: destination.address) else {
      return .denied(.noAgent(destination.address))
    }
    switch transport {
    case .icmp:
      guard alias.agent.icmp else { return .denied(.echoNotPermitted(alias)) }
    case .tcp, .udp:
      let ranges = transport == .tcp ? alias.agent.tcp : alias.agent.udp
      guard ranges.contains(where: { $0.contains(destination.port) }) else {
        return .denied(.portNotPermitted(alias, transport, destination.port))
      }
    }
    return .permitted(alias, hostOffset: offset)
  }

  private mutating func insert(_ alias: AgentAlias) {
    let index: Int
    if let reused = free.popLast() {
      index = reused
    } else {
      index = aliases.count
      aliases.append(alias)
    }
    place(alias, at: index)
  }

  private mutating func place(_ alias: AgentAlias, at index: Int) {
    aliases[index] = alias
    for prefix in [alias.v4, alias.v6].compactMap({ $0 }) {
      if alias.isSubnet { subnets.append((prefix, index)) } else { devices[prefix.address] = index }
    }
  }

  private static func hostBits(_ target: AgentDescription.Target) -> Int {
    switch target {
    case .device, .interface: 0
    case .subnet(let family, let prefixLength): (family == .v4 ? 32 : 128) - prefixLength
    }
  }
}
