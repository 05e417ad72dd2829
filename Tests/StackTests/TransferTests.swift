import Packet
import Primitives
import Testing

@testable import Stack

/// Whole connections between two stacks, over a link that does what the seed says.
@Suite struct TransferTests {
  @Test func carriesBothDirectionsAndCloses() throws {
    var simulation = Simulation(seed: 1)
    simulation.first.outbox = Simulation.pattern(300_000, seed: 1)
    simulation.second.outbox = Simulation.pattern(200_000, seed: 2)
    try simulation.connect()
    simulation.runToClose()
    expectComplete(simulation, seed: 1)
    #expect(simulation.first.stack.counters.retransmittedSegments == 0)
    #expect(simulation.first.acknowledged == 300_000)
    #expect(simulation.first.stack.counters.superSegmentsOut > 0)
  }

  @Test(arguments: 0..<8) func survivesLossReorderingAndDuplication(block: Int) throws {
    for seed in UInt64(block * 32)..<UInt64(block * 32 + 32) {
      var random = SeededRandom(seed: seed ^ 0xABCD)
      var conditions = LinkConditions()
      conditions.latency = .microseconds(Int64(10 + random.next() % 20_000))
      conditions.loss = [0, 0.01, 0.05, 0.1][Int(random.next() % 4)]
      conditions.duplication = [0, 0.02][Int(random.next() % 2)]
      conditions.reordering = [0, 0.05, 0.2][Int(random.next() % 3)]
      var simulation = Simulation(
        seed: seed, conditions: conditions, first: Self.configuration(&random), second: Self.configuration(&random))
      simulation.first.buffer = 4096 << Int(random.next() % 8)
      simulation.second.buffer = 4096 << Int(random.next() % 8)
      simulation.first.outbox = Simulation.pattern(200_000, seed: seed)
      simulation.second.outbox = Simulation.pattern(200_000, seed: ~seed)
      try simulation.connect(isV6: seed % 4 == 0)
      simulation.runToClose(limit: .seconds(3000))
      expectComplete(simulation, seed: seed)
    }
  }

  private static func configuration(_ random: inout SeededRandom) -> StackConfiguration {
    var configuration = StackConfiguration()
    configuration.maximumReceiveWindow = [30_000, 4 << 20][Int(random.next() % 2)]
    configuration.mtu = [576, 1280, 1500, 9000][Int(random.next() % 4)]
    configuration.timestamps = random.chance(0.5)
    configuration.selectiveAcknowledgements = random.chance(0.7)
    configuration.segmentationOffload = random.chance(0.5)
    configuration.checksumOffload = random.chance(0.5)
    configuration.congestion = random.chance(0.5) ? .reno : .none
    configuration.userTimeout = .seconds(1000)
    configuration.openTimeout = .seconds(1000)
    return configuration
  }

  private func expectComplete(_ simulation: Simulation, seed: UInt64) {
    let (first, second) = (simulation.first, simulation.second)
    #expect(first.inbox == second.outbox, "seed \(seed): \(first.inbox.count) of \(second.outbox.count)")
    #expect(second.inbox == first.outbox, "seed \(seed): \(second.inbox.count) of \(first.outbox.count)")
    #expect(first.isClosed && second.isClosed, "seed \(seed)")
    #expect(first.resetCause == nil && second.resetCause == nil, "seed \(seed)")
    #expect(first.stack.connectionCount == 0 && second.stack.connectionCount == 0, "seed \(seed)")
    #expect(first.stack.counters.dropped(.malformed) == 0 && second.stack.counters.dropped(.badChecksum) == 0)
    #expect(first.leakedSlabs() == 0 && second.leakedSlabs() == 0, "seed \(seed)")
  }
}
