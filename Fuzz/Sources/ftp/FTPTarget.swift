import FuzzDriver
import Primitives

@testable import Proxy

/// FTP control connections, both directions. Whatever the pieces in which bytes arrive, the same goes on and the same is
/// decided; with every command refused, no line that a server could take for PORT or EPRT with an endpoint goes on.
@main enum FTPTarget: FuzzTarget {
  static func run(_ bytes: UnsafeBufferPointer<UInt8>) {
    var script = Script(bytes)
    let flags = script.byte()
    let pieces = Script(script.take(6))
    let text = script.rest()
    if flags & 1 == 0 { readCommands(text, pieces, flags) } else { readReplies(text, pieces, flags) }
    if flags & 2 != 0 { readBoth(text, flags) }
    readAddresses([UInt8](text)[...])
  }

  private static let other = Endpoint(IPAddress(192, 168, 10, 1), 50_000)
  private static let other6 = Endpoint(IPAddress(v6: 0xFD00 << 112 | 1), 50_000)

  // MARK: Commands

  private static func pass(
    _ text: UnsafeBufferPointer<UInt8>, _ pieces: Script?, _ flags: UInt8
  ) -> (output: [UInt8], events: [FTPCommands.Event]) {
    var commands = FTPCommands()
    var output: [UInt8] = []
    var events: [FTPCommands.Event] = []
    var rest = Script(text)
    var script = pieces
    while !rest.isAtEnd {
      let count = script.map { $0.isAtEnd ? rest.left : 1 + Int($0.peek) % 40 } ?? rest.left
      _ = script?.byte()
      commands.receive(rest.take(count).span)
      while let event = commands.nextEvent() {
        events.append(event)
        guard case .active = event else { continue }
        switch flags >> 2 & 3 {
        case 0: commands.decide(.refuse)
        case 1: commands.decide(.keep)
        case 2: commands.decide(.replace(other))
        default: commands.decide(.replace(other6))
        }
      }
      check(commands.heldCount <= FTPCommands.maximumHeld + text.count, "held within its bound")
      output += commands.takeOutput()
    }
    commands.finish()
    return (output + commands.takeOutput(), events)
  }

  private static func readCommands(_ text: UnsafeBufferPointer<UInt8>, _ pieces: Script, _ flags: UInt8) {
    let whole = pass(text, nil, flags)
    let cut = pass(text, pieces, flags)
    check(whole.output == cut.output, "the same goes on, however it is cut")
    check(whole.events == cut.events, "the same is asked, however it is cut")
    guard flags >> 2 & 3 == 0 else { return }
    check(whole.output.count == text.count, "what is refused keeps its length")
    checkNoEndpoint(whole.output)
  }

  /// The readings that servers have of a line: Telnet codes of two or three bytes skipped or not, other than letters
  /// skipped or not, ends at CR, LF or both. None may see an endpoint with a port in a command that names one.
  private static func checkNoEndpoint(_ output: [UInt8]) {
    for codeSize in [0, 2, 3] {
      var bytes: [UInt8] = []
      var index = 0
      while index < output.count {
        let isCode = output[index] == 255 && codeSize > 0
        if isCode {
          index += codeSize
        } else {
          bytes.append(output[index])
          index += 1
        }
      }
      for line in bytes.split(whereSeparator: { $0 == 10 || $0 == 13 }) {
        let letters = line.prefix(4).map { $0 & 0xDF }
        guard letters == Array("PORT".utf8) || letters == Array("EPRT".utf8), line.count > 5,
          line[line.startIndex + 4] == 32
        else { continue }
        let argument = line[(line.startIndex + 5)...].drop { $0 == 32 }
        let endpoint =
          letters[0] == UInt8(ascii: "P") ? FTPAddress.parsePort(argument) : FTPAddress.parseExtendedPort(argument)
        check(endpoint == nil || endpoint?.port == 0, "a refused command's endpoint went on: \(endpoint!)")
      }
    }
  }

  // MARK: Replies

  private static func pass(
    _ text: UnsafeBufferPointer<UInt8>, _ pieces: Script?, alias: IPAddress?
  ) -> (output: [UInt8], events: [FTPReplies.Event]) {
    var replies = FTPReplies(alias: alias)
    var output: [UInt8] = []
    var events: [FTPReplies.Event] = []
    var rest = Script(text)
    var script = pieces
    while !rest.isAtEnd {
      let count = script.map { $0.isAtEnd ? rest.left : 1 + Int($0.peek) % 40 } ?? rest.left
      _ = script?.byte()
      replies.receive(rest.take(count).span)
      while let event = replies.nextEvent() { events.append(event) }
      check(replies.heldCount <= FTPReplies.maximumHeld, "held within its bound")
      output += replies.takeOutput()
    }
    replies.finish()
    return (output + replies.takeOutput(), events)
  }

