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

@Suite struct SSDPMessageTests {
  static let answer = Array(
    ("HTTP/1.1 200 OK\r\nCACHE-CONTROL: max-age=1800\r\nST: upnp:rootdevice\r\n"
      + "Location:  http://192.168.0.8:80/d.xml\r\nServer: Linux/5 UPnP/1.0 Panel/2\r\n"
      + "USN: uuid:1::upnp:rootdevice\r\n\r\n").utf8)

  @Test func answersAndNotices() throws {
    let message = try SSDPMessage(parsing: Self.answer.span)
    #expect(message.target == "upnp:rootdevice" && message.server == "Linux/5 UPnP/1.0 Panel/2")
    #expect(message.location == "http://192.168.0.8:80/d.xml" && message.uniqueName == "uuid:1::upnp:rootdevice")
    let notice = Array("NOTIFY * HTTP/1.1\r\nNT: urn:x\r\nbroken line\r\n".utf8)
    #expect(try SSDPMessage(parsing: notice.span).target == "urn:x")
    #expect(throws: DiscoveryParseError.otherMessage) { try SSDPMessage(parsing: SSDPMessage.search(seconds: 2).span) }
  }

  @Test func requestByteForByte() {
    #expect(
      String(decoding: SSDPMessage.search(seconds: 9), as: UTF8.self)
        == "M-SEARCH * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\nMAN: \"ssdp:discover\"\r\nMX: 5\r\n"
        + "ST: upnp:rootdevice\r\n\r\n")
  }

  @Test func sizeAndLinesAreBounded() throws {
    let first = Array("HTTP/1.1 200 OK\r\n".utf8)
    let line = Array("A: b\r\n".utf8)
    let full = first + Array([[UInt8]](repeating: line, count: 63).joined())
    #expect(try SSDPMessage(parsing: full.span).server == nil)
    #expect(throws: DiscoveryParseError.tooMany) {
      try SSDPMessage(parsing: (full + line).span)
    }
    #expect(throws: DiscoveryParseError.badLength(2049)) {
      try SSDPMessage(parsing: (first + [UInt8](repeating: 0x41, count: 2049 - first.count)).span)
    }
  }

  @Test func nothingTraps() {
    expectNoTrap(Self.answer, seed: 5, mayBeCut: true) { (try? SSDPMessage(parsing: $0)) != nil }
  }
}
