import Packet
import Primitives
import Testing

@testable import Stack

/// Hostile packets and careless owners: nothing traps, nothing leaks, every bound holds.
@Suite struct FuzzTests {
  @Test(arguments: 0..<4) func survivesRandomPacketsAndVerbs(block: Int) throws {
    for seed in UInt64(block * 25)..<UInt64(block * 25 + 25) { try run(seed: seed) }
  }

  private func run(seed: UInt64) throws {
    var random = SeededRandom(seed: seed)
    let bench = Bench {
      $0.limits.tcpFlows = 20
      $0.limits.halfOpen = 10
      $0.limits.udpFlows = 10
      $0.limits.timeWait = 5
      $0.limits.outOfOrderSegments = 8
      $0.limits.reassemblyBytes = 20_000
      $0.segmentationOffload = seed % 2 == 0
      $0.checksumOffload = seed % 3 == 0
    }
    var flows: [FlowID] = []
    var held: [Slice] = []
    // Numbers that connections really use, so that packets get past the first checks.
    var numbers: [UInt32] = [0, 1000]
    for _ in 0..<1500 {
      switch random.next() % 12 {
      case 0..<7: bench.receive(packet(&random, numbers), offload: offload(&random))
      case 7:
        guard let flow = flows.randomElement(using: &random) else { break }
        act(on: flow, bench, &random)
      case 8:
        for packet in try bench.sent() {
          if case .tcp(let header) = packet.packet.transport {
            numbers += [
              header.sequence, header.acknowledgement, header.sequence &+ UInt32(packet.packet.payloadLength),
            ]
          }
        }
        if numbers.count > 40 { numbers.removeFirst(numbers.count - 40) }
      case 9:
        bench.now = bench.now + .milliseconds(Int64(random.next() % 5000))
        bench.stack.handleTimeout(pool: &bench.pool, now: bench.now)
      default:
        for event in bench.events() {
          switch event {
          case .openRequested(let flow, _), .datagramFlowRequested(let flow, _): flows.append(flow)
          case .received(_, let slice), .datagram(_, let slice), .echoRequested(_, let slice): held.append(slice)
          default: break
          }
        }
        if flows.count > 40 { flows.removeFirst(flows.count - 40) }
        while held.count > 10 { bench.pool.release(held.removeFirst()) }
      }
      #expect(bench.stack.connectionCount <= 20 && bench.stack.halfOpenCount <= 10)
      #expect(bench.stack.halfOpenCount >= 0 && bench.stack.halfOpenCount <= bench.stack.connectionCount)
      #expect(bench.stack.datagramFlowCount <= 10 && bench.stack.timeWaitCount <= 5)
      #expect(bench.stack.flows.count == bench.stack.connectionCount + bench.stack.datagramFlowCount)
    }
    for slice in held { bench.pool.release(slice) }
    #expect(bench.leakedSlabs() == 0, "seed \(seed)")
    #expect(bench.stack.flows.isEmpty)
  }

  private func offload(_ random: inout SeededRandom) -> Offload {
    switch random.next() % 4 {
    case 0: Offload(checksum: .partial(start: 20, offset: 16), segmentation: .tcp4, segmentSize: 1000)
    case 1: Offload(checksum: .verified, segmentation: .udp, segmentSize: Int(random.next() % 50))
    default: .none
    }
  }

  private func packet(_ random: inout SeededRandom, _ numbers: [UInt32]) -> [UInt8] {
    let source = Endpoint(Packets.application.address, UInt16(1 + random.next() % 6))
    let payload = Simulation.pattern(random.chance(0.5) ? 0 : Int(random.next() % 3000), seed: random.next())
    var bytes: [UInt8]
    switch random.next() % 8 {
    case 0: bytes = Packets.udp(payload, from: source)
    case 1: bytes = Packets.icmp(.echoRequest(identifier: 1, sequence: 2), payload: payload)
    case 2: bytes = Packets.icmp(.destinationUnreachable(code: 3, mtu: nil), payload: Packets.udp(payload))
    case 3:
      let whole = Packets.udp(payload + .init(repeating: 0, count: 100), from: source)
      let fragments = try? Packets.fragments(
        whole, size: 8 * Int(1 + random.next() % 100), identification: UInt16(random.next() % 3))
      bytes = fragments?.randomElement(using: &random) ?? whole
    default:
      let number = { (random: inout SeededRandom) in
        (numbers.randomElement(using: &random) ?? 0) &+ UInt32(random.next() % 5) &- 2
      }
      let flags: [TCPFlags] = [.syn, .ack, .ack, .ack, [.ack, .fin], .rst, [.syn, .ack], [.ack, .psh]]
      var options = TCPOptions()
      if random.chance(0.3) { options.maximumSegmentSize = UInt16(truncatingIfNeeded: random.next()) }
      if random.chance(0.3) { options.windowScale = UInt8(random.next() % 15) }
      if random.chance(0.3) { options.sackPermitted = true }
      if random.chance(0.2) {
        var blocks = SACKBlocks()
        blocks.append(.init(start: number(&random), end: number(&random) &+ UInt32(random.next() % 3000)))
        options.sackBlocks = blocks
      }
      bytes = Packets.tcp(
        flags[Int(random.next() % 8)], sequence: number(&random), acknowledgement: number(&random),
        window: UInt16(truncatingIfNeeded: random.next() >> (random.next() % 20)), options: options, payload: payload,
        from: source)
    }
    if random.chance(0.1) {
      for _ in 0..<(1 + random.next() % 4) {
        bytes[Int(random.next() % UInt64(min(bytes.count, 60)))] = UInt8(truncatingIfNeeded: random.next())
      }
    }
    if random.chance(0.05) { bytes.removeLast(Int(random.next() % UInt64(max(1, bytes.count)))) }
    return bytes
  }

  private func act(on flow: FlowID, _ bench: Bench, _ random: inout SeededRandom) {
    let now = bench.now
    let bytes = Simulation.pattern(Int(random.next() % 10_000), seed: random.next())
    switch random.next() % 9 {
    case 0..<3:
      bench.stack.accept(flow, pool: &bench.pool, now: now)
      bench.stack.acceptDatagrams(flow, pool: &bench.pool, now: now)
    case 3:
      bench.stack.refuse(
        flow, [.reset, .silent, .unreachable(.host)][Int(random.next() % 3)], pool: &bench.pool, now: now)
    case 4: bench.stack.send(flow, bench.slice(bytes), pool: &bench.pool, now: now)
    case 5: bench.stack.finish(flow, now: now)
    case 6:
      bench.stack.setReceiveCredit(flow, Int(truncatingIfNeeded: random.next()) >> Int(random.next() % 60), now: now)
    case 7: bench.stack.sendDatagram(flow, bench.slice(bytes), pool: &bench.pool, now: now)
    default: if random.chance(0.2) { bench.stack.abort(flow, pool: &bench.pool, now: now) }
    }
  }
}
