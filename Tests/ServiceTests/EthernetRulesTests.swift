import Control
import Testing

@testable import Service

/// `ethernet:` in the agents file.
struct EthernetRulesTests {
  private func read(_ ethernet: String) throws -> EthernetAccess? {
    let agents = try AgentsFile.parse(
      "agents:\n  - name: cell\n    interface: eth1\n    ethernet: \(ethernet)\n", file: "agents.yaml")
    guard case .interface(_, let access) = agents[0].place else { return nil }
    return access.ethernet
  }

  private func problems(_ ethernet: String) -> [String] {
    do {
      _ = try read(ethernet)
      return []
    } catch let error as ConfigurationError {
      return error.problems.map(\.message)
    } catch {
      return ["\(error)"]
    }
  }

  @Test func `a list of types alone, or all that there is`() throws {
    #expect(try read("[profinet, 0x88b5, llc]") == EthernetAccess(types: ["profinet", "0x88b5", "llc"]))
    #expect(try read("lldp") == EthernetAccess(types: ["lldp"]))
    let all = try read(
      """

            types: [arp, ipv4]
            devices: ["00:0e:8c", "00-1B-1B-00-00-01"]
            vlans: [0, 10-19]
            network: 192.168.10.0/24
            tcp: [80, 8000-8010]
            udp: 161
            ping: true
            open-to-pc: true
            broadcasts: 10
            multicasts: 0
      """)
    #expect(all?.devices == ["00:0e:8c", "00:1b:1b:00:00:01"])
    #expect(all?.vlans == ["0", "10-19"])
    #expect(all?.network == "192.168.10.0/24")
    #expect(all?.tcp.count == 2 && all?.udp.count == 1)
    #expect(all?.ping == true && all?.isOpenToPC == true)
    #expect(all?.broadcasts == 10 && all?.multicasts == 0)
  }

  @Test func `what is wrong is said with the way out`() {
    #expect(problems("[tomorrow]").first?.contains("there are arp, ethercat") == true)
    #expect(problems("[]").first?.contains("names no EtherType") == true)
    #expect(problems("[0x8100]").count == 1)
    #expect(problems("[0x05dc]").count == 1)
    #expect(problems("{devices: [\"00:0e:8c\"]}").first?.contains("has no `types:`") == true)
    #expect(problems("{types: [arp], devices: [everybody]}").first?.contains("00:0e:8c") == true)
    #expect(problems("{types: [arp], vlans: [4095]}").first?.contains("1 to 4094") == true)
    #expect(problems("{types: [arp], network: here}").first?.contains("no network") == true)
    #expect(problems("{types: [arp], broadcasts: -1}").first?.contains("no rate") == true)
    #expect(problems("{types: [arp], vlan: 5}").first?.contains("did you mean `vlans`?") == true)
    let many = (0...64).map { "\"0x\(String(0x9000 + $0, radix: 16))\"" }.joined(separator: ", ")
    #expect(problems("[\(many)]").contains { $0.contains("64 is the most") })
  }
}
