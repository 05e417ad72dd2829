import Discovery
import Packet
import Primitives
import Testing

@Suite struct ARPMessageTests {
  static let request = hex("0001 0800 06 04 0001 020000000001 c0a80009 000000000000 c0a80005")

  @Test func byteForByteAndBack() throws {
    let frame = ARPMessage.request(
      for: IPAddress(192, 168, 0, 5), from: own, senderAddress: IPAddress(192, 168, 0, 9))
    #expect(
      frame == hex("ffffffffffff 020000000001 0806") + Self.request + [UInt8](repeating: 0, count: 18))
    let message = try ARPMessage(parsing: Self.request.span)
    #expect(message.operation == 1 && message.sender == own && message.senderAddress == IPAddress(192, 168, 0, 9))
    #expect(message.target == MACAddress(0) && message.targetAddress == IPAddress(192, 168, 0, 5))
  }

  @Test func othersAreRefused() {
    for bad in [
      "0006 0800 06 04 0001", "0001 86dd 06 04 0001", "0001 0800 08 04 0001", "0001 0800 06 10 0001",
      "0001 0800 06 04 0003",
    ] {
      let bytes = hex(bad) + [UInt8](repeating: 0, count: 20)
      #expect(throws: DiscoveryParseError.otherMessage, "\(bad)") { try ARPMessage(parsing: bytes.span) }
    }
  }

  @Test func nothingTraps() {
    expectNoTrap(Self.request, seed: 6) { (try? ARPMessage(parsing: $0)) != nil }
  }
}
