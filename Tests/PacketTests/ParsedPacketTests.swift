import Packet
import Primitives
import Testing

/// A whole IP packet of one transport segment whose checksum field is filled in at `checksumOffset`.
func ipPacket(
  _ source: IPAddress, _ destination: IPAddress, protocol number: UInt8, segment: [UInt8], checksumOffset: Int? = nil
) -> [UInt8] {
  var segment = segment
  if let checksumOffset {
    (segment[checksumOffset], segment[checksumOffset + 1]) = (0, 0)
    let partial = Checksum.pseudoHeader(
      source: source, destination: destination, protocol: number, length: segment.count)
    let value = Checksum.of(segment.span, adding: partial)
    (segment[checksumOffset], segment[checksumOffset + 1]) = (UInt8(value >> 8), UInt8(value & 255))
  }
  if source.family == .v4 {
    let header = IPv4Header(
      source: source, destination: destination, protocolNumber: number, totalLength: UInt16(20 + segment.count))
    return written(20) { header.write(into: &$0) } + segment
  }
  let header = IPv6Header(
    source: source, destination: destination, nextHeader: number, payloadLength: UInt16(segment.count))
  return written(40) { header.write(into: &$0) } + segment
}

@Suite struct ParsedPacketTests {
  @Test func tcpSegments() throws {
    var random = SeededRandom(seed: 90)
    for _ in 0..<1000 {
      for family in [IPAddress.Family.v4, .v6] {
        let (source, destination) = (randomAddress(family, &random), randomAddress(family, &random))
        var header = randomTCPHeader(&random)
        let payload = randomBytes(Int(random.next() % 80), &random)
        let segment = Array(written(60) { header.write(into: &$0) }.prefix(header.headerLength)) + payload
        let bytes = ipPacket(source, destination, protocol: 6, segment: segment, checksumOffset: 16)
        let padded = bytes + [1, 2, 3]
        let packet = try ParsedPacket(parsing: padded.span)
        let size = family == .v4 ? 20 : 40
        header.checksum = UInt16(bytes[size + 16]) << 8 | UInt16(bytes[size + 17])
        #expect(packet.transport == .tcp(header))
        #expect(packet.ipHeaderLength == size && packet.transportHeaderLength == header.headerLength)
        #expect(Array(padded[packet.payloadOffset..<packet.payloadOffset + packet.payloadLength]) == payload)
        #expect(packet.totalLength == bytes.count && packet.version == family)
        #expect(
          packet.fiveTuple
            == FiveTuple(
              protocol: .tcp, source: Endpoint(source, header.sourcePort),
              destination: Endpoint(destination, header.destinationPort)))
        try packet.verifyChecksum(in: padded.span)
        var damaged = padded
        damaged[size + Int(random.next() % 12)] ^= 0x40
        let other = try ParsedPacket(parsing: damaged.span)
        #expect(throws: ParseError(.tcp, .badChecksum)) { try other.verifyChecksum(in: damaged.span) }
      }
    }
  }

  @Test func everyTruncationIsRefused() {
    var random = SeededRandom(seed: 91)
    for family in [IPAddress.Family.v4, .v6] {
      let (source, destination) = (randomAddress(family, &random), randomAddress(family, &random))
      let header = randomTCPHeader(&random)
      let segment = Array(written(60) { header.write(into: &$0) }.prefix(header.headerLength)) + [1, 2, 3]
      expectRefusedWhenCut(ipPacket(source, destination, protocol: 6, segment: segment)) { bytes throws(ParseError) in
        try ParsedPacket(parsing: bytes)
      }
    }
  }

  @Test func udpDatagrams() throws {
    let (a, b) = (IPAddress(10, 0, 0, 1), IPAddress(10, 0, 0, 2))
    let segment: [UInt8] = [0, 53, 0x30, 0x39, 0, 10, 0, 0, 7, 8, 99, 99]
    let bytes = ipPacket(a, b, protocol: 17, segment: segment)
    let packet = try ParsedPacket(parsing: bytes.span)
    #expect(packet.payloadOffset == 28 && packet.payloadLength == 2, "the UDP length counts")
    try packet.verifyChecksum(in: bytes.span)
    #expect(packet.description == "IP 10.0.0.1.53 > 10.0.0.2.12345: UDP, length 2")

    let (c, d) = (IPAddress(v6: 1), IPAddress(v6: 2))
    let plain = ipPacket(c, d, protocol: 17, segment: Array(segment.prefix(10)))
    let uncovered = try ParsedPacket(parsing: plain.span)
    #expect(throws: ParseError(.udp, .badChecksum)) { try uncovered.verifyChecksum(in: plain.span) }
    let covered = ipPacket(c, d, protocol: 17, segment: Array(segment.prefix(10)), checksumOffset: 6)
    try ParsedPacket(parsing: covered.span).verifyChecksum(in: covered.span)
  }

  @Test func icmpOfEitherFamily() throws {
    let message = ICMPMessage.echoRequest(identifier: 1, sequence: 2)
    for (a, b, number) in [
      (IPAddress(10, 0, 0, 1), IPAddress(10, 0, 0, 2), 1), (IPAddress(v6: 1), IPAddress(v6: 2), 58),
    ]
      as [(IPAddress, IPAddress, UInt8)]
    {
      let segment = written(8) { message.write(into: &$0, source: a, destination: b) }
      let bytes = ipPacket(a, b, protocol: number, segment: segment)
      let packet = try ParsedPacket(parsing: bytes.span)
      #expect(packet.transport == .icmp(message))
      #expect(packet.fiveTuple == FiveTuple(protocol: .icmp, source: Endpoint(a, 0), destination: Endpoint(b, 0)))
      try packet.verifyChecksum(in: bytes.span)
      // The other family's ICMP is just an unknown protocol.
      let wrong = ipPacket(a, b, protocol: number == 1 ? 58 : 1, segment: segment)
      #expect(try ParsedPacket(parsing: wrong.span).transport == .other(number == 1 ? 58 : 1))
    }
  }

  @Test func fragmentsOfIPv4() throws {
    var header = IPv4Header(
      source: IPAddress(10, 0, 0, 1), destination: IPAddress(10, 0, 0, 2), protocolNumber: 17, totalLength: 28,
      identification: 77, moreFragments: true, fragmentOffset: 1480)
    let parse = { (header: IPv4Header) in
      try ParsedPacket(parsing: (written(28) { header.write(into: &$0) }).span)
    }
    let packet = try parse(header)
    #expect(packet.transport == .fragment && packet.fiveTuple == nil)
    #expect(
      packet.fragment == .init(identification: 77, offset: 1480, moreFragments: true, protocolNumber: 17))
    #expect(packet.payloadOffset == 20 && packet.payloadLength == 8)
    header.totalLength = 27
    #expect(throws: ParseError(.ipv4, .badLength(7))) { try parse(header) }
    header.totalLength = 28
    header.fragmentOffset = 65_528
    #expect(throws: ParseError(.ipv4, .badLength(8))) { try parse(header) }
  }

  @Test func fragmentsOfIPv6() throws {
    let (a, b) = (IPAddress(v6: 1), IPAddress(v6: 2))
    let build = { (offset: Int, more: Bool, data: [UInt8]) in
      let piece = IPv6FragmentHeader(nextHeader: 17, offset: offset, moreFragments: more, identification: 9)
      return ipPacket(a, b, protocol: 44, segment: written(8) { piece.write(into: &$0) } + data)
    }
    let data: [UInt8] = [0, 53, 0, 53, 0, 8, 1, 1]
    let first = try ParsedPacket(parsing: build(0, true, data).span)
    #expect(first.transport == .fragment && first.payloadOffset == 48 && first.payloadLength == 8)
    #expect(first.fragment == .init(identification: 9, offset: 0, moreFragments: true, protocolNumber: 17))
    // RFC 7112: no first fragment without its headers. RFC 6946: an atomic fragment is a whole packet.
    let tiny = IPv6FragmentHeader(nextHeader: 6, offset: 0, moreFragments: true, identification: 9)
    let bytes = ipPacket(a, b, protocol: 44, segment: written(8) { tiny.write(into: &$0) } + data)
    #expect(throws: ParseError(.tcp, .truncated(needed: 20, have: 8))) { try ParsedPacket(parsing: bytes.span) }
    let atomic = try ParsedPacket(parsing: build(0, false, data).span)
    #expect(atomic.fragment == nil && atomic.payloadOffset == 56 && atomic.fiveTuple?.destination.port == 53)
  }

  @Test func optionsAndUnknownExtensionsAreTold() throws {
    var bytes = ipPacket(IPAddress(10, 0, 0, 1), IPAddress(10, 0, 0, 2), protocol: 99, segment: [1, 1, 1, 0, 5])
    bytes[0] = 0x46
    (bytes[10], bytes[11]) = (0, 0)
    let checksum = Checksum.of(bytes.span.extracting(0..<24))
    (bytes[10], bytes[11]) = (UInt8(checksum >> 8), UInt8(checksum & 255))
    let packet = try ParsedPacket(parsing: bytes.span)
    #expect(packet.hasOptions && packet.transport == .other(99) && packet.payloadOffset == 24)
    #expect(packet.payloadLength == 1)
    bytes[12] ^= 1
    #expect(throws: ParseError(.ipv4, .badChecksum)) { try ParsedPacket(parsing: bytes.span) }

    let jumbo = ipPacket(IPAddress(v6: 1), IPAddress(v6: 2), protocol: 0, segment: [6, 0, 0xC2, 4, 0, 1, 0, 0, 1])
    let strange = try ParsedPacket(parsing: jumbo.span)
    #expect(strange.hasUnknownExtension && strange.transport == .other(6))
  }

  @Test func randomBytesNeverTrap() {
    let protocols: [UInt8] = [1, 6, 17, 58, 0, 43, 44, 60]
    feedRandomBytes(
      seed: 92, upTo: 120,
      shape: { bytes, random in
        guard bytes.count >= 20 else { return }
        let next = protocols[Int(random.next() % 8)]
        if random.chance(0.5) {
          bytes[0] = 0x45 + UInt8(random.next() % 4)
          (bytes[2], bytes[3], bytes[9]) = (0, UInt8(bytes.count), next)
          if random.chance(0.7) { (bytes[6], bytes[7]) = (0, 0) }
          let size = Int(bytes[0] & 15) * 4
          guard size <= bytes.count else { return }
          (bytes[10], bytes[11]) = (0, 0)
          let checksum = Checksum.of(bytes.span.extracting(0..<size))
          (bytes[10], bytes[11]) = (UInt8(checksum >> 8), UInt8(checksum & 255))
        } else if bytes.count >= 48 {
          bytes[0] = 0x60
          (bytes[4], bytes[5], bytes[6]) = (0, UInt8(bytes.count - 40), next)
          (bytes[40], bytes[41]) = (protocols[Int(random.next() % 8)], bytes[41] & 3)
        }
      }
    ) { bytes throws(ParseError) in
      do throws(ParseError) { _ = try QuotedPacket(parsing: bytes) } catch {}
      let packet = try ParsedPacket(parsing: bytes)
      #expect(packet.payloadOffset >= 0 && packet.payloadLength >= 0)
      #expect(packet.payloadOffset + packet.payloadLength <= bytes.count)
      try packet.verifyChecksum(in: bytes)
    }
  }
}

