import Primitives
import Testing

@testable import Proxy

@Suite struct FTPCommandsTests {
  /// Feeds text, cut in pieces, and decides about each command by `decide`.
  private func pass(
    _ pieces: [String], _ decide: (Endpoint) -> FTPControl.Decision = { _ in .keep }
  ) -> (output: String, events: [FTPCommands.Event]) {
    pass(pieces.map { Array($0.utf8) }, decide)
  }

  private func pass(
    _ pieces: [[UInt8]], _ decide: (Endpoint) -> FTPControl.Decision = { _ in .keep }
  ) -> (output: String, events: [FTPCommands.Event]) {
    var commands = FTPCommands()
    var events: [FTPCommands.Event] = []
    for bytes in pieces {
      commands.receive(bytes.span)
      while let event = commands.nextEvent() {
        events.append(event)
        if case .active(let endpoint) = event { commands.decide(decide(endpoint)) }
      }
    }
    commands.finish()
    return (String(decoding: commands.takeOutput(), as: UTF8.self), events)
  }

  private let own = Endpoint(IPAddress(198, 18, 0, 1), 40_001)
  private let other = Endpoint(IPAddress(192, 168, 10, 1), 50_000)

  @Test func ordinaryCommandsPassAtOnce() {
    var commands = FTPCommands()
    for text in ["USER anonymous\r\n", "RETR a", "b\r\n", "\r\n", "x", "PWD\r", "\n", "pass port 1,2\r\n"] {
      commands.receive(Array(text.utf8).span)
      #expect(String(decoding: commands.takeOutput(), as: UTF8.self) == text)
      #expect(commands.nextEvent() == nil && commands.heldCount == 0)
    }
  }

  @Test func commandsAreReplacedAtEverySplit() throws {
    let session = "USER a\r\nPORT 198,18,0,1,156,65\r\nRETR x\r\neprt |1|198.18.0.1|40001|\r\nSTOR y\r\nQUIT\r\n"
    let expected = "USER a\r\nPORT 192,168,10,1,195,80\r\nRETR x\r\nPORT 192,168,10,1,195,80\r\nSTOR y\r\nQUIT\r\n"
    let bytes = Array(session.utf8)
    for first in 0...bytes.count {
      for second in stride(from: first, through: bytes.count, by: 7) {
        let pieces = [Array(bytes[..<first]), Array(bytes[first..<second]), Array(bytes[second...])]
        let (output, events) = pass(pieces) { $0 == own ? .replace(other) : .refuse }
        #expect(output == expected, "split at \(first) and \(second)")
        #expect(events == [.active(own), .active(own)])
      }
    }
  }

