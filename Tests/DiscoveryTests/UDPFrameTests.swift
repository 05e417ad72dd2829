import Discovery
import Packet
import Primitives
import Testing

@Suite struct UDPFrameTests {
  static let frame = UDPFrame.bytes(
    to: Endpoint(IPAddress(224, 0, 0, 251), 5353), from: Endpoint(IPAddress(192, 168, 0, 9), 40000), own, hops: 255,
    payload: DNSMessage.query(DNSMessage.services, [DNSMessage.RecordType.ptr], id: 0x1234))

  @Test func byteForByteAndBack() throws {
    #expect(
      Self.frame
        == hex(
          """
          01005e0000fb 020000000001 0800 4500004a00000000ff1119f6c0a80009e00000fb 9c4014e90036645e
          123400000001000000000000 095f7365727669636573075f646e732d7364045f756470056c6f63616c00 000c0001
          """))
    let parsed = try UDPFrame(parsing: Self.frame.span)
    #expect(parsed.source == own && parsed.from == Endpoint(IPAddress(192, 168, 0, 9), 40000))
    #expect(parsed.to == Endpoint(IPAddress(224, 0, 0, 251), 5353) && parsed.payload == 42..<88)
    // Padding behind the datagram isn't payload.
    #expect(try UDPFrame(parsing: (Self.frame + [1, 2, 3]).span).payload == 42..<88)
  }

  @Test func damageIsSeen() {
    for index in Self.frame.indices where index >= 14 {
      var bytes = Self.frame
      bytes[index] ^= 0x40
      #expect(throws: DiscoveryParseError.self, "byte \(index)") { try UDPFrame(parsing: bytes.span) }
    }
  }

  @Test func nothingTraps() {
    expectNoTrap(Self.frame, seed: 3) { (try? UDPFrame(parsing: $0)) != nil }
  }
}
