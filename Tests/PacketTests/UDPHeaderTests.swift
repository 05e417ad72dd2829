import Packet
import Primitives
import Testing

@Suite struct UDPHeaderTests {
  @Test func roundTrips() throws {
    var random = SeededRandom(seed: 50)
    for _ in 0..<2000 {
      let payload = Int(random.next() % 100)
      let header = UDPHeader(
        sourcePort: random16(&random), destinationPort: random16(&random), length: UInt16(8 + payload),
        checksum: random16(&random))
      let bytes = written(8 + payload) { header.write(into: &$0) }
      #expect(try UDPHeader(parsing: bytes.span) == header)
      expectRefusedWhenCut(Array(bytes)) { bytes throws(ParseError) in try UDPHeader(parsing: bytes) }
    }
  }

  @Test func lengths() throws {
    let bytes: [UInt8] = [0, 53, 0x30, 0x39, 0, 9, 0, 0, 7, 0xFF]
    #expect(try UDPHeader(parsing: bytes.span).description == "53 > 12345: UDP, length 1")
    for length in [0, 7, 11] as [UInt8] {
      var bad = bytes
      bad[5] = length
      #expect(throws: ParseError(.udp, .badLength(Int(length)))) { try UDPHeader(parsing: bad.span) }
    }
  }

  @Test func randomBytesNeverTrap() {
    feedRandomBytes(seed: 51, upTo: 24, shape: { bytes, _ in if bytes.count > 4 { bytes[4] = 0 } }) {
      bytes throws(ParseError) in _ = try UDPHeader(parsing: bytes)
    }
  }
}
