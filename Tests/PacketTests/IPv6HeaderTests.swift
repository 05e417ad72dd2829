import Packet
import Primitives
import Testing

@Suite struct IPv6HeaderTests {
  @Test func roundTrips() throws {
    var random = SeededRandom(seed: 20)
    for _ in 0..<5000 {
      let header = IPv6Header(
        source: randomAddress(.v6, &random), destination: randomAddress(.v6, &random), nextHeader: random8(&random),
        payloadLength: random16(&random), hopLimit: random8(&random), trafficClass: random8(&random),
        flowLabel: random32(&random) & 0xF_FFFF)
      let bytes = written(40) { header.write(into: &$0) }
      #expect(try IPv6Header(parsing: bytes.span) == header)
    }
  }

  @Test func knownHeader() throws {
    let source = try #require(IPAddress("2001:db8::1"))
    let destination = try #require(IPAddress("ff02::1"))
    let header = IPv6Header(
      source: source, destination: destination, nextHeader: 58, payloadLength: 8, hopLimit: 255, trafficClass: 0xE0,
      flowLabel: 0x12345)
    let bytes = written(40) { header.write(into: &$0) }
    #expect(bytes[0..<8] == [0x6E, 0x01, 0x23, 0x45, 0, 8, 58, 255])
    #expect(Array(bytes[8..<24]) == source.bytes && Array(bytes[24..<40]) == destination.bytes)
    expectRefusedWhenCut(bytes) { bytes throws(ParseError) in try IPv6Header(parsing: bytes) }
    let older = [0x45] + bytes[1...]
    #expect(throws: ParseError(.ipv6, .badVersion(4))) { try IPv6Header(parsing: older.span) }
  }

  @Test func randomBytesNeverTrap() {
    feedRandomBytes(seed: 21, upTo: 48, shape: { bytes, _ in if !bytes.isEmpty { bytes[0] = 0x60 | bytes[0] & 0xF } }) {
      bytes throws(ParseError) in _ = try IPv6Header(parsing: bytes)
    }
  }
}
