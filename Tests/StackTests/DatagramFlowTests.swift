import Packet
import Primitives
import Testing

@testable import Stack

@Suite struct DatagramFlowTests {
  private func request(_ bench: Bench) -> FlowID? {
    for case .datagramFlowRequested(let flow, _) in bench.events() { return flow }
    return nil
  }

  private func payloads(_ bench: Bench) -> [[UInt8]] {
    var payloads: [[UInt8]] = []
    for case .datagram(_, let slice) in bench.events() {
      payloads.append(bench.pool.array(slice))
      bench.pool.release(slice)
    }
    return payloads
  }

  @Test func asksOnceAndHoldsUntilAccepted() throws {
    let bench = Bench()
    for index in UInt8(0)..<6 { bench.receive(Packets.udp([index, 1, 2])) }
    let events = bench.events()
    guard events.count == 1, case .datagramFlowRequested(let flow, let tuple)? = events.first else {
      Issue.record("expected one request, not \(events)")
      return
    }
    #expect(tuple.destination == Packets.device)
    #expect(bench.stack.counters.dropped(.pendingLimit) == 2)
    bench.stack.acceptDatagrams(flow, pool: &bench.pool, now: bench.now)
    #expect(payloads(bench) == [[0, 1, 2], [1, 1, 2], [2, 1, 2], [3, 1, 2]])
    bench.receive(Packets.udp([]))
    #expect(payloads(bench) == [[]])
    bench.stack.sendDatagram(flow, bench.slice([7, 8, 9]), pool: &bench.pool, now: bench.now)
    let sent = try #require(try bench.sent().first)
    #expect(sent.packet.fiveTuple == tuple.reversed)
    #expect(Array(sent.bytes[sent.packet.payloadOffset...]) == [7, 8, 9])
    #expect(bench.leakedSlabs() == 0)
  }

  @Test func splitsSuperDatagrams() throws {
    let bench = Bench()
    let bytes = Simulation.pattern(2500, seed: 1)
    bench.receive(
      Packets.udp(bytes),
      offload: Offload(checksum: .partial(start: 20, offset: 6), segmentation: .udp, segmentSize: 1000))
    let flow = try #require(request(bench))
    bench.stack.acceptDatagrams(flow, pool: &bench.pool, now: bench.now)
    #expect(payloads(bench) == [Array(bytes[..<1000]), Array(bytes[1000..<2000]), Array(bytes[2000...])])
    #expect(bench.leakedSlabs() == 0)
  }

  @Test func remembersRefusalAndBoundsErrors() throws {
    let bench = Bench { $0.limits.errorsPerSecond = 3 }
    let datagram = Packets.udp([1])
    bench.receive(datagram)
    let flow = try #require(request(bench))
    bench.stack.refuse(flow, .unreachable(.adminProhibited), pool: &bench.pool, now: bench.now)
    for _ in 0..<9 { bench.receive(datagram) }
    #expect(bench.events().isEmpty)
    let errors = try bench.sent()
    #expect(errors.count == 3)
    for error in errors {
      #expect(error.packet.transport == .icmp(.destinationUnreachable(code: 13, mtu: nil)))
      #expect(Array(error.bytes[error.packet.payloadOffset...]) == datagram)
    }
    #expect(bench.stack.counters.dropped(.rateLimit) == 7)
    // Once forgotten, the flow is asked about anew.
    try bench.advance(.seconds(11))
    #expect(bench.stack.datagramFlowCount == 0)
    #expect(bench.events().isEmpty)
    bench.receive(datagram)
    #expect(request(bench) != nil)
    #expect(bench.leakedSlabs() == 0)
  }

