import Packet
import Primitives

/// A packet as a stack would send it: headers, payload in pieces, and what is left to the kernel.
struct TestPacket {
  var header: [UInt8]
  var payload: [[UInt8]]
  var offload: Offload

  var bytes: [UInt8] { header + payload.flatMap { $0 } }

  /// A segment with its checksum left undone; a super-segment if `segmentSize` isn't 0.
  static func tcp(
    from source: Endpoint, to destination: Endpoint, sequence: UInt32, acknowledgement: UInt32 = 0,
    flags: TCPFlags, options: TCPOptions = TCPOptions(), window: UInt16 = 65_535, payload: [[UInt8]] = [],
    segmentSize: Int = 0
  ) -> TestPacket {
    let tcp = TCPHeader(
      sourcePort: source.port, destinationPort: destination.port, sequence: sequence,
      acknowledgement: acknowledgement, flags: flags, window: window, options: options)
    var bytes = [UInt8](repeating: 0, count: tcp.headerLength)
    var span = bytes.mutableSpan
    tcp.write(into: &span)
    let isV4 = source.address.family == .v4
    return make(
      source.address, destination.address, 6, bytes, checksumOffset: 16, payload,
      segmentation: segmentSize == 0 ? .none : isV4 ? .tcp4 : .tcp6, segmentSize: segmentSize)
  }

  static func udp(
    from source: Endpoint, to destination: Endpoint, payload: [[UInt8]], segmentSize: Int = 0
  ) -> TestPacket {
    let count = payload.reduce(0) { $0 + $1.count }
    let udp = UDPHeader(
      sourcePort: source.port, destinationPort: destination.port, length: UInt16(UDPHeader.size + count))
    var bytes = [UInt8](repeating: 0, count: UDPHeader.size)
    var span = bytes.mutableSpan
    udp.write(into: &span)
    return make(
      source.address, destination.address, 17, bytes, checksumOffset: 6, payload,
      segmentation: segmentSize == 0 ? .none : .udp, segmentSize: segmentSize)
  }

  private static func make(
    _ source: IPAddress, _ destination: IPAddress, _ number: UInt8, _ transport: [UInt8], checksumOffset: Int,
    _ payload: [[UInt8]], segmentation: Offload.Segmentation, segmentSize: Int
  ) -> TestPacket {
    let count = transport.count + payload.reduce(0) { $0 + $1.count }
    var header: [UInt8]
    if source.family == .v4 {
      header = [UInt8](repeating: 0, count: 20)
      var span = header.mutableSpan
      IPv4Header(
        source: source, destination: destination, protocolNumber: number, totalLength: UInt16(20 + count),
        identification: 100
      ).write(into: &span)
    } else {
      header = [UInt8](repeating: 0, count: 40)
      var span = header.mutableSpan
      IPv6Header(source: source, destination: destination, nextHeader: number, payloadLength: UInt16(count))
        .write(into: &span)
    }
    let start = header.count
    header += transport
    let sum = Checksum.fold(
      Checksum.pseudoHeader(source: source, destination: destination, protocol: number, length: count))
    header[start + checksumOffset] = UInt8(sum >> 8)
    header[start + checksumOffset + 1] = UInt8(sum & 0xFF)
    let offload = Offload(
      checksum: .partial(start: start, offset: checksumOffset), segmentation: segmentation, segmentSize: segmentSize)
    return TestPacket(header: header, payload: payload, offload: offload)
  }

  /// Bytes that differ from place to place, in pieces of awkward sizes.
  static func pieces(_ count: Int, seed: UInt64 = 1) -> [[UInt8]] {
    var random = SeededRandom(seed: seed)
    var pieces: [[UInt8]] = []
    var left = count
    while left > 0 {
      let size = min(left, Int(random.next() % 4000) + 1)
      pieces.append((0..<size).map { _ in UInt8(truncatingIfNeeded: random.next()) })
      left -= size
    }
    return pieces
  }
}
