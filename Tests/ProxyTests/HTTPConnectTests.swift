import Testing

@testable import Proxy

@Suite struct HTTPConnectTests {
  let target = HostPort("gm.example:443")!

  private func receive(
    _ machine: inout HTTPConnect, _ text: String
  ) throws(HTTPConnectError) -> (consumed: Int, progress: HTTPConnect.Progress) {
    let bytes = Array(text.utf8)
    return try machine.receive(bytes.span)
  }

  @Test func asks() {
    let request = String(decoding: HTTPConnect(to: target).request, as: UTF8.self)
    #expect(
      request == "CONNECT gm.example:443 HTTP/1.1\r\nHost: gm.example:443\r\nUser-Agent: RelayVPN\r\n\r\n")
    let named = HTTPConnect(to: target, credentials: .init(user: "Aladdin", password: "open sesame"))
    // RFC 7617 section 2's own example.
    #expect(
      String(decoding: named.request, as: UTF8.self).contains(
        "\r\nProxy-Authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n"))
  }

  @Test func leavesWhatFollowsTheHeaderAtEverySplit() throws {
    let header = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 Connection established\r\nVia: x\r\n\r\n"
    let bytes = Array((header + "TLS bytes").utf8)
    for split in 0...bytes.count {
      var machine = HTTPConnect(to: target)
      var answer = try machine.receive(bytes.span.extracting(0..<split))
      var consumed = answer.consumed
      if answer.progress == .needsMore {
        #expect(answer.consumed == split)
        answer = try machine.receive(bytes.span.extracting(split..<bytes.count))
        consumed += answer.consumed
      }
      #expect(answer.progress == .established)
      #expect(consumed == header.utf8.count)
    }
  }

  @Test(arguments: ["HTTP/1.0 200\n\n", "HTTP/1.1 204 \r\n\r\n", "HTTP/1.1 299 odd\r\nContent-Length: 5\r\n\r\n"])
  func accepts(_ header: String) throws {
    var machine = HTTPConnect(to: target)
    #expect(try receive(&machine, header) == (header.utf8.count, .established))
  }

  @Test func tellsRefusalsApart() {
    #expect(throws: HTTPConnectError.refused(status: 403, reason: "Not?allowed")) {
      var machine = HTTPConnect(to: target)
      _ = try receive(&machine, "HTTP/1.1 403 Not\u{1b}allowed\r\n\r\n")
    }
    #expect(throws: HTTPConnectError.authenticationRequired(schemes: ["Negotiate", "Basic"])) {
      var machine = HTTPConnect(to: target)
      _ = try receive(
        &machine,
        "HTTP/1.1 407 Auth\r\nproxy-authenticate: Negotiate\r\nProxy-Authenticate: Basic realm=\"x\"\r\n\r\n")
    }
    #expect(throws: HTTPConnectError.refused(status: 101, reason: "Switching")) {
      var machine = HTTPConnect(to: target)
      _ = try receive(&machine, "HTTP/1.1 101 Switching\r\n\r\n")
    }
  }

  @Test(arguments: [
    "\r\n\r\n", "SSH-2.0-x\r\n\r\n", "HTTP/1.1 2000 x\r\n\r\n", "HTTP/2 200 OK\r\n\r\n", "\n\n", "HTTP/1.1\n\n",
  ])
  func refusesWhatIsNotHTTP(_ text: String) {
    #expect(throws: HTTPConnectError.malformed) {
      var machine = HTTPConnect(to: target)
      _ = try receive(&machine, text)
    }
  }

  @Test func isBounded() {
    #expect(throws: HTTPConnectError.tooLong) {
      var machine = HTTPConnect(to: target)
      while true { _ = try receive(&machine, "HTTP/1.1 100 Continue\r\n\r\n") }
    }
    #expect(throws: HTTPConnectError.tooLong) {
      var machine = HTTPConnect(to: target)
      _ = try receive(&machine, "HTTP/1.1 200 " + String(repeating: "x", count: HTTPConnect.headerLimit))
    }
  }
}
