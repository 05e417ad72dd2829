import Packet
import Primitives
import Testing

@Suite struct IPv4HeaderTests {
  // The example that RFC 1071's readers know: 192.168.0.1 > 192.168.0.199, checksum b861.
  let vector: [UInt8] = [
    0x45, 0x00, 0x00, 0x73, 0x00, 0x00, 0x40, 0x00, 0x40, 0x11, 0xB8, 0x61, 0xC0, 0xA8, 0x00, 0x01, 0xC0, 0xA8, 0x00,
    0xC7,
  ]

  @Test func knownHeader() throws {
    let header = try IPv4Header(parsing: vector.span)
    #expect(header.source == IPAddress(192, 168, 0, 1) && header.destination == IPAddress(192, 168, 0, 199))
    #expect(header.totalLength == 115 && header.protocolNumber == 17 && header.timeToLive == 64)
    #expect(header.dontFragment && !header.isFragment && !header.hasOptions)
    #expect(header.hasValidChecksum(vector.span) == true)
    #expect(written(20) { header.write(into: &$0) } == vector)
    #expect(header.description.hasPrefix("IP 192.168.0.1 > 192.168.0.199: tos 0x0, ttl 64, id 0, offset 0, flags [DF]"))
  }

  @Test func roundTrips() throws {
    var random = SeededRandom(seed: 10)
    for _ in 0..<5000 {
      let header = randomHeader(&random)
      let bytes = written(20) { header.write(into: &$0) }
      #expect(try IPv4Header(parsing: bytes.span) == header)
      #expect(header.hasValidChecksum(bytes.span) == true)
      #expect(naiveChecksum(bytes) == 0)
    }
  }

  @Test func optionsAreSkipped() throws {
    var bytes = vector + [1, 1, 1, 0]
    bytes[0] = 0x46
    let header = try IPv4Header(parsing: bytes.span)
    #expect(header.headerLength == 24 && header.hasOptions)
    #expect(header.hasValidChecksum(bytes.span) == false)
    expectRefusedWhenCut(bytes) { bytes throws(ParseError) in try IPv4Header(parsing: bytes) }
  }

  @Test func refusals() {
    var bytes = vector
    bytes[0] = 0x65
    #expect(throws: ParseError(.ipv4, .badVersion(6))) { try IPv4Header(parsing: bytes.span) }
    bytes[0] = 0x44
    #expect(throws: ParseError(.ipv4, .badHeaderLength(16))) { try IPv4Header(parsing: bytes.span) }
    bytes[0] = 0x45
    (bytes[2], bytes[3]) = (0, 19)
    #expect(throws: ParseError(.ipv4, .badLength(19))) { try IPv4Header(parsing: bytes.span) }
  }

  @Test func randomBytesNeverTrap() {
    feedRandomBytes(seed: 11, upTo: 64, shape: { bytes, _ in if !bytes.isEmpty { bytes[0] = 0x40 | bytes[0] & 0xF } }) {
      bytes throws(ParseError) in _ = try IPv4Header(parsing: bytes).hasValidChecksum(bytes)
    }
  }

  private func randomHeader(_ random: inout SeededRandom) -> IPv4Header {
    IPv4Header(
      source: randomAddress(.v4, &random), destination: randomAddress(.v4, &random), protocolNumber: random8(&random),
      totalLength: max(20, random16(&random)), identification: random16(&random), dontFragment: random.chance(0.5),
      moreFragments: random.chance(0.5), fragmentOffset: Int(random16(&random) & 0x1FFF) * 8,
      timeToLive: random8(&random), trafficClass: random8(&random))
  }
}
