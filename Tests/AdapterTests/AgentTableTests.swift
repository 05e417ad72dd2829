import Control
import Primitives
import Testing

@testable import Adapter

@Suite struct AgentTableTests {
  private func isPermitted(_ verdict: Verdict) -> Bool {
    if case .permitted = verdict { return true }
    return false
  }

  private static let web = AgentDescription(
    name: "web", target: .device(.v4), tcp: [PortRange(80)!, PortRange(8000, 8010)!], udp: [PortRange(53)!])
  private static let net = AgentDescription(
    name: "net", target: .subnet(.v4, prefixLength: 24), tcp: [PortRange(102)!], icmp: true)

  @Test func aDevicesPortsAndNothingElse() throws {
    var table = AgentTable()
    #expect(table.add(site: "hall", agents: [Self.web]) == [])
    let alias = try #require(table.all.first)
    let (v4, v6) = (try #require(alias.v4), try #require(alias.v6))
    for address in [v4.address, v6.address] {
      for port in [80, 8000, 8005, 8010] as [UInt16] {
        #expect(table.verdict(.tcp, Endpoint(address, port)) == .permitted(alias, hostOffset: nil))
      }
      for port in [0, 79, 81, 7999, 8011, 65_535] as [UInt16] {
        #expect(table.verdict(.tcp, Endpoint(address, port)) == .denied(.portNotPermitted(alias, .tcp, port)))
      }
      #expect(table.verdict(.udp, Endpoint(address, 53)) == .permitted(alias, hostOffset: nil))
      #expect(table.verdict(.udp, Endpoint(address, 80)) == .denied(.portNotPermitted(alias, .udp, 80)))
      #expect(table.verdict(.icmp, Endpoint(address, 0)) == .denied(.echoNotPermitted(alias)))
    }
    let other = IPAddress(v4: UInt32(v4.address.value) &+ 1)
    #expect(table.verdict(.tcp, Endpoint(other, 80)) == .denied(.noAgent(other)))
  }

  @Test func aSubnetsHostsByTheirPlace() throws {
    var table = AgentTable()
    table.add(site: "hall", agents: [Self.net])
    let alias = try #require(table.all.first)
    let v4 = try #require(alias.v4)
    #expect(v4.length == 24)
    for offset in [0, 1, 77, 255] as [UInt128] {
      let address = try #require(v4.address(at: offset))
      #expect(table.verdict(.tcp, Endpoint(address, 102)) == .permitted(alias, hostOffset: offset))
      #expect(table.verdict(.icmp, Endpoint(address, 0)) == .permitted(alias, hostOffset: offset))
    }
    let v6 = try #require(alias.v6?.address(at: 9))
    #expect(table.verdict(.tcp, Endpoint(v6, 102)) == .permitted(alias, hostOffset: 9))
    let outside = IPAddress(v4: UInt32(v4.address.value) &+ 256)
    #expect(table.verdict(.tcp, Endpoint(outside, 102)) == .denied(.noAgent(outside)))
  }

  @Test func aSitesAgentsAreReplacedAndRemoved() throws {
    var table = AgentTable()
    table.add(site: "a", agents: [Self.web, Self.net])
    table.add(site: "b", agents: [Self.web])
    #expect(table.all.map(\.name) == ["a/net", "a/web", "b/web"])
    let old = table.all
    var closed = Self.web
    closed.tcp = []
    table.add(site: "a", agents: [closed])
    #expect(table.all.map(\.name) == ["a/web", "b/web"])
    // The same alias, with the new rules.
    let address = try #require(old[1].v4?.address)
    #expect(table.all[0].v4?.address == address)
    #expect(!isPermitted(table.verdict(.tcp, Endpoint(address, 80))))
    let gone = try #require(old[0].v4?.address)
    #expect(table.verdict(.tcp, Endpoint(gone, 102)) == .denied(.noAgent(gone)))
    table.remove(site: "b")
    table.remove(site: "nobody")
    let removed = try #require(old[2].v4?.address)
    #expect(table.verdict(.tcp, Endpoint(removed, 80)) == .denied(.noAgent(removed)))
    #expect(table.all.count == 1)
  }

  @Test func whoGetsNoAliasIsNamed() throws {
    var table = AgentTable(pool: AliasPoolTests.small)
    let huge = AgentDescription(name: "huge", target: .subnet(.v6, prefixLength: 48), tcp: [.all])
    #expect(table.add(site: "a", agents: [huge, Self.web]) == ["huge"])
    #expect(table.all.map(\.name) == ["a/web"])
  }

  @Test func aliasesKeepOutOfTheHostsNetworks() throws {
    var table = AgentTable()
    table.add(site: "hall", agents: [Self.web, Self.net])
    let before = table.all
    let first = try #require(before[1].v4)
    let lan = try #require(IPPrefix(first.address, length: 24))
    let moves = table.avoid([lan])
    #expect(moves.map(\.agent) == ["hall/web"] && moves[0].from == before[1].v4)
    let after = table.all
    #expect(after[0] == before[0] && after[1].v6 == before[1].v6 && after[1].agent == before[1].agent)
    let (old, new) = (try #require(before[1].v4?.address), try #require(after[1].v4?.address))
    #expect(!lan.contains(new) && moves[0].to == after[1].v4)
    #expect(table.verdict(.tcp, Endpoint(old, 80)) == .denied(.noAgent(old)))
    #expect(isPermitted(table.verdict(.tcp, Endpoint(new, 80))))
    // Twice is once, and who comes later keeps out as well.
    #expect(table.avoid([lan]).isEmpty)
    table.add(site: "hall", agents: [Self.web, Self.net])
    #expect(table.all == after)
    // A subnet's alias moves as a whole.
    let eighth = try #require(after[0].v4?.address(at: 8))
    let part = try #require(IPPrefix(eighth, length: 30))
    let moved = table.avoid([lan, part])
    #expect(moved.map(\.agent) == ["hall/net"] && moved[0].to?.length == 24)
    #expect(table.all[0].v4.map { !$0.overlaps(part) } == true)
    let ninth = try #require(table.all[0].v4?.address(at: 9))
    #expect(isPermitted(table.verdict(.icmp, Endpoint(ninth, 0))))
    // The host may be in all of the pool: then there is the other family.
    #expect(table.avoid([AliasPool.standard.v4]).allSatisfy { $0.to == nil })
    #expect(table.all.allSatisfy { $0.v4 == nil && $0.v6 != nil })
  }

  /// Two names that begin at the same place in the pool: both get an alias, and never the same.
  @Test func equalPlacesAreResolved() throws {
    var table = AgentTable(pool: AliasPoolTests.small)
    let agents = (0..<700).map { AgentDescription(name: "a\($0)", target: .device(.v4), tcp: [.all]) }
    #expect(table.add(site: "x", agents: Array(agents.prefix(350))).isEmpty)
    #expect(table.add(site: "y", agents: Array(agents.suffix(350))).isEmpty)
    let taken = table.all.compactMap(\.v4)
    #expect(taken.count == 700 && Set(taken).count == 700 && Set(table.all.compactMap(\.v6)).count == 700)
  }

  /// Against a search through everything.
  @Test func agreesWithASlowSearch() throws {
    var random = SeededRandom(seed: 31)
    var table = AgentTable(pool: AliasPoolTests.small)
    var sites: [String: [AgentDescription]] = [:]
    for round in 0..<40 {
      let site = "s\(random.next() % 4)"
      if random.chance(0.3) {
        table.remove(site: site)
        sites[site] = nil
      } else {
        let agents = (0..<Int(random.next() % 8)).map { Self.agent($0, &random) }
        table.add(site: site, agents: agents)
        sites[site] = agents
      }
      let all = table.all
      for alias in all { #expect(sites[alias.site]?.contains(alias.agent) == true) }
      for _ in 0..<2500 {
        let (transport, destination) = Self.destination(&random, all)
        let expected = Self.slowVerdict(all, transport, destination)
        let verdict = table.verdict(transport, destination)
        if verdict != expected { Issue.record("round \(round): \(transport) \(destination): \(verdict)") }
      }
    }
  }

  private static func slowVerdict(
    _ all: [AgentAlias], _ transport: TransportProtocol, _ destination: Endpoint
  ) -> Verdict {
    for alias in all {
      for case let prefix? in [alias.v4, alias.v6] where prefix.contains(destination.address) {
        let ranges = transport == .tcp ? alias.agent.tcp : alias.agent.udp
        let permits = transport == .icmp ? alias.agent.icmp : ranges.contains { $0.contains(destination.port) }
        guard permits else {
          return .denied(
            transport == .icmp ? .echoNotPermitted(alias) : .portNotPermitted(alias, transport, destination.port))
        }
        let isDevice = prefix.length == prefix.address.bitWidth && alias.agent.target == .device(.v4)
        return .permitted(alias, hostOffset: isDevice ? nil : destination.address.value - prefix.address.value)
      }
    }
    return .denied(.noAgent(destination.address))
  }

  private static func agent(_ number: Int, _ random: inout SeededRandom) -> AgentDescription {
    let ports = { (random: inout SeededRandom) -> [PortRange] in
      (0..<Int(random.next() % 3)).compactMap { _ in
        let lower = UInt16(1 + random.next() % 20)
        return PortRange(lower, lower + UInt16(random.next() % 5))
      }
    }
    return AgentDescription(
      name: "agent\(number)",
      target: random.chance(0.6) ? .device(.v4) : .subnet(.v4, prefixLength: 26 + Int(random.next() % 7)),
      tcp: ports(&random), udp: ports(&random), icmp: random.chance(0.5))
  }

  /// Mostly near to what exists.
  private static func destination(
    _ random: inout SeededRandom, _ all: [AgentAlias]
  ) -> (TransportProtocol, Endpoint) {
    let transport = TransportProtocol.allCases[Int(random.next() % 3)]
    let port = UInt16(random.next() % 26)
    let base = all.isEmpty ? nil : all[Int(random.next() % UInt64(all.count))]
    if let base, random.chance(0.8), let prefix = random.chance(0.5) ? base.v4 : base.v6 {
      let value = prefix.address.value &+ UInt128(random.next() % 70) &- 3
      return (
        transport, Endpoint(prefix.address.family == .v4 ? IPAddress(v4: UInt32(value)) : IPAddress(v6: value), port)
      )
    }
    return (transport, Endpoint(IPAddress(v4: 0x0A40_0000 | UInt32(random.next() & 0x7FF)), port))
  }
}
