import Packet
import Primitives

extension PacketsTarget {
  private static let v4 = (IPAddress(10, 0, 0, 1), IPAddress(10, 9, 9, 9))
  private static let v6 = (IPAddress(v6: 0xFD00 << 112 | 1), IPAddress(v6: 0xFD00 << 112 | 2))

  static var seeds: [[UInt8]] {
    var blocks = SACKBlocks()
    for index in UInt32(0)..<3 { blocks.append(.init(start: 1000 * index, end: 1000 * index + 500)) }
    let options = TCPOptions(
      maximumSegmentSize: 1460, windowScale: 7, sackPermitted: true, timestamps: .init(value: 1, echo: 2))
    let segments = [
      segment(
        TCPHeader(sourcePort: 1, destinationPort: 80, sequence: 7, flags: .syn, window: 65_535, options: options)),
      segment(
        TCPHeader(
          sourcePort: 1, destinationPort: 80, sequence: 7, acknowledgement: 9, flags: [.ack, .psh, .urg], window: 512,
          options: TCPOptions(timestamps: .init(value: 3, echo: 4), sackBlocks: blocks))) + Array("hello".utf8),
    ]
    var seeds: [[UInt8]] = []
    for (source, destination) in [v4, v6] {
      for segment in segments { seeds.append(packet(6, segment, source, destination)) }
      seeds.append(packet(17, datagram(Array("question".utf8)), source, destination))
      let isV4 = source.family == .v4
      for message in [
        ICMPMessage.echoRequest(identifier: 1, sequence: 2), .echoReply(identifier: 1, sequence: 2),
        .unreachable(.port, in: source.family), .packetTooBig(mtu: 1280), .timeExceeded(code: 0),
        .parameterProblem(code: 0, pointer: 40), .other(type: 135, code: 0),
      ] {
        var bytes = [UInt8](repeating: 0, count: 8)
        var span = bytes.mutableSpan
        message.write(into: &span, source: source, destination: destination)
        seeds.append(packet(isV4 ? 1 : 58, bytes, source, destination))
        seeds.append(bytes)
      }
      seeds.append(packet(132, [1, 2, 3, 4], source, destination))
    }
    seeds.append(packet(17, datagram([1, 2, 3, 4, 5, 6, 7, 8]), v4.0, v4.1, more: true))
    seeds.append(packet(17, [1, 2, 3, 4, 5], v4.0, v4.1, offset: 64))
    var piece = [UInt8](repeating: 0, count: 8)
    var span = piece.mutableSpan
    IPv6FragmentHeader(nextHeader: 17, offset: 0, moreFragments: true, identification: 99).write(into: &span)
    seeds.append(packet(44, piece + datagram([1, 2, 3, 4, 5, 6, 7, 8]), v6.0, v6.1))
    // Hop-by-hop options, routing, destination options, fragment, then UDP.
    let chain: [UInt8] = [43, 0, 5, 2, 0, 0, 1, 0] + [60, 0, 0, 0, 0, 0, 0, 0] + [44, 0, 1, 4, 0, 0, 0, 0]
    seeds.append(packet(0, chain + [17, 0, 0, 0, 0, 0, 0, 9] + datagram([1]), v6.0, v6.1))
    seeds.append(contentsOf: segments)
    return seeds
  }

  private static func segment(_ header: TCPHeader) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: header.headerLength)
    var span = bytes.mutableSpan
    header.write(into: &span)
    return bytes
  }

  private static func datagram(_ payload: [UInt8]) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: 8)
    var span = bytes.mutableSpan
    UDPHeader(sourcePort: 5000, destinationPort: 53, length: UInt16(8 + payload.count)).write(into: &span)
    return bytes + payload
  }

  private static func packet(
    _ number: UInt8, _ payload: [UInt8], _ source: IPAddress, _ destination: IPAddress, offset: Int = 0,
    more: Bool = false
  ) -> [UInt8] {
    let isV4 = source.family == .v4
    var header = [UInt8](repeating: 0, count: isV4 ? 20 : 40)
    var span = header.mutableSpan
    if isV4 {
      IPv4Header(
        source: source, destination: destination, protocolNumber: number, totalLength: UInt16(20 + payload.count),
        moreFragments: more, fragmentOffset: offset
      ).write(into: &span)
    } else {
      IPv6Header(source: source, destination: destination, nextHeader: number, payloadLength: UInt16(payload.count))
        .write(into: &span)
    }
    return header + payload
  }
}
