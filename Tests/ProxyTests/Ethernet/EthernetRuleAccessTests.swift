import Control
import Foundation
import Packet
import Primitives
import Testing

@testable import Proxy

struct EthernetRuleAccessTests {
  @Test func `a rule survives its announcement`() throws {
    let access = EthernetAccess(
      types: ["profinet", "arp", "0x88b5", "llc"], devices: ["00:0e:8c", "00:1b:1b:00:00:01"], vlans: ["0", "10-19"],
      network: "192.168.10.0/24", tcp: [PortRange(80)!], udp: [], ping: true, isOpenToPC: true, broadcasts: 10)
    let description = AgentDescription(name: "cell", target: .interface(InterfaceAccess(ethernet: access)))
    let read = try JSONDecoder().decode(AgentDescription.self, from: try JSONEncoder().encode(description))
    #expect(read == description)
    let rule = try #require(EthernetRule(access))
    #expect(rule.types == [.profinet, .arp, EtherType(rawValue: 0x88B5)])
    #expect(rule.permitsLength && rule.permitsPing && rule.permitsOpeningToPC)
    #expect(rule.devices.map(\.length) == [24, 48])
    #expect(rule.vlans == [0...0, 10...19])
    #expect(rule.tcp == [80...80] && rule.udp == [])
    #expect(rule.broadcastRate == 10 && rule.multicastRate == EthernetRule.standardMulticastRate)
  }

  @Test func `what isn't understood permits nothing`() {
    #expect(EthernetRule(EthernetAccess(types: ["arp", "tomorrow"]))?.types == [.arp])
    #expect(EthernetRule(EthernetAccess(types: ["arp"], devices: ["00:0e:8c", "everybody"])) == nil)
    #expect(EthernetRule(EthernetAccess(types: ["arp"], vlans: ["4095"])) == nil)
    #expect(EthernetRule(EthernetAccess(types: ["arp"], network: "here")) == nil)
  }

  @Test func `groups are joined as far as the types need them`() {
    #expect(EthernetRule(types: [.arp]).groups == [])
    #expect(EthernetRule(types: [.profinet]).groups == [MACAddress(0x010E_CF00_0000)])
    #expect(EthernetRule(types: [.ipv4]).groups == nil)
    #expect(EthernetRule(types: [], permitsLength: true).groups == nil)
  }
}
