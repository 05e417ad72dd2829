import Discovery
import Packet
import Primitives
import Testing

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
