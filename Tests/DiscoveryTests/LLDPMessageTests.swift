import Discovery
import Packet
import Primitives
import Testing

@Suite struct LLDPMessageTests {
  /// A switch of PROFINET, whose chassis is a name.
  static let message = hex(
    """
    0209 07 7377697463682d31 0409 07 706f72742d303031 0602 0014 0a02 7377 0c0e 4d616e6167656420737769746368
    100c 05 01 c0a8000b 02 00000001 00 fe0a 000ecf 05 020000000006 0000
    """)

  @Test func aNeighbourTellsOfItself() throws {
    let message = try LLDPMessage(parsing: Self.message.span)
    #expect(message.chassisName == "switch-1" && message.port == "port-001" && message.systemName == "sw")
    #expect(message.systemDescription == "Managed switch" && message.managementAddress == IPAddress(192, 168, 0, 11))
    #expect(message.isProfinet && message.chassis == MACAddress(0x0200_0000_0006))
    // The chassis by its address, the end left out, a management address of IPv6.
    let plain = hex(
      """
      0207 04 020000000007 0407 03 020000000008 0602 0078
      1018 11 02 fd000000000000000000000000000001 02 00000001 00
      """)
    let other = try LLDPMessage(parsing: plain.span)
    #expect(other.chassis == MACAddress(0x0200_0000_0007) && other.port == "02:00:00:00:00:08")
    #expect(other.managementAddress == IPAddress("fd00::1") && !other.isProfinet)
  }

  @Test func orderAndLengthsAreJudged() {
    for bad in [
      "0602 0014 0209 07 7377697463682d31", "0209 07 7377697463682d31 0602 0014 0000",
      "0207 04 020000000007 0407 03 020000000008 0602 0078 10ff 05", "0201 04 0407 03 020000000008 0602 0078 0000",
      "0207 04 020000000007 0407 03 020000000008 0602 0078 1002 00 01 0000",
    ] {
      #expect(throws: DiscoveryParseError.self, "\(bad)") { try LLDPMessage(parsing: hex(bad).span) }
    }
  }

  @Test func elementsAreBounded() {
    let start = hex("0207 04 020000000007 0407 03 020000000008 0602 0078")
    let more = [[UInt8]](repeating: hex("0a01 41"), count: 70).flatMap { $0 }
    #expect(throws: DiscoveryParseError.tooMany) { try LLDPMessage(parsing: (start + more).span) }
  }

  @Test func nothingTraps() {
    // An end that is left out can't be told from a message that ends between two elements.
    expectNoTrap(Self.message, seed: 7, mayBeCut: true) { (try? LLDPMessage(parsing: $0)) != nil }
  }
}
