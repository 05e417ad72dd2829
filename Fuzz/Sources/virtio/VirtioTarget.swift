import FuzzDriver
import Packet
import Primitives

@testable import Tun

/// A virtio-net header and the packet behind it. What is read is written the same; an offload that is accepted lies
/// within the packet, and done in software it gives packets of their own with good checksums and the same payload.
@main enum VirtioTarget: FuzzTarget {
  nonisolated(unsafe) private static var pool = SlabPool(slabSize: 128 * 1024, limit: 8)
  nonisolated(unsafe) private static var segmenter = Segmenter()

  static func run(_ bytes: UnsafeBufferPointer<UInt8>) {
    guard bytes.count > VirtioNetHeader.size + 1, let header = try? VirtioNetHeader(parsing: bytes.span) else { return }
    again(header, bytes)
    // The byte behind says how much stands in the header's piece, and how the rest is cut into slices.
    let layout = bytes[VirtioNetHeader.size]
    let packet = UnsafeBufferPointer(rebasing: bytes[(VirtioNetHeader.size + 1)...])
    guard packet.count <= 65_535, let offload = try? header.validate(against: packet.count) else { return }
    if case .partial(let start, let offset) = offload.checksum {
      check(start + offset + 2 <= packet.count, "the checksum's field lies within the packet")
    }
    check((offload.segmentation == .none) == (offload.segmentSize == 0), "segments have a size")
    check(
      VirtioNetHeader(offload, headerLength: Int(header.headerLength)).same(as: header),
      "an offload is written the same")
    segment(offload, packet, layout)
  }

  private static func again(_ header: VirtioNetHeader, _ bytes: UnsafeBufferPointer<UInt8>) {
    var written = [UInt8](repeating: 0, count: VirtioNetHeader.size)
    var span = written.mutableSpan
    header.write(into: &span)
    check(written.elementsEqual(bytes.prefix(VirtioNetHeader.size)), "read and written is the same")
  }

  private static func segment(_ offload: Offload, _ packet: UnsafeBufferPointer<UInt8>, _ layout: UInt8) {
    // Where the headers end: at the packet's own, or anywhere.
    let parsed = try? ParsedPacket(parsing: packet.span)
    let end = layout & 1 == 0 ? parsed.map(\.payloadOffset) ?? min(packet.count, 40) : min(packet.count, Int(layout))
    let isEthernet = layout & 2 != 0
    let head = UnsafeBufferPointer(rebasing: packet[..<end])
    let rest = UnsafeBufferPointer(rebasing: packet[end...])
    var lane = SlabLane()
    var slices: [Slice] = []
    var script = Script(rest)
    while !script.isAtEnd {
      let piece = script.take(layout & 4 == 0 ? 65_535 : 1 + Int(layout) * 4)
      guard let slice = pool.copy(piece, in: &lane) else { return check(false, "memory for the payload") }
      slices.append(slice)
    }
    defer {
      for slice in slices { pool.release(slice) }
      pool.close(&lane)
      check(pool.slabsInUse == 0, "every slab is back")
    }
    guard segmenter.begin(offload, header: head.span, payload: slices.span, isEthernet: isEthernet) else { return }
    var payload: [UInt8] = []
    var count = 0
    while let segment = segmenter.next(payload: slices.span, pool: pool) {
      count += 1
      check(count <= max(1, rest.count), "as many segments as there are bytes at most")
      check(segmenter.header.count == head.count, "headers keep their size")
      var bytes = segmenter.header
      segmenter.forEachPiece(of: segment, payload: slices.span) { bytes += pool.array($0) }
      check(bytes.count == head.count + segment.count, "a segment's pieces are its size")
      check(offload.segmentation == .none || segment.count <= offload.segmentSize, "no segment is larger than wanted")
      payload += bytes[head.count...]
      verify(bytes, offload, parsed, end: end, isEthernet: isEthernet)
    }
    check(payload.elementsEqual(rest), "the same payload, in order")
  }

