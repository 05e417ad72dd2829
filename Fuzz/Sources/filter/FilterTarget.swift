import Control
import Framing
import FuzzDriver
import Primitives

@testable import Adapter

/// The filter, by the operations that change it, beside a search through everything: the same verdict for each flow.
/// Aliases overlap neither each other nor the networks that they are kept out of.
@main enum FilterTarget: FuzzTarget {
  private static let pool = AliasPool(v4: IPPrefix("10.64.0.0/22")!, v6: IPPrefix("fd00::/56")!)!

  static func run(_ bytes: UnsafeBufferPointer<UInt8>) {
    var script = Script(bytes)
    var table = AgentTable(pool: pool)
    var sites: [String: [AgentDescription]] = [:]
    var homeless: Set<String> = []
    var avoided: [IPPrefix] = []
    var steps = 0
    while !script.isAtEnd, steps < 64 {
      steps += 1
      switch script.choice(8) {
      case 0, 1:
        let site = "s\(script.choice(4))"
        let agents = (0..<script.choice(6)).map { agent($0, &script) }
        homeless = homeless.filter { !$0.hasPrefix(site + "/") }
        for name in table.add(site: site, agents: agents) { homeless.insert("\(site)/\(name)") }
        sites[site] = agents
        checkAliases(table, sites, homeless, avoided)
      case 2:
        let site = "s\(script.choice(4))"
        table.remove(site: site)
        sites[site] = nil
        homeless = homeless.filter { !$0.hasPrefix(site + "/") }
        checkAliases(table, sites, homeless, avoided)
      case 3:
        avoided = (0..<script.choice(4)).compactMap { _ in network(&script) }
        let before = table.all
        let moves = table.avoid(avoided)
        for move in moves {
          check(
            before.contains { $0.name == move.agent && ($0.v4 == move.from || $0.v6 == move.from) },
            "who moves was there")
        }
        checkAliases(table, sites, homeless, avoided)
      default:
        for _ in 0..<4 { ask(table, &script) }
      }
    }
  }

  /// The slow oracle: ten lines that anyone can judge.
  private static func slowVerdict(_ all: [AgentAlias], _ transport: TransportProtocol, _ to: Endpoint) -> Verdict {
    for alias in all {
      for case let prefix? in [alias.v4, alias.v6] where prefix.contains(to.address) {
        let ranges = transport == .tcp ? alias.agent.tcp : alias.agent.udp
        let permits =
          transport == .icmp ? alias.agent.icmp : ranges.contains { $0.lower <= to.port && to.port <= $0.upper }
        guard permits else {
          return .denied(transport == .icmp ? .echoNotPermitted(alias) : .portNotPermitted(alias, transport, to.port))
        }
        if case .device = alias.agent.target { return .permitted(alias, hostOffset: nil) }
        return .permitted(alias, hostOffset: to.address.value - prefix.address.value)
      }
    }
    return .denied(.noAgent(to.address))
  }

  private static func ask(_ table: AgentTable, _ script: inout Script) {
    let transport = TransportProtocol.allCases[script.choice(3)]
    let port = UInt16(script.choice(28))
    let all = table.all
    let value = script.byte()
    var address = IPAddress(v4: 0x0A40_0000 | UInt32(script.word() & 0x7FF))
    if value & 1 == 0, !all.isEmpty {
      let alias = all[Int(value >> 1) % all.count]
      if let prefix = script.flag() ? alias.v4 : alias.v6 {
        let near = prefix.address.value &+ UInt128(script.choice(80)) &- 3
        address = prefix.address.family == .v4 ? IPAddress(v4: UInt32(truncatingIfNeeded: near)) : IPAddress(v6: near)
      }
    }
    let destination = Endpoint(address, port)
    let verdict = table.verdict(transport, destination)
    check(verdict == slowVerdict(all, transport, destination), "\(transport) \(destination): \(verdict)")
    if case .denied(let denial) = verdict { check(!denial.label.isEmpty, "a denial has a name") }
  }

  private static func checkAliases(
    _ table: AgentTable, _ sites: [String: [AgentDescription]], _ homeless: Set<String>, _ avoided: [IPPrefix]
  ) {
    let all = table.all
    let prefixes = all.flatMap { [$0.v4, $0.v6].compactMap { $0 } }
    for (index, prefix) in prefixes.enumerated() {
      check(
        prefix.address.family == .v4 ? pool.v4.contains(prefix.address) : pool.v6.contains(prefix.address),
        "in the pool")
      check(!prefix.contains(pool.own.v4) && !prefix.contains(pool.own.v6), "not the adapter's own")
      for other in prefixes[(index + 1)...] { check(!prefix.overlaps(other), "aliases don't overlap") }
      check(!avoided.contains { $0.overlaps(prefix) }, "aliases keep out of the host's networks")
    }
    let wanted = sites.values.reduce(0) { $0 + $1.count }
    check(all.count == wanted - homeless.count, "each agent has an alias, or is named")
    for alias in all {
      check(sites[alias.site]?.contains(alias.agent) == true, "the site's own agents, as they are now")
    }
  }

  private static func agent(_ number: Int, _ script: inout Script) -> AgentDescription {
    let flags = script.byte()
    let ports = { (script: inout Script) -> [PortRange] in
      (0..<script.choice(3)).compactMap { _ in
        let lower = UInt16(1 + script.choice(20))
        return PortRange(lower, lower + UInt16(script.choice(5)))
      }
    }
    let target: AgentDescription.Target =
      switch flags & 7 {
      case 0...3: .device(flags & 8 == 0 ? .v4 : .v6)
      case 4, 5: .subnet(.v4, prefixLength: 22 + script.choice(11))
      default: .subnet(.v6, prefixLength: 60 + script.choice(69))
      }
    return AgentDescription(
      name: "a\(number)", target: target, tcp: ports(&script), udp: ports(&script), icmp: flags & 16 != 0)
  }

  private static func network(_ script: inout Script) -> IPPrefix? {
    if script.flag() {
      return IPPrefix(IPAddress(v4: 0x0A40_0000 | UInt32(script.word() & 0xFFF)), length: 18 + script.choice(15))
    }
    return IPPrefix(IPAddress(v6: 0xFD00 << 112 | UInt128(script.quad())), length: 48 + script.choice(81))
  }

  static var seeds: [[UInt8]] {
    let device: [UInt8] = [0x10, 1, 9, 4, 1, 4, 0]
    let subnet: [UInt8] = [0x14, 4, 1, 9, 4, 1, 4, 0]
    let six: [UInt8] = [0x16, 60, 1, 9, 4, 0]
    let ask: [UInt8] = (0..<8).flatMap { [4, UInt8($0) % 3, 10, UInt8($0) * 2, 1, 0, 1, UInt8($0) * 9] as [UInt8] }
    return [
      [0, 0, 3] + device + subnet + six + ask, [0, 0, 2] + device + subnet + [2, 0] + ask,
      [0, 0, 2] + device + subnet + [3, 2, 1, 1, 0, 4, 0] + [0, 0, 0, 0, 0, 0, 1, 0, 20] + ask,
      [0, 1, 1] + device + [0, 2, 1] + subnet + [0, 1, 1] + six + [3, 1, 1, 0, 0, 0] + ask + ask,
    ]
  }
}