  @Test func expiresSilentFlowsOnly() throws {
    let bench = Bench()
    bench.receive(Packets.udp([1]))
    let flow = try #require(request(bench))
    bench.stack.acceptDatagrams(flow, pool: &bench.pool, now: bench.now)
    _ = payloads(bench)
    for _ in 0..<5 {
      try bench.advance(.seconds(100))
      bench.receive(Packets.udp([1]))
      #expect(payloads(bench).count == 1)
    }
    try bench.advance(.seconds(121))
    #expect(bench.events() == [.datagramFlowExpired(flow)])
    bench.stack.sendDatagram(flow, bench.slice([1]), pool: &bench.pool, now: bench.now)
    #expect(try bench.sent().isEmpty)
    #expect(bench.leakedSlabs() == 0)
  }

  @Test func boundsFlows() {
    let bench = Bench { $0.limits.udpFlows = 10 }
    for port in UInt16(1)...50 {
      bench.receive(Packets.udp([1], from: Endpoint(Packets.application.address, port)))
    }
    #expect(bench.events().count == 10)
    #expect(bench.stack.counters.dropped(.flowLimit) == 40)
    #expect(bench.leakedSlabs() == 0)
  }

  @Test func fragmentsLargeDatagrams() throws {
    for isV6 in [false, true] {
      let (source, destination) =
        isV6 ? (Packets.application6, Packets.device6) : (Packets.application, Packets.device)
      let sender = Bench { $0.checksumOffload = true }
      sender.receive(Packets.udp([1], from: source, to: destination))
      let flow = try #require(request(sender))
      sender.stack.acceptDatagrams(flow, pool: &sender.pool, now: sender.now)
      _ = payloads(sender)
      for size in [1452, 1472, 1473, 2960, 9000, 65_507] {
        let bytes = Simulation.pattern(size, seed: UInt64(size))
        sender.stack.sendDatagram(flow, sender.slice(bytes), pool: &sender.pool, now: sender.now)
        // Another stack puts them together, in any order, checksum and all.
        let receiver = Bench()
        let packets = try sender.sent()
        for packet in packets {
          #expect(packet.bytes.count <= 1500)
          if packets.count > 1 { #expect(packet.packet.fragment != nil) }
        }
        #expect((packets.count > 1) == (size + 8 + (isV6 ? 40 : 20) > 1500))
        if packets.count > 1 {
          for packet in packets.reversed() { receiver.receive(packet.bytes) }
          let received = try #require(request(receiver))
          receiver.stack.acceptDatagrams(received, pool: &receiver.pool, now: receiver.now)
          #expect(payloads(receiver) == [bytes])
        }
        #expect(receiver.leakedSlabs() == 0)
      }
      #expect(sender.leakedSlabs() == 0)
    }
  }

  @Test func aFloodThatHasDrainedLeavesNoMemory() throws {
    let bench = Bench()
    for port in UInt16(1)...3000 { bench.receive(Packets.udp([1], from: Endpoint(Packets.application.address, port))) }
    for case .datagramFlowRequested(let flow, _) in bench.events() {
      bench.stack.acceptDatagrams(flow, pool: &bench.pool, now: bench.now)
    }
    #expect(payloads(bench).count == 3000)
    var isTrimmed = bench.stack.trim()
    #expect(!isTrimmed, "all are open")
    _ = try bench.advance(.seconds(60))
    for port in UInt16(1)...5 { bench.receive(Packets.udp([2], from: Endpoint(Packets.application.address, port))) }
    #expect(payloads(bench).count == 5)
    _ = try bench.advance(.seconds(61))
    #expect(bench.stack.datagramFlowCount == 5)
    _ = bench.events()
    isTrimmed = bench.stack.trim()
    #expect(isTrimmed)
    isTrimmed = bench.stack.trim()
    #expect(!isTrimmed)
    for port in UInt16(1)...5 { bench.receive(Packets.udp([3], from: Endpoint(Packets.application.address, port))) }
    #expect(payloads(bench).count == 5, "those that went on are known still")
    for port in UInt16(6)...10 { bench.receive(Packets.udp([4], from: Endpoint(Packets.application.address, port))) }
    #expect(bench.events().count == 5, "and others are asked for anew")
    #expect(bench.stack.datagramFlowCount == 10)
    #expect(bench.leakedSlabs() == 0)
  }
}
