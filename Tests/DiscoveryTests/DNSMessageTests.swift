import Discovery
import Packet
import Primitives
import Testing

@Suite struct DNSMessageTests {
  /// An answer with its additional records, names written out.
  static let answer = hex(
    """
    123484000000000100000003055f68747470045f746370056c6f63616c00000c000100000000001a0750726573732034055f68747470045f
    746370056c6f63616c000750726573732034055f68747470045f746370056c6f63616c00002100010000000000150000000000500770726573
    732d34056c6f63616c000770726573732d34056c6f63616c0000010001000000000004c0a800070750726573732034055f68747470045f7463
    70056c6f63616c000010000100000000000807706174683d2f78
    """)

  @Test func records() throws {
    let message = try DNSMessage(parsing: Self.answer.span)
    let instance = DNSName(["Press 4", "_http", "_tcp", "local"])
    let host = DNSName(["press-4", "local"])
    #expect(message.id == 0x1234 && message.isResponse)
    #expect(message.records.map(\.name) == [DNSName(["_http", "_tcp", "local"]), instance, host, instance])
    #expect(
      message.records.map(\.content) == [
        .pointer(instance), .service(host: host, port: 80), .address(IPAddress(192, 168, 0, 7)), .texts(["path=/x"]),
      ])
  }

  @Test func namesAreCompressed() throws {
    // The second name is "b" and a pointer to "local", the third a pointer to the second.
    let bytes =
      hex("0000 8400 0000 0002 0000 0000 0161056c6f63616c00 000c 0001 00000000 0004 0162c00e")
      + hex("c01f 0001 0001 00000000 0004 0a000001")
    let message = try DNSMessage(parsing: bytes.span)
    #expect(message.records.map(\.name) == [DNSName(["a", "local"]), DNSName(["b", "local"])])
    #expect(message.records[0].content == .pointer(DNSName(["b", "local"])))
  }

  @Test func pointersMakeNoLoop() {
    let header = "0000 8400 0000 0001 0000 0000"
    // To itself, forward, and through a label that comes round again.
    for name in ["c00c", "c00e 00", "c020 00", "0161 c00c"] {
      let bytes = hex(header + name + "0001 0001 00000000 0004 0a000001")
      #expect(throws: DiscoveryParseError.badName, "\(name)") { try DNSMessage(parsing: bytes.span) }
    }
  }

  @Test func aLabelOfWhichNothingIsLeftIsNone() {
    let message: [UInt8] = [0, 0, 0x84, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 1, 0, 0, 0, 1, 0, 4, 10, 0, 0, 1]
    #expect(throws: DiscoveryParseError.badName) { try DNSMessage(parsing: message.span) }
  }

  @Test func pointersAreBounded() throws {
    // Each record's name is a pointer to the one before.
    func chain(_ count: Int) -> [UInt8] {
      var bytes = hex("0000 8400 0000") + [0, UInt8(count)] + hex("0000 0000")
      var before = 0
      for index in 0..<count {
        let start = bytes.count
        bytes += index == 0 ? [1, 0x61, 0] : [0xC0 | UInt8(before >> 8), UInt8(before & 0xFF)]
        bytes += hex("0001 0001 00000000 0004 0a000001")
        before = start
      }
      return bytes
    }
    #expect(try DNSMessage(parsing: chain(17).span).records.count == 17)
    #expect(throws: DiscoveryParseError.badName) { try DNSMessage(parsing: chain(18).span) }
  }

  @Test func namesAndRecordsAreBounded() {
    let label = [UInt8(63)] + [UInt8](repeating: 0x61, count: 63)
    let long = label + label + label + label + [0]
    let tail = hex("0001 0001 00000000 0004 0a000001")
    #expect(throws: DiscoveryParseError.badName) {
      try DNSMessage(parsing: (hex("0000 8400 0000 0001 0000 0000") + long + tail).span)
    }
    #expect(throws: DiscoveryParseError.tooMany) {
      try DNSMessage(parsing: hex("0000 8400 0000 0080 0080 0001").span)
    }
  }

  @Test func nothingTraps() {
    expectNoTrap(Self.answer, seed: 4) { (try? DNSMessage(parsing: $0)) != nil }
  }
}
