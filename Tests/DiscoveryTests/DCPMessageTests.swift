import Discovery
import Packet
import Primitives
import Testing

@Suite struct DCPMessageTests {
  /// A device "plc-1" at 192.168.0.5/24, gateway 192.168.0.1, as IEC 61158-6-10 clause 4.3 lays it out.
  static let response = hex(
    """
    feff 05 01 01020304 0000 0046
    0201 0009 0000 53372d31323030 00
    0202 0007 0000 706c632d31 00
    0203 0006 0000 002a 010d
    0204 0004 0000 01 00
    0205 0004 0000 0102
    0102 000e 0001 c0a80005 ffffff00 c0a80001
    """)

  @Test func requestsByteForByte() throws {
    #expect(
      DCPRequest.identifyAll(from: own, xid: 0x0102_0304, delay: 0x80)
        == hex("010ecf000000 020000000001 8892 fefe 05 00 01020304 0080 0004 ffff 0000")
        + [UInt8](repeating: 0, count: 30))
    let name = try #require(StationName("plc-1"))
    #expect(
      DCPRequest.identify(name: name, from: own, xid: 9).prefix(36).map(\.self)
        == hex("010ecf000000 020000000001 8892 fefe 05 00 00000009 0001 000a 0202 0005 706c632d31 00"))
    #expect(
      DCPRequest.set(name: name, permanent: true, of: other, from: own, xid: 0x0102_0304)
        == hex(
          """
          020000000002 020000000001 8892 fefd 04 00 01020304 0000 000c 0202 0007 0001 706c632d31 00
          000000000000000000000000000000000000
          """) + [0, 0, 0, 0])
    let address = try #require(
      IPv4Assignment(IPAddress(192, 168, 0, 5), prefixLength: 24, gateway: IPAddress(192, 168, 0, 1)))
    #expect(
      DCPRequest.set(address, permanent: false, of: other, from: own, xid: 0x0102_0304)
        == hex(
          """
          020000000002 020000000001 8892 fefd 04 00 01020304 0000 0012 0102 000e 0000 c0a80005 ffffff00 c0a80001
          00000000000000000000000000000000
          """))
    #expect(
      DCPRequest.get(of: other, from: own, xid: 1).prefix(32).map(\.self)
        == hex("020000000002 020000000001 8892 fefd 03 00 00000001 0000 0006 0202 0203 0102"))
    // Without a gateway, the device's own address stands for none.
    let alone = try #require(IPv4Assignment(IPAddress(10, 0, 0, 7), prefixLength: 8))
    #expect(
      DCPRequest.set(alone, permanent: true, of: other, from: own, xid: 1)[32..<44].map(\.self)
        == hex("0a000007 ff000000 0a000007"))
  }

  @Test func aDeviceTellsOfItself() throws {
    let message = try DCPMessage(parsing: Self.response.span)
    #expect(message.service == .identify && message.direction == .success && message.xid == 0x0102_0304)
    #expect(
      message.blocks == [
        .stationType("S7-1200"), .nameOfStation("plc-1"), .deviceID(vendor: 0x2A, device: 0x10D), .role(1),
        .other(option: 2, suboption: 5),
        .ip(
          info: 1, IPAddress(192, 168, 0, 5), mask: IPAddress(255, 255, 255, 0), gateway: IPAddress(192, 168, 0, 1)),
      ])
  }

  @Test func ownRequestsAreRead() throws {
    let name = try #require(StationName("plc-1"))
    for frame in [
      DCPRequest.identifyAll(from: own, xid: 7, delay: 1), DCPRequest.identify(name: name, from: own, xid: 7),
      DCPRequest.get(of: other, from: own, xid: 7),
      DCPRequest.set(name: name, permanent: true, of: other, from: own, xid: 7),
    ] {
      let message = try DCPMessage(parsing: frame.span.extracting(14..<frame.count))
      #expect(message.xid == 7 && message.direction == .request)
      #expect(message.blocks.allSatisfy { if case .other = $0 { true } else { false } })
    }
  }

  @Test func whatASetHasComeTo() throws {
    let done = hex("fefd 04 01 01020304 0000 0008 0504 0003 0202 00 00")
    #expect(try DCPMessage(parsing: done.span).blocks == [.result(option: 2, suboption: 2, error: 0)])
    let refused = hex("fefd 04 01 01020304 0000 0008 0504 0003 0102 06 00")
    #expect(try DCPMessage(parsing: refused.span).blocks == [.result(option: 1, suboption: 2, error: 6)])
  }

  @Test func lengthsAreJudged() {
    // The header claims more than is there; a block does; a block has no room for what it is.
    for bad in [
      "feff 05 01 01020304 0000 0008 0202 0002 0000", "feff 05 01 01020304 0000 0006 0202 0003 0000",
      "feff 05 01 01020304 0000 0006 0102 0002 0001", "feff 05 01 01020304 0000 0004 0202 0000",
      "feff 05 01 01020304 0000 0003 0202 00",
    ] {
      #expect(throws: DiscoveryParseError.self, "\(bad)") { try DCPMessage(parsing: hex(bad).span) }
    }
    // A frame identifier that doesn't fit the service.
    #expect(throws: DiscoveryParseError.otherMessage) {
      try DCPMessage(parsing: hex("fefe 05 01 01020304 0000 0000").span)
    }
  }

  @Test func blocksAreBounded() {
    let blocks = [[UInt8]](repeating: [0x80, 1, 0, 0], count: 65).flatMap { $0 }
    let bytes = hex("feff 05 01 01020304 0000 0104") + blocks
    #expect(throws: DiscoveryParseError.tooMany) { try DCPMessage(parsing: bytes.span) }
  }

  @Test func nothingTraps() {
    expectNoTrap(Self.response, seed: 1) { (try? DCPMessage(parsing: $0)) != nil }
  }
}
