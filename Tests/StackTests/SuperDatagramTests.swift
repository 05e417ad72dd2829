import Packet
import Primitives
import Testing

@testable import Stack

/// Datagrams for an application that leave as super-datagrams.
@Suite struct SuperDatagramTests {
  /// What a stack sends: bytes of payload, and of each datagram of a super-datagram (0 for a single one).
  private struct Sent: Equatable {
    var payload: Int
    var segmentSize: Int
  }

  private static func flow(_ bench: Bench, from source: Endpoint, to destination: Endpoint) throws -> FlowID {
    bench.receive(Packets.udp([1], from: source, to: destination))
    var found: FlowID?
    for case .datagramFlowRequested(let flow, _) in bench.events() { found = flow }
    let flow = try #require(found)
    bench.stack.acceptDatagrams(flow, pool: &bench.pool, now: bench.now)
    for case .datagram(_, let slice) in bench.events() { bench.pool.release(slice) }
    return flow
  }

  /// Takes all packets of `sender`, and gives them to `receiver`, an application's kernel.
  private static func pass(from sender: Bench, to receiver: Bench) throws -> [Sent] {
    var sent: [Sent] = []
    while sender.stack.nextTransmit(into: &sender.transmit, pool: &sender.pool, now: sender.now) {
      var bytes: [UInt8] = []
      sender.transmit.withHeader { header in
        for index in header.indices { bytes.append(header[index]) }
      }
      for slice in sender.transmit.payload { bytes += sender.pool.array(slice) }
      let offload = sender.transmit.offload
      let packet = try ParsedPacket(parsing: bytes.span)
      sent.append(
        Sent(payload: packet.payloadLength, segmentSize: offload.segmentation == .udp ? offload.segmentSize : 0))
      #expect(bytes.count == packet.totalLength && bytes.count <= 65_535 + 40)
      if offload.segmentation == .udp {
        // What the kernel takes: a checksum to complete, and segments that fit the MTU.
        #expect(offload.checksum == .partial(start: packet.ipHeaderLength, offset: 6))
        #expect(packet.payloadOffset + offload.segmentSize <= 1500)
        #expect((packet.payloadLength - 1) / offload.segmentSize + 1 <= 64)
        #expect(sender.transmit.payload.dropLast().allSatisfy { $0.count == offload.segmentSize })
      }
      receiver.receive(bytes, offload: offload)
    }
    return sent
  }

  @Test(arguments: [false, true])
  func datagramsOfOneSizeGoTogether(isV6: Bool) throws {
    let (application, device) = isV6 ? (Packets.application6, Packets.device6) : (Packets.application, Packets.device)
    let sender = Bench {
      $0.checksumOffload = true
      $0.segmentationOffload = true
    }
    let flow = try Self.flow(sender, from: application, to: device)
    let receiver = Bench()
    let arriving = try Self.flow(receiver, from: device, to: application)
    let largest = 1500 - 8 - (isV6 ? 40 : 20)
    let cases: [(sizes: [Int], packets: [Sent])] = [
      ([200], [Sent(payload: 200, segmentSize: 0)]),
      ([200, 200, 70, 200], [Sent(payload: 470, segmentSize: 200), Sent(payload: 200, segmentSize: 0)]),
      ([70, 200], [Sent(payload: 70, segmentSize: 0), Sent(payload: 200, segmentSize: 0)]),
      ([0, 0], [Sent(payload: 0, segmentSize: 0), Sent(payload: 0, segmentSize: 0)]),
      ([5, 5, 0], [Sent(payload: 10, segmentSize: 5), Sent(payload: 0, segmentSize: 0)]),
      (
        Array(repeating: 9, count: 130),
        [576, 576].map { Sent(payload: $0, segmentSize: 9) } + [Sent(payload: 18, segmentSize: 9)]
      ),
      // 65,507 bytes are the largest datagram, and so the largest super-datagram.
      (
        Array(repeating: largest, count: 50),
        [Sent(payload: 65_507 / largest * largest, segmentSize: largest)]
          + [Sent(payload: (50 - 65_507 / largest) * largest, segmentSize: largest)]
      ),
    ]
    for (sizes, packets) in cases {
      let datagrams = sizes.enumerated().map { [UInt8](repeating: UInt8(truncatingIfNeeded: $0 + 1), count: $1) }
      for bytes in datagrams {
        sender.stack.sendDatagram(flow, sender.slice(bytes), pool: &sender.pool, now: sender.now)
      }
      #expect(try Self.pass(from: sender, to: receiver) == packets, "\(sizes)")
      var received: [[UInt8]] = []
      for case .datagram(arriving, let slice) in receiver.events() {
        received.append(receiver.pool.array(slice))
        receiver.pool.release(slice)
      }
      #expect(received == datagrams)
    }
    #expect(sender.leakedSlabs() == 0)
    #expect(receiver.leakedSlabs() == 0)
  }

  /// Larger than the MTU: each is fragmented by itself.
  @Test func largeOnesAreFragmentedAsBefore() throws {
    let sender = Bench {
      $0.checksumOffload = true
      $0.segmentationOffload = true
    }
    let flow = try Self.flow(sender, from: Packets.application, to: Packets.device)
    for size in [1473, 1473, 1472, 1472] {
      sender.stack.sendDatagram(
        flow, sender.slice([UInt8](repeating: 1, count: size)), pool: &sender.pool, now: sender.now)
    }
    var kinds: [Bool] = []
    for (packet, _) in try sender.sent() { kinds.append(packet.fragment != nil) }
    #expect(kinds == [true, true, true, true, false])
    #expect(sender.leakedSlabs() == 0)
  }

  /// Flows stay apart, and the order of all datagrams is as it was.
  @Test func flowsStayApart() throws {
    let sender = Bench {
      $0.checksumOffload = true
      $0.segmentationOffload = true
    }
    let other = Endpoint(Packets.application.address, 40_001)
    let flows = [
      try Self.flow(sender, from: Packets.application, to: Packets.device),
      try Self.flow(sender, from: other, to: Packets.device),
    ]
    for index in [0, 0, 1, 0, 1, 1, 1] {
      sender.stack.sendDatagram(flows[index], sender.slice([1, 2]), pool: &sender.pool, now: sender.now)
    }
    let sent = try sender.sent().map { ($0.packet.fiveTuple?.destination.port, $0.packet.payloadLength) }
    #expect(sent.map(\.0) == [40_000, 40_001, 40_000, 40_001])
    #expect(sent.map(\.1) == [4, 2, 2, 6])
    #expect(sender.leakedSlabs() == 0)
  }

  @Test func whereTheDeviceCutsNothingEachIsAPacket() throws {
    let sender = Bench { $0.checksumOffload = true }
    let flow = try Self.flow(sender, from: Packets.application, to: Packets.device)
    for _ in 0..<3 { sender.stack.sendDatagram(flow, sender.slice([1]), pool: &sender.pool, now: sender.now) }
    #expect(try sender.sent().count == 3)
    #expect(sender.leakedSlabs() == 0)
  }
}
