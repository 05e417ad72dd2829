import Testing

@testable import Control

@Suite struct PortLimitsTests {
  /// Beside a slow one, port by port.
  @Test func unionsAndIntersections() {
    for _ in 0..<200 {
      let ranges = {
        (0..<Int.random(in: 0...4)).map { _ -> PortRange in
          let lower = UInt16.random(in: 1...60)
          return PortRange(lower, lower + UInt16.random(in: 0...10))!
        }
      }
      let (left, right) = (ranges(), ranges())
      let ports = { (ranges: [PortRange]) in Set(ranges.flatMap { $0.lower...$0.upper }) }
      let both = PortLimits.intersection(left, right)
      #expect(ports(both) == ports(left).intersection(ports(right)))
      let either = PortLimits(tcp: left).union(PortLimits(tcp: right)).tcp
      #expect(ports(either) == ports(left).union(ports(right)))
      for (one, next) in zip(either, either.dropFirst()) { #expect(one.upper + 1 < next.lower) }
    }
    #expect(PortLimits.merged([.all, .all]) == [.all])
  }

  @Test func anAgentIsNarrowed() {
    let web = PortLimits(tcp: [80, 443, 3389, 5900].compactMap { PortRange($0) })
    #expect(web.description == "TCP 80,443,3389,5900")
    let agent = AgentDescription(
      name: "x", target: .device(.v4), tcp: [.all], udp: [.all], ftp: [PortRange(21)!], icmp: true)
    let left = web.narrowing(agent)
    #expect(left?.tcp == web.tcp && left?.udp == [] && left?.ftp == [] && left?.icmp == false)
    // Nothing without a port, and nothing that has none.
    #expect(web.narrowing(AgentDescription(name: "x", target: .device(.v4), icmp: true)) == nil)
    let interface = AgentDescription(name: "x", target: .interface(InterfaceAccess(discovery: ["arp"])), tcp: [.all])
    #expect(web.narrowing(interface) == nil)
    var captured = agent
    captured.capture = true
    #expect(PortLimits(tcp: [.all], udp: [.all], icmp: true).narrowing(captured)?.capture == false)
    #expect(PortLimits().description == "no port")
  }
}
