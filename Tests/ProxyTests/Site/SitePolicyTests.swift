import Control
import Framing
import Primitives
import Testing

@testable import Proxy

@Suite struct SitePolicyTests {
  private static let now = Instant(nanoseconds: 1_000)
  private static let plc = SiteRule(
    agent: "plc", device: IPPrefix("192.168.1.10")!, tcp: [PortRange(102)!, PortRange(8000, 8010)!],
    udp: [PortRange(161)!], echo: false)
  private static let ping = SiteRule(
    agent: "ping", device: IPPrefix("fd00::9")!, tcp: [], udp: [], echo: true)

  private static let cell: SiteRule = {
    var rule = SiteRule(agent: "cell", interface: SiteInterface("eth1", InterfaceAccess(discovery: ["dcp"])))
    rule.capture = true
    return rule
  }()

  private func refusal(
    _ policy: SitePolicy, _ agent: String, _ kind: StreamProtocol, now: Instant = SitePolicyTests.now
  ) -> Refusal.Reason? {
    do throws(Refusal) {
      _ = try policy.rule(for: OpenRequest(agent: agent, protocol: kind), now: now)
      return nil
    } catch {
      return error.reason
    }
  }

  @Test func servicesAreOfferedByTheirAgentsOnly() {
    let policy = SitePolicy(rules: [Self.plc, Self.cell], granted: nil, expires: Instant(nanoseconds: 2_000))
    #expect(refusal(policy, "cell", .discovery) == nil && refusal(policy, "cell", .capture) == nil)
    #expect(refusal(policy, "cell", .ethernet) == .portNotPermitted)
    #expect(
      refusal(policy, "plc", .discovery) == .portNotPermitted && refusal(policy, "plc", .capture) == .portNotPermitted)
    #expect(refusal(policy, "other", .discovery) == .unknownAgent)
    #expect(refusal(policy, "cell", .discovery, now: Instant(nanoseconds: 2_000)) == .grantEnded)
    let others = SitePolicy(rules: [Self.cell], granted: ["plc"], expires: nil)
    #expect(refusal(others, "cell", .discovery) == .notGranted)
    // No address is behind an interface.
    guard case .failure(let reason) = judge(policy, "cell") else {
      Issue.record("an interface has an address")
      return
    }
    #expect(reason.reason == .addressNotPermitted)
    #expect(
      policy.permits(agent: "cell", .capture, .unspecified) && !policy.permits(agent: "plc", .capture, .unspecified))
  }

  private func net(_ prefix: String) -> SiteRule {
    SiteRule(agent: "net", device: IPPrefix(prefix)!, tcp: [.all], udp: [.all], echo: true)
  }

  /// The endpoint, or why not.
  private func judge(
    _ policy: SitePolicy, _ agent: String, _ transport: TransportProtocol = .tcp, port: UInt16 = 102,
    host: UInt128? = nil, now: Instant = SitePolicyTests.now
  ) -> Result<Endpoint, Refusal> {
    do throws(Refusal) {
      let request = OpenRequest(agent: agent, transport: transport, port: port, hostOffset: host)
      return .success(try policy.target(for: request, now: now))
    } catch {
      return .failure(error)
    }
  }

  private func reason(_ result: Result<Endpoint, Refusal>) -> Refusal.Reason? {
    if case .failure(let refusal) = result { return refusal.reason }
    return nil
  }

  @Test func grantAndRulesMustBothAgree() throws {
    let device = Endpoint(try #require(IPAddress("192.168.1.10")), 102)
    let both = SitePolicy(rules: [Self.plc], granted: ["plc"], expires: nil)
    #expect(judge(both, "plc") == .success(device))
    let all = SitePolicy(rules: [Self.plc], granted: nil, expires: nil)
    #expect(judge(all, "plc") == .success(device))
    let otherGrant = SitePolicy(rules: [Self.plc], granted: ["hmi"], expires: nil)
    #expect(reason(judge(otherGrant, "plc")) == .notGranted)
    #expect(reason(judge(otherGrant, "hmi")) == .unknownAgent)
    let noGrant = SitePolicy(rules: [Self.plc], granted: [], expires: nil)
    #expect(reason(judge(noGrant, "plc")) == .notGranted)
    let noRules = SitePolicy(rules: [], granted: ["plc"], expires: nil)
    #expect(reason(judge(noRules, "plc")) == .unknownAgent)
    #expect(reason(judge(all, "PLC")) == .unknownAgent)
    #expect(reason(judge(all, "")) == .unknownAgent)
  }

  /// Neither more than the grant gives, nor more than the site has.
  @Test func aGrantsPortsAndTheRulesMustBothAgree() throws {
    var rule = Self.plc
    (rule.ftp, rule.echo, rule.capture) = ([PortRange(8000)!, PortRange(102)!], true, true)
    let limits = PortLimits(tcp: [PortRange(102)!, PortRange(8010, 8020)!], udp: [PortRange(53)!])
    var policy = SitePolicy(
      rules: [rule, Self.ping, Self.cell], granted: nil, limits: ["plc": limits, "cell": limits], expires: nil)
    for port in [102, 8010] as [UInt16] { #expect(reason(judge(policy, "plc", port: port)) == nil) }
    for port in [8000, 8009, 8011, 8020, 53] as [UInt16] {
      #expect(reason(judge(policy, "plc", port: port)) == .notGranted)
    }
    for port in [161, 53] as [UInt16] { #expect(reason(judge(policy, "plc", .udp, port: port)) == .notGranted) }
    #expect(reason(judge(policy, "plc", .icmp, port: 0)) == .notGranted)
    #expect(refusal(policy, "plc", .capture) == .notGranted)
    #expect(policy.carriesFTP(agent: "plc", 102) && !policy.carriesFTP(agent: "plc", 8000))
    // An interface has no ports: nothing of it is given.
    #expect(refusal(policy, "cell", .discovery) == .notGranted && refusal(policy, "cell", .capture) == .notGranted)
    #expect(!policy.permits(agent: "cell", .discovery, .unspecified) && policy.interface(of: "cell") == nil)
    // Others are given in whole, and what the site changes later is judged by the same grant.
    #expect(reason(judge(policy, "ping", .icmp, port: 0)) == nil)
    rule.tcp = [.all]
    policy.replaceRules([rule])
    #expect(reason(judge(policy, "plc", port: 8020)) == nil && reason(judge(policy, "plc", port: 22)) == .notGranted)
    let target = Endpoint(try #require(IPAddress("192.168.1.10")), 22)
    #expect(!policy.permits(agent: "plc", .tcp, target))
    guard case .failure(let told) = judge(policy, "plc", port: 22) else { return }
    #expect(
      told.description
        == "the grant doesn't cover the agent: of agent plc it gives TCP 102,8010-8020 UDP 53, and not TCP 22")
  }

  @Test func portsAndProtocolsOfTheRuleOnly() {
    let policy = SitePolicy(rules: [Self.plc, Self.ping], granted: nil, expires: nil)
    for port in [102, 8000, 8010] as [UInt16] { #expect(reason(judge(policy, "plc", port: port)) == nil) }
    for port in [0, 101, 103, 7999, 8011, .max] as [UInt16] {
      #expect(reason(judge(policy, "plc", port: port)) == .portNotPermitted)
    }
    #expect(reason(judge(policy, "plc", .udp, port: 161)) == nil)
    #expect(reason(judge(policy, "plc", .udp, port: 102)) == .portNotPermitted)
    #expect(reason(judge(policy, "plc", .icmp, port: 0)) == .portNotPermitted)
    #expect(reason(judge(policy, "ping", .icmp, port: 0)) == nil)
    #expect(reason(judge(policy, "ping", .tcp)) == .portNotPermitted)
  }

  @Test func aGrantEnds() {
    let end = Self.now + .seconds(1)
    let policy = SitePolicy(rules: [Self.plc], granted: nil, expires: end)
    #expect(policy.deadline == end)
    #expect(reason(judge(policy, "plc", now: Self.now)) == nil)
    #expect(reason(judge(policy, "plc", now: end)) == .grantEnded)
    #expect(reason(judge(policy, "plc", now: end + .seconds(1))) == .grantEnded)
    // Whoever's grant is over isn't told what there is.
    #expect(reason(judge(policy, "nobody", now: end)) == .grantEnded)
  }

  @Test func aDeviceIsOneAddress() {
    let policy = SitePolicy(rules: [Self.plc], granted: nil, expires: nil)
    #expect(reason(judge(policy, "plc", host: nil)) == nil)
    #expect(judge(policy, "plc", host: 0) == judge(policy, "plc"))
    for host in [1, 255, .max] as [UInt128] {
      #expect(reason(judge(policy, "plc", host: host)) == .addressNotPermitted)
    }
  }

  @Test func aSubnetsHostsLieWithinIt() throws {
    let policy = SitePolicy(rules: [net("192.168.7.0/24")], granted: nil, expires: nil)
    #expect(judge(policy, "net", host: 1) == .success(Endpoint(try #require(IPAddress("192.168.7.1")), 102)))
    #expect(judge(policy, "net", host: 254) == .success(Endpoint(try #require(IPAddress("192.168.7.254")), 102)))
    for host in [nil, 0, 255, 256, 1 << 32, .max] as [UInt128?] {
      #expect(reason(judge(policy, "net", host: host)) == .addressNotPermitted)
    }
    // Both addresses of a /31 are hosts (RFC 3021).
    let pair = SitePolicy(rules: [net("10.0.0.2/31")], granted: nil, expires: nil)
    for host in [0, 1] as [UInt128] { #expect(reason(judge(pair, "net", host: host)) == nil) }
    #expect(reason(judge(pair, "net", host: 2)) == .addressNotPermitted)
    let v6 = SitePolicy(rules: [net("fd00:1::/64")], granted: nil, expires: nil)
    #expect(judge(v6, "net", host: 0xAB) == .success(Endpoint(try #require(IPAddress("fd00:1::ab")), 102)))
    #expect(reason(judge(v6, "net", host: 1 << 64)) == .addressNotPermitted)
  }

  @Test(arguments: [
    ("0.0.0.0/0", "127.0.0.1"), ("0.0.0.0/0", "127.255.255.254"), ("127.0.0.0/8", "127.0.0.1"),
    ("0.0.0.0/0", "169.254.169.254"), ("0.0.0.0/0", "224.0.0.1"), ("0.0.0.0/0", "239.1.2.3"),
    ("0.0.0.0/0", "255.255.255.255"), ("0.0.0.0/0", "0.0.0.0"), ("0.0.0.0/0", "192.168.1.1"), ("::/0", "::1"),
    ("::/0", "::"), ("::/0", "fe80::1"), ("::/0", "ff02::1"), ("::/0", "::ffff:127.0.0.1"),
    ("::/0", "::ffff:192.168.1.10"), ("::/0", "fd00::1"),
  ])
  func aSubnetNeverLeadsToTheSiteItselfOrToMany(prefix: String, target: String) throws {
    let own: Set<IPAddress> = [try #require(IPAddress("192.168.1.1")), try #require(IPAddress("fd00::1"))]
    let rule = net(prefix)
    let policy = SitePolicy(rules: [rule], granted: nil, expires: nil, own: own)
    let address = try #require(IPAddress(target))
    let offset = try #require(rule.device?.offset(of: address))
    for transport in TransportProtocol.allCases {
      #expect(reason(judge(policy, "net", transport, host: offset)) == .addressNotPermitted)
    }
  }

  @Test func anAgentMayNameWhatNoSubnetReaches() throws {
    let own = try #require(IPAddress("192.168.1.1"))
    for address in [own, IPAddress(127, 0, 0, 1)] {
      var rule = Self.plc
      rule.device = IPPrefix(address, length: 32)
      let policy = SitePolicy(rules: [rule], granted: nil, expires: nil, own: [own])
      #expect(judge(policy, "plc") == .success(Endpoint(address, 102)))
    }
  }

  @Test func whatIsOffIsNotReached() throws {
    var (off, cell) = (Self.plc, Self.cell)
    off.veto = "switched off on site: press 4"
    cell.veto = "switched off on site"
    var policy = SitePolicy(rules: [Self.plc, Self.ping], granted: nil, expires: nil)
    policy.replaceRules([off, Self.ping, cell])
    let target = Endpoint(try #require(IPAddress("192.168.1.10")), 102)
    #expect(!policy.permits(agent: "plc", .tcp, target) && !policy.permits(agent: "cell", .capture, .unspecified))
    #expect(refusal(policy, "cell", .discovery) == .portNotPermitted)
    #expect(reason(judge(policy, "ping", .icmp, port: 0)) == nil)
    guard case .failure(let told) = judge(policy, "plc") else {
      Issue.record("it is reached")
      return
    }
    #expect(
      told.description == "the agent doesn't permit the port: agent plc: switched off on site: press 4")
    policy.replaceRules([Self.plc])
    #expect(reason(judge(policy, "plc")) == nil)
  }

  @Test func openFlowsAreJudgedByNewRules() throws {
    let target = Endpoint(try #require(IPAddress("192.168.1.10")), 102)
    var policy = SitePolicy(rules: [Self.plc], granted: ["plc"], expires: nil)
    #expect(policy.permits(agent: "plc", .tcp, target))
    #expect(!policy.permits(agent: "plc", .udp, target))
    #expect(!policy.permits(agent: "plc", .icmp, target))
    #expect(!policy.permits(agent: "hmi", .tcp, target))
    var moved = Self.plc
    moved.device = IPPrefix("192.168.1.11")
    policy.replaceRules([moved])
    #expect(!policy.permits(agent: "plc", .tcp, target), "the agent is another device now")
    var narrower = Self.plc
    narrower.tcp = [try #require(PortRange(8000, 8010))]
    policy.replaceRules([narrower])
    #expect(!policy.permits(agent: "plc", .tcp, target))
    policy.replaceRules([Self.plc])
    #expect(policy.permits(agent: "plc", .tcp, target))
    policy.replaceRules([])
    #expect(!policy.permits(agent: "plc", .tcp, target))
    #expect(reason(judge(policy, "plc")) == .unknownAgent)
  }
}
