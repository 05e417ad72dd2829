import Packet
import Primitives
import Testing

@testable import Tun

@Suite struct SegmenterTests {
  /// The packets that a packet becomes.
  private func split(_ packet: TestPacket, isEthernet: Bool = false) -> [[UInt8]]? {
    var pool = SlabPool()
    var lane = SlabLane()
    let slices = packet.payload.compactMap { pool.copy($0.span, in: &lane) }
    var segmenter = Segmenter()
    guard
      segmenter.begin(
        packet.offload, header: packet.header.span, payload: slices.span, isEthernet: isEthernet)
    else { return nil }
    var packets: [[UInt8]] = []
    while let segment = segmenter.next(payload: slices.span, pool: pool) {
      var bytes = segmenter.header
      segmenter.forEachPiece(of: segment, payload: slices.span) { bytes += pool.array($0) }
      packets.append(bytes)
    }
    return packets
  }

  private static let v4 = (Endpoint(IPAddress(10, 0, 0, 1), 1000), Endpoint(IPAddress(10, 0, 0, 2), 2000))
  private static let v6 = (
    Endpoint(IPAddress(v6: 0xFD00 << 112 | 1), 1000), Endpoint(IPAddress(v6: 0xFD00 << 112 | 2), 2000)
  )

  @Test(arguments: [false, true], [1, 1000, 1448, 1449, 30_001, 65_000])
  func `a TCP super-segment becomes packets with the headers and checksums of their own`(
    isV6: Bool, count: Int
  ) throws {
    let (from, to) = isV6 ? Self.v6 : Self.v4
    let packet = TestPacket.tcp(
      from: from, to: to, sequence: .max - 5000, acknowledgement: 7, flags: [.ack, .psh, .fin, .cwr],
      options: TCPOptions(timestamps: .init(value: 1, echo: 2)), payload: TestPacket.pieces(count), segmentSize: 1448)
    let packets = try #require(split(packet))
    #expect(packets.count == (count + 1447) / 1448)
    var joined: [UInt8] = []
    for (index, bytes) in packets.enumerated() {
      let parsed = try ParsedPacket(parsing: bytes.span)
      try parsed.verifyChecksum(in: bytes.span)
      guard case .tcp(let tcp) = parsed.transport else {
        Issue.record("not TCP")
        return
      }
      let isLast = index == packets.count - 1
      #expect(parsed.totalLength == bytes.count)
      #expect(tcp.sequence == (UInt32.max - 5000) &+ UInt32(index * 1448))
      #expect(tcp.options.timestamps == .init(value: 1, echo: 2))
      #expect(tcp.flags.contains(.fin) == isLast && tcp.flags.contains(.psh) == isLast)
      #expect(tcp.flags.contains(.cwr) == (index == 0))
      if !isV6 { #expect(try IPv4Header(parsing: bytes.span).identification == UInt16(100 + index)) }
      joined += bytes[parsed.payloadOffset...]
    }
    #expect(joined == packet.payload.flatMap { $0 })
  }

  @Test(arguments: [false, true])
  func `a UDP super-segment becomes datagrams`(isV6: Bool) throws {
    let (from, to) = isV6 ? Self.v6 : Self.v4
    let packet = TestPacket.udp(from: from, to: to, payload: TestPacket.pieces(2500), segmentSize: 1000)
    let packets = try #require(split(packet))
    var sizes: [Int] = []
    for bytes in packets {
      let parsed = try ParsedPacket(parsing: bytes.span)
      try parsed.verifyChecksum(in: bytes.span)
      sizes.append(parsed.payloadLength)
    }
    #expect(sizes == [1000, 1000, 500])
  }

  @Test(arguments: [false, true], [0, 1, 999])
  func `a checksum alone is completed`(isV6: Bool, count: Int) throws {
    let (from, to) = isV6 ? Self.v6 : Self.v4
    let packet = TestPacket.tcp(from: from, to: to, sequence: 1, flags: .ack, payload: TestPacket.pieces(count))
    let packets = try #require(split(packet))
    #expect(packets.count == 1)
    let bytes = try #require(packets.first)
    try ParsedPacket(parsing: bytes.span).verifyChecksum(in: bytes.span)
    #expect(bytes.count == packet.bytes.count)
  }

  @Test(arguments: [[], [0x81, 0, 0, 5]] as [[UInt8]])
  func `an Ethernet header, with or without a tag, is repeated`(tag: [UInt8]) throws {
    var packet = TestPacket.tcp(
      from: Self.v4.0, to: Self.v4.1, sequence: 1, flags: .ack, payload: TestPacket.pieces(3000), segmentSize: 1000)
    let ethernet: [UInt8] = [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2] + tag + [8, 0]
    packet.header = ethernet + packet.header
    packet.offload.checksum = .partial(start: ethernet.count + 20, offset: 16)
    let packets = try #require(split(packet, isEthernet: true))
    #expect(packets.count == 3)
    for bytes in packets {
      #expect(bytes.starts(with: ethernet))
      let inner = Array(bytes.dropFirst(ethernet.count))
      try ParsedPacket(parsing: inner.span).verifyChecksum(in: inner.span)
    }
  }

  @Test func `a packet with nothing left undone stays as it is`() throws {
    let packet = TestPacket(header: [1, 2, 3], payload: [[4, 5], [], [6]], offload: Offload())
    #expect(split(packet) == [[1, 2, 3, 4, 5, 6]])
  }

  @Test func `offloads that contradict the headers are refused`() {
    let good = TestPacket.tcp(
      from: Self.v4.0, to: Self.v4.1, sequence: 1, flags: .ack, payload: [[1, 2, 3]], segmentSize: 2)
    #expect(split(good)?.count == 2)
    var bad = good
    bad.offload.segmentation = .tcp6
    #expect(split(bad) == nil)
    bad = good
    bad.offload.segmentSize = 0
    #expect(split(bad) == nil)
    bad = good
    bad.offload.checksum = .complete
    #expect(split(bad) == nil)
    bad = good
    bad.offload.checksum = .partial(start: 39, offset: 16)
    #expect(split(bad) == nil)
    bad = good
    bad.header.append(0)
    #expect(split(bad) == nil)
  }

  @Test func `random headers and offloads never trap`() {
    var random = SeededRandom(seed: 3)
    for _ in 0..<20_000 {
      let count = Int(random.next() % 100)
      var header = (0..<count).map { _ in UInt8(truncatingIfNeeded: random.next()) }
      if count > 0 { header[0] = random.chance(0.5) ? 0x45 : 0x60 }
      let segmentations: [Offload.Segmentation] = [.none, .tcp4, .tcp6, .udp]
      let offload = Offload(
        checksum: random.chance(0.9)
          ? .partial(start: Int(random.next() % 90), offset: [2, 6, 16, 60][Int(random.next() % 4)]) : .complete,
        segmentation: segmentations[Int(random.next() % 4)], segmentSize: Int(random.next() % 50))
      _ = split(
        TestPacket(header: header, payload: [[1, 2, 3], [4]], offload: offload), isEthernet: random.chance(0.3))
    }
  }
}
