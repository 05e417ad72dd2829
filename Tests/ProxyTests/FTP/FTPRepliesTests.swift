import Primitives
import Testing

@testable import Proxy

@Suite struct FTPRepliesTests {
  private static let alias = IPAddress(198, 18, 55, 6)

  private func pass(
    _ pieces: [[UInt8]], alias: IPAddress? = alias
  ) -> (output: String, events: [FTPReplies.Event]) {
    var replies = FTPReplies(alias: alias)
    var events: [FTPReplies.Event] = []
    for bytes in pieces {
      replies.receive(bytes.span)
      while let event = replies.nextEvent() { events.append(event) }
    }
    replies.finish()
    return (String(decoding: replies.takeOutput(), as: UTF8.self), events)
  }

  private func pass(_ text: String, alias: IPAddress? = alias) -> (output: String, events: [FTPReplies.Event]) {
    pass([Array(text.utf8)], alias: alias)
  }

  @Test func announcementsAreReadAtEverySplit() {
    let session =
      "220 hello\r\n227 Entering Passive Mode (192,168,10,10,195,149)\r\n150 ok\r\n"
      + "229 Entering Extended Passive Mode (|||6446|)\r\n226 done\r\n"
    let expected =
      "220 hello\r\n227 Entering Passive Mode (198,18,55,6,195,149)\r\n150 ok\r\n"
      + "229 Entering Extended Passive Mode (|||6446|)\r\n226 done\r\n"
    let bytes = Array(session.utf8)
    for first in 0...bytes.count {
      for second in stride(from: first, through: bytes.count, by: 5) {
        let (output, events) = pass([
          Array(bytes[..<first]), Array(bytes[first..<second]), Array(bytes[second...]),
        ])
        #expect(output == expected, "split at \(first) and \(second)")
        #expect(events == [.passive(port: 50_069), .passive(port: 6446)])
      }
    }
  }

  /// RFC 1123 section 4.1.2.6: neither parentheses nor the text are given.
  @Test(arguments: [
    "227 =192,168,10,10,4,1\r\n", "227 192,168,10,10,4,1\r\n", "227 Passive 1 (192,168,10,10,4,1).\r\n",
    "227 Entering passive mode. 192,168,10,10,4,1\n",
  ])
  func formsOfServers(reply: String) {
    let (output, events) = pass(reply)
    #expect(events == [.passive(port: 1025)])
    #expect(output.contains("198,18,55,6,4,1") && !output.contains("192,168"))
  }

  @Test(arguments: [
    "227 Entering Passive Mode (192,168,10,10,195)\r\n", "227 (192,168,10,256,4,1)\r\n", "227 (1,2,3,4,5,6,7)\r\n",
    "229 (||6446|)\r\n", "229 |||6446|\r\n", "229 (|||64460|||)\r\n", "229 (|||99999|)\r\n", "2270 (1,2,3,4,5,6)\r\n",
    "227\r\n", "22\r\n", "\r\n", "hello\r\n",
  ])
  func whatIsNotUnderstoodPasses(reply: String) {
    let (output, events) = pass(reply)
    #expect(output == reply && events.isEmpty)
  }

  @Test func onlyTheBeginningOfAReplyCounts() {
    let listing =
      "213-status follows:\r\n227 Entering Passive Mode (192,168,10,10,4,1)\r\n"
      + "-rw-r--r-- 227 (192,168,10,10,4,1)\r\n213 end\r\n"
    #expect(pass(listing) == (listing, []))
    let (_, events) = pass(listing + "227 (192,168,10,10,4,2)\r\n")
    #expect(events == [.passive(port: 1026)])
  }

  @Test func nothingIsReadOnceEncrypted() {
    let text = "234 go ahead\r\n227 (192,168,10,10,4,1)\r\n"
    #expect(pass(text) == (text, [.encrypted]))
  }

  @Test func othersPassAtOnce() {
    var replies = FTPReplies(alias: nil)
    for text in ["login: ", "220-a", " b\r\n", "220 c\r\n"] {
      replies.receive(Array(text.utf8).span)
      #expect(String(decoding: replies.takeOutput(), as: UTF8.self) == text)
    }
  }

  @Test func whatIsHeldIsBounded() {
    var replies = FTPReplies(alias: nil)
    replies.receive(Array("227 ".utf8).span)
    for _ in 0..<1000 {
      replies.receive(Array("no end".utf8).span)
      #expect(replies.heldCount <= FTPReplies.maximumHeld)
    }
  }

  @Test func atTheSiteNothingChanges() {
    let text = "227 Entering Passive Mode (192,168,10,10,195,149)\r\n"
    #expect(pass(text, alias: nil) == (text, [.passive(port: 50_069)]))
    #expect(pass(text, alias: IPAddress("fd00::1")) == (text, [.passive(port: 50_069)]))
  }
}
