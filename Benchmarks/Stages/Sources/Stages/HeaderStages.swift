import Packet
import Primitives

/// Packets with complete checksums. Payload counts up.
enum SamplePacket {
  static let application = Endpoint(IPAddress(198, 18, 0, 1), 40_000)
  static let device = Endpoint(IPAddress(198, 18, 4, 1), 502)
  static let application6 = Endpoint(IPAddress(v6: 0xFD72_656C_6179 << 80 | 1), 40_000)
  static let device6 = Endpoint(IPAddress(v6: 0xFD72_656C_6179 << 80 | 0x401), 502)

  static func bytes(_ transport: TransportProtocol, _ family: IPAddress.Family, payload count: Int) -> [UInt8] {
    let source = family == .v4 ? application : application6
    let destination = family == .v4 ? device : device6
    let (number, checksumAt) = transport == .tcp ? (IPProtocol.tcp, 16) : (IPProtocol.udp, 6)
    var segment = transportHeader(transport, source, destination, payload: count)
    segment += (0..<count).map { UInt8(truncatingIfNeeded: $0) }
    let pseudo = Checksum.pseudoHeader(
      source: source.address, destination: destination.address, protocol: number, length: segment.count)
    let checksum = Checksum.of(segment.span, adding: pseudo)
    segment[checksumAt] = UInt8(checksum >> 8)
    segment[checksumAt + 1] = UInt8(truncatingIfNeeded: checksum)
    return networkHeader(source.address, destination.address, number, payload: segment.count) + segment
  }

  private static func transportHeader(
    _ transport: TransportProtocol, _ source: Endpoint, _ destination: Endpoint, payload count: Int
  ) -> [UInt8] {
    guard transport == .tcp else {
      var header = [UInt8](repeating: 0, count: UDPHeader.size)
      var span = header.mutableSpan
      UDPHeader(
        sourcePort: source.port, destinationPort: destination.port, length: UInt16(UDPHeader.size + count)
      ).write(into: &span)
      return header
    }
    // What each segment of an established connection of Linux carries.
    let options = TCPOptions(timestamps: TCPOptions.Timestamps(value: 1, echo: 1))
    let fields = TCPHeader(
      sourcePort: source.port, destinationPort: destination.port, sequence: 1, acknowledgement: 1, flags: [.ack, .psh],
      window: 512, options: options)
    var header = [UInt8](repeating: 0, count: fields.headerLength)
    var span = header.mutableSpan
    fields.write(into: &span)
    return header
  }

  private static func networkHeader(
    _ source: IPAddress, _ destination: IPAddress, _ number: UInt8, payload count: Int
  ) -> [UInt8] {
    let isV4 = source.family == .v4
    var header = [UInt8](repeating: 0, count: isV4 ? IPv4Header.minimumSize : IPv6Header.size)
    var span = header.mutableSpan
    if isV4 {
      IPv4Header(
        source: source, destination: destination, protocolNumber: number,
        totalLength: UInt16(IPv4Header.minimumSize + count)
      ).write(into: &span)
    } else {
      IPv6Header(source: source, destination: destination, nextHeader: number, payloadLength: UInt16(count))
        .write(into: &span)
    }
    return header
  }
}

/// A packet's headers become a checked value.
struct ParseStage: Stage {
  private let packet: [UInt8]
  private(set) var completed = 0

  init(_ transport: TransportProtocol, _ family: IPAddress.Family) {
    packet = SamplePacket.bytes(transport, family, payload: 60)
  }

  mutating func run(_ operations: Int) throws {
    for _ in 0..<operations {
      let parsed = try ParsedPacket(parsing: packet.span)
      if parsed.payloadLength == 60 { completed += 1 }
    }
  }
}

/// A TCP packet's checksum is verified.
struct ChecksumStage: Stage {
  private let packet: [UInt8]
  private let parsed: ParsedPacket
  private(set) var completed = 0

  /// - Parameter size: bytes of the packet.
  init(size: Int) throws {
    let headers = SamplePacket.bytes(.tcp, .v4, payload: 0).count
    let packet = SamplePacket.bytes(.tcp, .v4, payload: size - headers)
    parsed = try ParsedPacket(parsing: packet.span)
    self.packet = packet
  }

  mutating func run(_ operations: Int) throws {
    for _ in 0..<operations {
      try parsed.verifyChecksum(in: packet.span)
      completed += 1
    }
  }
}
