import Packet
import Primitives
import Testing

@testable import Stack

@Suite struct ReassemblyTests {
  private let datagram = Packets.udp(Simulation.pattern(4000, seed: 8))

  private func isRequested(_ bench: Bench) -> Bool {
    bench.events().contains { if case .datagramFlowRequested = $0 { true } else { false } }
  }

  @Test func joinsInAnyOrderWithDuplicates() throws {
    for seed in UInt64(0)..<50 {
      for isV6 in [false, true] {
        var random = SeededRandom(seed: seed)
        let bench = Bench()
        let packet =
          isV6 ? Packets.udp(Array(datagram[28...]), from: Packets.application6, to: Packets.device6) : datagram
        var fragments = try Packets.fragments(packet, size: 8 * Int(1 + random.next() % 180), identification: 7)
        fragments.shuffle(using: &random)
        // A copy that comes before the datagram is complete.
        let copy = fragments[Int(random.next() % UInt64(fragments.count - 1))]
        fragments.insert(copy, at: fragments.count - 1)
        if fragments.count > 128 { continue }
        for fragment in fragments { bench.receive(fragment) }
        #expect(isRequested(bench), "seed \(seed)")
        #expect(bench.stack.counters.reassembled == 1 && bench.stack.nextDeadline != nil)
        #expect(bench.leakedSlabs() == 0, "seed \(seed)")
      }
    }
  }

  @Test func discardsOverlap() throws {
    let bench = Bench()
    let fragments = try Packets.fragments(datagram, size: 1000, identification: 7)
    let shifted = try Packets.fragments(datagram, size: 1480, identification: 7)
    bench.receive(fragments[0])
    bench.receive(shifted[1])
    bench.receive(fragments[1])
    #expect(bench.stack.counters.dropped(.fragmentOverlap) == 1)
    // Nothing of that datagram is taken any more.
    for fragment in fragments { bench.receive(fragment) }
    #expect(!isRequested(bench))
    #expect(bench.leakedSlabs() == 0)
  }

  @Test func demandsTheHeaderInTheFirstFragment() throws {
    let bench = Bench()
    let segment = Packets.tcp(.syn, sequence: 1, payload: .init(repeating: 0, count: 100))
    for fragment in try Packets.fragments(segment, size: 8, identification: 9) { bench.receive(fragment) }
    #expect(bench.stack.counters.dropped(.fragmentHeader) == 1)
    #expect(bench.events().isEmpty)
    #expect(bench.leakedSlabs() == 0)
  }

  @Test func forgetsAfterATime() throws {
    let bench = Bench()
    let fragments = try Packets.fragments(datagram, size: 1000, identification: 7)
    bench.receive(fragments[0])
    try bench.advance(.seconds(16))
    #expect(bench.stack.counters.dropped(.fragmentTimeout) == 1)
    #expect(bench.stack.nextDeadline == nil)
    for fragment in fragments[1...] { bench.receive(fragment) }
    #expect(!isRequested(bench))
    #expect(bench.leakedSlabs() == 0)
  }

  @Test func boundsBytesAndDatagrams() throws {
    let bench = Bench { $0.limits.reassemblyBytes = 10_000 }
    for identification in UInt16(0)..<200 {
      let fragments = try Packets.fragments(datagram, size: 1000, identification: identification)
      bench.receive(fragments[0])
    }
    #expect(bench.stack.reassembly.byteCount <= 10_000)
    #expect(bench.stack.reassembly.count <= 64)
    #expect(bench.stack.counters.dropped(.fragmentLimit) >= 136)
    #expect(bench.leakedSlabs() == 0)
  }
}