  private static func readReplies(_ text: UnsafeBufferPointer<UInt8>, _ pieces: Script, _ flags: UInt8) {
    let alias = flags & 4 == 0 ? nil : flags & 8 == 0 ? IPAddress(198, 18, 200, 200) : IPAddress(v6: 1)
    let whole = pass(text, nil, alias: alias)
    let cut = pass(text, pieces, alias: alias)
    check(whole.output == cut.output && whole.events == cut.events, "the same, however it is cut")
    if alias?.family != .v4 { check(whole.output.elementsEqual(text), "without an alias all passes as it is") }
    if let index = whole.events.firstIndex(of: .encrypted) {
      check(index == whole.events.count - 1, "nothing is read behind encryption")
    }
  }

  // MARK: Both

  /// Lines of commands and replies in turn, as the first letter of a line says.
  private static func readBoth(_ text: UnsafeBufferPointer<UInt8>, _ flags: UInt8) {
    var control = FTPControl(alias: flags & 4 == 0 ? nil : IPAddress(198, 18, 0, 9))
    for line in text.split(separator: 10, omittingEmptySubsequences: false) {
      let bytes = [UInt8](line) + [10]
      if bytes[0] < 0x40 { control.receiveReplies(bytes.span) } else { control.receiveCommands(bytes.span) }
      while let event = control.nextEvent() {
        switch event {
        case .passive(let port): check(port >= FTPControl.lowestDataPort, "no well-known port is opened")
        case .active: control.decide(flags & 8 == 0 ? .refuse : .keep)
        case .spoiled: break
        }
      }
    }
    control.finishCommands()
    control.finishReplies()
    check(control.heldCommands == 0, "nothing is held behind the end")
  }

  private static func readAddresses(_ bytes: ArraySlice<UInt8>) {
    guard bytes.count <= 80 else { return }
    if let endpoint = FTPAddress.parsePort(bytes) {
      check(FTPAddress.parsePort(Array(FTPAddress.portArgument(endpoint).utf8)[...]) == endpoint, "the same endpoint")
    }
    if let endpoint = FTPAddress.parseExtendedPort(bytes) {
      let command = FTPAddress.command(endpoint).dropLast(2)
      let again =
        endpoint.address.family == .v4
        ? FTPAddress.parsePort(command.dropFirst(5)) : FTPAddress.parseExtendedPort(command.dropFirst(5))
      check(again == endpoint, "the same endpoint")
    }
    if let port = FTPAddress.parseExtendedPassive(bytes) { check(bytes.count >= 5, "\(port) stands among delimiters") }
  }

  static var seeds: [[UInt8]] {
    let commands = [
      "USER a\r\nPASS b\r\nPORT 198,18,0,1,156,65\r\nRETR x\r\n", "eprt |1|198.18.0.1|40001|\r\nSTOR y\r\n",
      "EPRT |2|fd00::1|5282|\r\nLIST\r\n", "PASV\r\nEPSV ALL\r\nEPSV\r\n", "LPRT 4,4,1,2,3,4,2,5,6\r\n",
      "\u{1}PO\u{2}RT  1,2,3,4,5,6 \r\nQUIT", "PORT 1,2,3,4,5,6", "P ORT 1,2,3,4,5,6\n", "AUTH TLS\r\nPROT P\r\n",
    ]
    let replies = [
      "220-hello\r\n227 in it\r\n220 done\r\n", "227 Entering Passive Mode (192,168,1,2,200,10).\r\n",
      "229 Entering Extended Passive Mode (|||6446|)\r\n", "234 go\r\n\u{16}\u{3}\u{1}", "227 =1,2,3,4,5,6\r\n",
      "229 (|1|10.0.0.1|6446|)\r\n", "150 x\r\n226 y\r\n", "22", "227 ",
    ]
    let both = ["EPSV\n229 (|||6446|)\nPASV\n227 1,2,3,4,9,9\nAUTH TLS\n234 ok\nPORT 1,2,3,4,5,6\n"]
    let pieces: [UInt8] = [3, 0, 9, 1, 30, 0]
    var seeds: [[UInt8]] = []
    for text in commands { for flags: UInt8 in [0, 4, 8, 12] { seeds.append([flags] + pieces + Array(text.utf8)) } }
    for text in replies { for flags: UInt8 in [1, 5, 13] { seeds.append([flags] + pieces + Array(text.utf8)) } }
    for text in both { for flags: UInt8 in [2, 14] { seeds.append([flags] + pieces + Array(text.utf8)) } }
    seeds.append([0] + pieces + [255, 244, 255, 242] + Array("ABOR\r\n".utf8))
    seeds.append([0] + pieces + Array("PO".utf8) + [255, 251, 10] + Array("RT 1,2,3,4,5,6\r\n".utf8))
    return seeds
  }
}
