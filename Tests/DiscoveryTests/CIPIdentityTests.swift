import Discovery
import Packet
import Primitives
import Testing

@Suite struct CIPIdentityTests {
  /// 1756-EN2T of Rockwell at 192.168.0.6, laid out as CIP volume 2 has it.
  static let answer = hex(
    """
    6300 3b00 00000000 00000000 f401665544332211 00000000
    0100 0c00 3500 0100 0002 af12 c0a80006 0000000000000000
    0100 0c00 a600 0a02 6000 78563412 13 313735362d454e32542f4120202020202020 20 03
    """)

  @Test func requestByteForByte() {
    let frame = UDPFrame.bytes(
      to: Endpoint(IPAddress(255, 255, 255, 255), 44818), from: Endpoint(IPAddress(192, 168, 0, 9), 40000), own,
      payload: CIPIdentity.request(delay: 500, context: 0x1122_3344_5566))
    #expect(
      frame
        == hex(
          """
          ffffffffffff 020000000001 0800 45000034000000000111f908c0a80009ffffffff 9c40af120020d00d
          63000000 00000000 00000000 f401665544332211 00000000
          """))
  }

  @Test func aDeviceTellsOfItself() throws {
    let identity = try CIPIdentity(parsing: Self.answer.span)
    #expect(identity.address == IPAddress(192, 168, 0, 6) && identity.vendor == 1 && identity.deviceType == 12)
    #expect(identity.productCode == 166 && identity.revision == (10, 2) && identity.status == 0x60)
    #expect(identity.serial == 0x1234_5678 && identity.productName == "1756-EN2T/A")
    #expect(identity.vendorName == "Rockwell Automation" && identity.deviceTypeName == "communications adapter")
  }

  @Test func lengthsAreJudged() {
    var tooMany = Self.answer
    tooMany[24] = 17
    #expect(throws: DiscoveryParseError.tooMany) { try CIPIdentity(parsing: tooMany.span) }
    var long = Self.answer
    long[62] = 200
    #expect(throws: DiscoveryParseError.self) { try CIPIdentity(parsing: long.span) }
    // A request is no answer.
    #expect(throws: DiscoveryParseError.self) {
      try CIPIdentity(parsing: CIPIdentity.request(delay: 1, context: 1).span)
    }
  }

  @Test func nothingTraps() {
    expectNoTrap(Self.answer, seed: 2) { (try? CIPIdentity(parsing: $0)) != nil }
  }
}