@Suite struct QuotedPacketTests {
  @Test func eightBytesOfTransportAreEnough() throws {
    for (a, b) in [(IPAddress(10, 0, 0, 1), IPAddress(10, 0, 0, 2)), (IPAddress(v6: 1), IPAddress(v6: 2))] {
      let header = TCPHeader(sourcePort: 1000, destinationPort: 80, sequence: 0xDEAD_BEEF, flags: .syn, window: 1)
      let bytes = ipPacket(a, b, protocol: 6, segment: written(20) { header.write(into: &$0) })
      let cut = Array(bytes.dropLast(12))
      let quoted = try QuotedPacket(parsing: cut.span)
      #expect(quoted.fiveTuple == FiveTuple(protocol: .tcp, source: Endpoint(a, 1000), destination: Endpoint(b, 80)))
      #expect(quoted.sequence == 0xDEAD_BEEF)
      expectRefusedWhenCut(cut) { bytes throws(ParseError) in try QuotedPacket(parsing: bytes) }
    }
  }
}

@Suite struct FiveTupleTests {
  @Test func reversalAndEquality() {
    let tuple = FiveTuple(
      protocol: .udp, source: Endpoint(IPAddress(1, 2, 3, 4), 5), destination: Endpoint(IPAddress(6, 7, 8, 9), 10))
    #expect(tuple.reversed.reversed == tuple && tuple.reversed != tuple)
    #expect(Set([tuple, tuple.reversed, tuple]).count == 2)
    #expect(tuple.description == "udp 1.2.3.4:5 > 6.7.8.9:10")
    // The same numbers in another family are another flow.
    let v6 = FiveTuple(
      protocol: .udp, source: Endpoint(IPAddress(v6: tuple.source.address.value), 5),
      destination: Endpoint(IPAddress(v6: tuple.destination.address.value), 10))
    #expect(v6 != tuple && Set([tuple, v6]).count == 2)
  }
}