  /// A segment of a packet that could be read can be read, and its checksums are good.
  private static func verify(
    _ bytes: [UInt8], _ offload: Offload, _ parsed: ParsedPacket?, end: Int, isEthernet: Bool
  ) {
    guard let parsed, !isEthernet, offload.segmentation != .none, parsed.payloadOffset == end,
      case .partial(let start, _) = offload.checksum, start == parsed.ipHeaderLength, parsed.fragment == nil,
      // A packet's length must be that of its bytes: the header says nothing of what lies behind.
      bytes.count <= 65_535
    else { return }
    // Extension headers may hide another reading of where the addresses end.
    guard parsed.version == .v4 || parsed.ipHeaderLength == IPv6Header.size else { return }
    do throws(ParseError) {
      let segment = try ParsedPacket(parsing: bytes.span)
      check(segment.totalLength == bytes.count, "a segment's length is that of its bytes")
      check(segment.fiveTuple == parsed.fiveTuple, "a segment is of the same flow")
      try segment.verifyChecksum(in: bytes.span)
    } catch {
      check(false, "a segment isn't a packet: \(error)")
    }
  }

  static var seeds: [[UInt8]] {
    var seeds: [[UInt8]] = []
    for isV4 in [true, false] {
      let (source, destination) =
        isV4 ? (IPAddress(10, 0, 0, 1), IPAddress(10, 0, 0, 2)) : (IPAddress(v6: 1), IPAddress(v6: 2))
      for isTCP in [true, false] {
        let transport = isTCP ? tcp() : udp(100)
        let packet = network(isTCP ? 6 : 17, transport + (0..<100).map { UInt8($0) }, source, destination)
        let start = isV4 ? 20 : 40
        for segmentation in [Offload.Segmentation.none, isTCP ? (isV4 ? .tcp4 : .tcp6) : .udp] {
          let offload = Offload(
            checksum: .partial(start: start, offset: isTCP ? 16 : 6), segmentation: segmentation,
            segmentSize: segmentation == .none ? 0 : 33, hasECN: segmentation == .tcp4)
          for layout: UInt8 in [0, 4, 6] { seeds.append(vnet(offload, start + transport.count) + [layout] + packet) }
        }
        seeds.append(vnet(Offload(checksum: .verified), 0) + [0] + packet)
      }
    }
    return seeds
  }

  private static func vnet(_ offload: Offload, _ headerLength: Int) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: VirtioNetHeader.size)
    var span = bytes.mutableSpan
    VirtioNetHeader(offload, headerLength: headerLength).write(into: &span)
    return bytes
  }

  private static func tcp() -> [UInt8] {
    let header = TCPHeader(
      sourcePort: 1, destinationPort: 80, sequence: 7, acknowledgement: 9, flags: [.ack, .psh, .cwr], window: 512,
      options: TCPOptions(timestamps: .init(value: 1, echo: 2)))
    var bytes = [UInt8](repeating: 0, count: header.headerLength)
    var span = bytes.mutableSpan
    header.write(into: &span)
    return bytes
  }

  private static func udp(_ count: Int) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: 8)
    var span = bytes.mutableSpan
    UDPHeader(sourcePort: 1, destinationPort: 53, length: UInt16(8 + count)).write(into: &span)
    return bytes
  }

  private static func network(
    _ number: UInt8, _ payload: [UInt8], _ source: IPAddress, _ destination: IPAddress
  ) -> [UInt8] {
    let isV4 = source.family == .v4
    var header = [UInt8](repeating: 0, count: isV4 ? 20 : 40)
    var span = header.mutableSpan
    if isV4 {
      IPv4Header(
        source: source, destination: destination, protocolNumber: number, totalLength: UInt16(20 + payload.count)
      ).write(into: &span)
    } else {
      IPv6Header(source: source, destination: destination, nextHeader: number, payloadLength: UInt16(payload.count))
        .write(into: &span)
    }
    return header + payload
  }
}

extension VirtioNetHeader {
  /// Equal in what is of meaning with its offload.
  fileprivate func same(as other: VirtioNetHeader) -> Bool {
    let isSegmented = other.segmentationType != SegmentationType.none
    let hasChecksum = other.flags.contains(.needsChecksum)
    // ECN goes with TCP alone.
    return segmentationType == other.segmentationType && (!isSegmented || segmentSize == other.segmentSize)
      && flags.contains(.needsChecksum) == hasChecksum
      && (!hasChecksum || checksumStart == other.checksumStart && checksumOffset == other.checksumOffset)
  }
}
