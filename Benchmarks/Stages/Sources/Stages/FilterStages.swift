import Adapter
import Control
import Primitives

/// The filter's verdict on a flow. Each agent permits two ports; the second of them is asked for, agent after agent.
struct FilterStage: Stage {
  private var table = AgentTable()
  private let destinations: [Endpoint]
  private let permits: Bool
  private(set) var completed = 0

  /// - Parameters:
  ///   - agents: devices of one site.
  ///   - permits: whether the agents are asked for; otherwise as many addresses that no agent has.
  init(agents count: Int, permits: Bool = true) throws {
    guard let s7 = PortRange(102), let modbus = PortRange(502) else { throw StageFailure("no port") }
    let agents = (0..<count).map {
      AgentDescription(name: "plc-\($0)", target: .device(.v4), tcp: [s7, modbus], icmp: true)
    }
    let homeless = table.add(site: "plant", agents: agents)
    guard homeless.isEmpty else { throw StageFailure("\(homeless.count) agents without an alias") }
    if permits {
      destinations = table.all.compactMap { $0.v4.map { Endpoint($0.address, modbus.lower) } }
    } else {
      destinations = (0..<count).map { Endpoint(IPAddress(v4: 0x0A00_0000 + UInt32($0)), modbus.lower) }
    }
    self.permits = permits
  }

  mutating func run(_ operations: Int) throws {
    var position = 0
    for _ in 0..<operations {
      switch table.verdict(.tcp, destinations[position]) {
      case .permitted: if permits { completed += 1 }
      case .denied: if !permits { completed += 1 }
      }
      position += 1
      if position == destinations.count { position = 0 }
    }
  }
}
