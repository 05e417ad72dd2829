import Packet
import Primitives
import Testing

@testable import Tun

@Suite struct SyntheticFlowTests {
  private static let v4 = (Endpoint(IPAddress(10, 0, 0, 1), 40_000), Endpoint(IPAddress(10, 0, 0, 2), 502))
  private static let v6 = (
    Endpoint(IPAddress("fd00::1")!, 40_000), Endpoint(IPAddress("fd00::2")!, 502)
  )

  /// Reads a packet and checks its checksums.
  private static func parse(_ header: [UInt8], _ payload: [UInt8] = []) throws -> ParsedPacket {
    let bytes = header + payload
    let packet = try ParsedPacket(parsing: bytes.span)
    try packet.verifyChecksum(in: bytes.span)
    #expect(packet.totalLength == bytes.count)
    return packet
  }

  @Test func `sequence numbers follow the payload of both directions`() throws {
    for (near, far) in [Self.v4, Self.v6] {
      var flow = SyntheticFlow(.tcp, near: near, far: far)
      var segments: [(SyntheticFlow.Side, TCPHeader)] = []
      func add(_ side: SyntheticFlow.Side, _ flags: TCPFlags, _ payload: [UInt8] = []) throws {
        let header = flow.segment(
          from: side, flags, payloadCount: payload.count, payloadSum: Checksum.sum(payload.span))
        let packet = try Self.parse(header, payload)
        guard case .tcp(let tcp) = packet.transport else { throw ParseError(.tcp, .badHeaderLength(0)) }
        #expect(packet.source == (side == .near ? near : far).address)
        segments.append((side, tcp))
      }
      try add(.near, .syn)
      try add(.far, [.syn, .ack])
      try add(.near, .ack)
      try add(.near, [.psh, .ack], [1, 2, 3])
      try add(.far, [.psh, .ack], [UInt8](repeating: 5, count: 1001))
      try add(.near, [.fin, .ack])
      try add(.far, [.fin, .ack])
      #expect(segments.map(\.1.sequence) == [0, 0, 1, 1, 1, 4, 1002])
      #expect(segments.map(\.1.acknowledgement) == [0, 1, 1, 1, 4, 1002, 5])
    }
  }

  @Test func `datagrams and echo messages have their checksums`() throws {
    for (near, far) in [Self.v4, Self.v6] {
      let payload: [UInt8] = [0, 9, 0, 1, 42]
      let sum = Checksum.sum(payload.span)
      let flow = SyntheticFlow(.udp, near: near, far: far)
      for side in [SyntheticFlow.Side.near, .far] {
        let datagram = try Self.parse(flow.datagram(from: side, payloadCount: 5, payloadSum: sum), payload)
        #expect(datagram.payloadLength == 5)
        let echo = try Self.parse(flow.echo(from: side, payloadCount: 5, payloadSum: sum), payload)
        let expected: ICMPMessage =
          side == .near ? .echoRequest(identifier: 9, sequence: 1) : .echoReply(identifier: 9, sequence: 1)
        #expect(echo.transport == .icmp(expected))
      }
    }
  }

  @Test func `ends of two families come to no packet, and to no trap`() {
    var flow = SyntheticFlow(.tcp, near: Self.v4.0, far: Self.v6.1)
    #expect(flow.segment(from: .near, .syn).allSatisfy { $0 == 0 })
  }
}