  @Test func nothingOvertakesADecision() {
    var commands = FTPCommands()
    commands.receive(Array("PORT 198,18,0,1,156,65\r\nRETR x\r\nEPSV\r\n".utf8).span)
    #expect(commands.nextEvent() == .active(own))
    #expect(commands.takeOutput() == [] && commands.nextEvent() == nil)
    commands.receive(Array("NOOP\r\n".utf8).span)
    #expect(commands.takeOutput() == [])
    commands.decide(.keep)
    #expect(
      String(decoding: commands.takeOutput(), as: UTF8.self)
        == "PORT 198,18,0,1,156,65\r\nRETR x\r\nEPSV\r\nNOOP\r\n")
    #expect(commands.nextEvent() == .passive)
  }

  @Test func refusedCommandsKeepTheirLength() {
    #expect(
      pass(["PORT 192,168,10,30,0,80\r\nNOOP\r\n"]) { _ in .refuse }.output == "PORT 000,000,00,00,0,00\r\nNOOP\r\n")
    #expect(pass(["EPRT |2|fd00:10::1|50000|\r\n"]) { _ in .refuse }.output == "EPRT |0|fd00:00::0|00000|\r\n")
  }

  @Test func ipV6IsToldByEPRT() throws {
    let v6 = Endpoint(try #require(IPAddress("fd00:10::1")), 50_000)
    let (output, events) = pass(["EPRT |2|fd00:5256::1|40001|\n"]) { _ in .replace(v6) }
    #expect(output == "EPRT |2|fd00:10::1|50000|\r\n")
    #expect(events == [.active(Endpoint(try #require(IPAddress("fd00:5256::1")), 40_001))])
  }

  /// Ways to get a foreign endpoint past the site: each has to come out as no endpoint, or not as a PORT for any server.
  @Test(arguments: [
    "PORT 192,168,10,30,0,80", " PORT 192,168,10,30,0,80", "\t\u{0}PORT 192,168,10,30,0,80", "PORT\t192,168,10,30,0,80",
    "P\u{0}ORT 192,168,10,30,0,80", "PORT  192,168,10,30,0,80 x", "PORT 192,168,10,30,0,80,1",
    "PORT 192, 168,10,30,0,80", "PORT 192,168,10,30,000000,80", "PORT +192,168,10,30,0,80",
    "LPRT 4,4,192,168,10,30,2,0,80", "EPRT |1|192.168.10.30|80", "EPRT 1,192.168.10.30,80,",
    "EPRT |2|192.168.10.30|80|",
    "EPRT |1|192.168.10.30|99999|", "PORT " + String(repeating: " ", count: 1000) + "192,168,10,30,0,80",
    String(repeating: " ", count: 1000) + "PORT 192,168,10,30,0,80", "NOOP\rPORT 192,168,10,30,0,80",
    "NOOP\nPORT 192,168,10,30,0,80", "PORT 192,168,10,30,0,80\rx",
  ])
  func bouncesAreRefused(line: String) {
    let bytes = Array((line + "\r\n").utf8)
    for split in 0...bytes.count {
      let (output, _) = pass([Array(bytes[..<split]), Array(bytes[split...])]) { _ in .refuse }
      #expect(output.utf8.allSatisfy { !(49...57).contains($0) }, "\(output.debugDescription) split at \(split)")
      #expect(output.utf8.count == bytes.count)
    }
  }

  @Test(arguments: [[255, 241], [255, 244, 255, 242]] as [[UInt8]])
  func telnetCodesHideNothing(code: [UInt8]) {
    let argument = Array(" 192,168,10,30,0,80\r\n".utf8)
    for position in 0...4 {
      var word = Array("PORT".utf8)
      word.insert(contentsOf: code, at: position)
      let (output, _) = pass([word + argument]) { _ in .refuse }
      #expect(output.utf8.allSatisfy { !(49...57).contains($0) }, "\(output)")
    }
    // In front of ABOR they stand by right (RFC 959 section 4.1.3), and pass.
    var commands = FTPCommands()
    let abort = code + Array("ABOR\r\n".utf8)
    commands.receive(abort.span)
    #expect(commands.takeOutput() == abort)
  }

  /// A server that knows Telnet codes of three bytes, and one that doesn't, may read the same line differently.
  /// The last ones have a line's end within the code: what follows is still the same line to who knows such codes.
  @Test(
    arguments: [
      [255, 251], [255, 253, 80], [255, 10], [255, 13], [255, 255], [255, 80], [255, 251, 10], [255, 254, 13],
      [255, 250, 10, 1, 13, 10, 255, 240],
    ] as [[UInt8]])
  func ambiguousTelnetCodesSpoilTheLine(code: [UInt8]) {
    for position in 0...4 {
      var word = Array("PORT".utf8)
      word.insert(contentsOf: code, at: position)
      let (output, _) = pass([word + Array(" 192,168,10,30,0,80\r\n".utf8)]) { _ in .refuse }
      #expect(output.utf8.allSatisfy { !(49...57).contains($0) }, "\(output.debugDescription)")
    }
  }

  @Test func anUnfinishedCommandGoesOnAsNone() {
    #expect(pass(["PORT 192,168,10,30,0,8"]).output == "PORT 000,000,00,00,0,0")
    #expect(pass(["NOO"]).output == "NOO")
    var commands = FTPCommands()
    commands.receive(Array("PORT 198,18,0,1,156,65\r\nNOOP\r\n".utf8).span)
    commands.finish()
    #expect(String(decoding: commands.takeOutput(), as: UTF8.self) == "PORT 000,00,0,0,000,00\r\nNOOP\r\n")
  }

  @Test func encryptedBytesPass() {
    var commands = FTPCommands()
    commands.receive(Array("AUTH TLS\r\n".utf8).span)
    commands.becomeOpaque()
    let bytes = [22, 3, 1] + Array("PORT 192,168,10,30,0,80\r\n".utf8)
    commands.receive(bytes.span)
    #expect(commands.takeOutput() == Array("AUTH TLS\r\n".utf8) + bytes)
    #expect(commands.nextEvent() == nil)
  }

  @Test func whatIsHeldIsBounded() {
    var commands = FTPCommands()
    for _ in 0..<10_000 {
      commands.receive(Array("PORT 1,1,1,1,1,1,".utf8).span)
      #expect(commands.heldCount <= FTPCommands.maximumHeld)
      _ = commands.takeOutput()
    }
    var blanks = FTPCommands()
    for _ in 0..<10_000 {
      blanks.receive(Array("        ".utf8).span)
      #expect(blanks.heldCount <= FTPCommands.maximumHeld)
    }
  }

  @Test func randomBytesKeepTheirCount() {
    var random = SeededRandom(seed: 11)
    let alphabet = Array("PORTEPSVL 0123456789,|.\r\n".utf8) + [255, 241, 251, 0]
    for _ in 0..<2000 {
      let bytes = (0..<Int(random.next() % 200)).map { _ in alphabet[Int(random.next() % UInt64(alphabet.count))] }
      #expect(pass([bytes]) { _ in .refuse }.output.utf8.count >= bytes.count)
      var commands = FTPCommands()
      commands.receive(bytes.span)
      while let event = commands.nextEvent() { if case .active = event { commands.decide(.refuse) } }
      commands.finish()
      #expect(commands.takeOutput().count == bytes.count)
    }
  }
}
