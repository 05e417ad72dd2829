import Glibc
import Kernel
import Primitives
import Testing

@testable import Proxy

@Suite struct OutboundTests {
  @Test func connects() throws {
    let server = try LocalServer { socket in
      try? write(Array("hello".utf8), to: socket)
    }
    let socket = try Outbound.connect(to: server.address, until: soon)
    #expect(try readToEnd(socket) == Array("hello".utf8))
    server.join()
  }

  @Test func triesTheNextAddressOfAName() throws {
    // The listener has the IPv4 address only; the name may have ::1 as well, and first.
    let server = try LocalServer { socket in try? write([1], to: socket) }
    let named = HostPort(host: "localhost", port: server.endpoint.port)!
    let socket = try Outbound.connect(to: named, until: soon)
    #expect(try readExactly(1, from: socket) == [1])
    server.join()
  }

  @Test func givesUpOnNamesThatDoNotExist() {
    let start = Clock.now
    let error = #expect(throws: DialError.self) {
      _ = try Outbound.connect(to: HostPort("gm.invalid:443")!, until: start + .seconds(2))
    }
    // Which of the two depends on the resolver; that it ends in time doesn't.
    switch error {
    case .resolve, .timedOut: break
    default: Issue.record("\(String(describing: error))")
    }
    #expect(Clock.now - start < .seconds(4))
  }

  @Test func tellsRefusalFromSilence() throws {
    let listener = try Socket.listen(on: Endpoint(IPAddress(127, 0, 0, 1), 0))
    let endpoint = Socket.localEndpoint(listener)!
    _ = consume listener
    #expect(throws: DialError.refused(endpoint)) { _ = try Outbound.connect(to: HostPort(endpoint), until: soon) }

    // A listener with a full queue drops what comes: silence without a network.
    let full = try Socket.listen(on: Endpoint(IPAddress(127, 0, 0, 1), 0), backlog: 0)
    let silent = Socket.localEndpoint(full)!
    let first = try Socket.connect(to: silent)
    let second = try Socket.connect(to: silent)
    let start = Clock.now
    #expect(throws: DialError.timedOut(HostPort(silent))) {
      _ = try Outbound.connect(to: HostPort(silent), until: start + .milliseconds(200))
    }
    #expect(Clock.now - start < .seconds(3))
    withExtendedLifetime((first.rawValue, second.rawValue)) {}
  }

  @Test func isCancelledWhileItWaits() throws {
    let cancel = try Cancellation()
    let server = try LocalServer { socket in _ = try? readToEnd(socket) }
    let proxy = ProxyConfiguration(server: server.address)
    let canceller = try Thread(name: "cancel") {
      usleep(50_000)
      cancel.cancel()
    }
    // The proxy takes the request and never answers.
    #expect(throws: DialError.cancelled) {
      _ = try Outbound.connect(to: HostPort("gm.example:443")!, via: proxy, until: soon, cancel: cancel)
    }
    canceller.join()
    #expect(throws: DialError.cancelled) { _ = try Outbound.connect(to: server.address, until: soon, cancel: cancel) }
    #expect(throws: DialError.cancelled) {
      _ = try Outbound.connect(to: HostPort("gm.invalid:443")!, until: soon, cancel: cancel)
    }
    server.join()
  }

  @Test func doesNotTakeWhatFollowsTheProxysHeader() throws {
    let server = try LocalServer { socket in
      var request: [UInt8] = []
      while !request.ends(with: "\r\n\r\n") {
        guard let byte = try? readExactly(1, from: socket) else { return }
        request += byte
      }
      try? write(Array("HTTP/1.1 200 OK\r\n\r\n\u{16}\u{3}TLS".utf8), to: socket)
    }
    let proxy = ProxyConfiguration(server: server.address)
    let socket = try Outbound.connect(to: HostPort("gm.example:443")!, via: proxy, until: soon)
    #expect(try readToEnd(socket) == [0x16, 3] + Array("TLS".utf8))
    server.join()
  }

  @Test func reportsTheProxysRefusal() throws {
    let server = try LocalServer(connections: 2) { socket in
      if (try? readExactly(8, from: socket)) != nil {
        try? write(Array("HTTP/1.1 503 Busy\r\n\r\n".utf8), to: socket)
        _ = try? readToEnd(socket)
      }
    }
    let proxy = ProxyConfiguration(server: server.address)
    #expect(throws: DialError.proxy(server.address, .refused(status: 503, reason: "Busy"))) {
      _ = try Outbound.connect(to: HostPort("gm.example:443")!, via: proxy, until: soon)
    }
  }

  @Test(.enabled(if: Tinyproxy.path != nil, "tinyproxy isn't installed"))
  func goesThroughARealProxy() throws {
    let server = try LocalServer(connections: 2) { socket in
      guard let got = try? readExactly(4, from: socket) else { return }
      try? write(got.reversed(), to: socket)
    }
    let proxy = try Tinyproxy(user: "ann", password: "s3cret", allowing: server.endpoint.port)
    defer { proxy.stop() }
    let named = ProxyConfiguration(server: proxy.address, credentials: .init(user: "ann", password: "s3cret"))
    let socket = try Outbound.connect(to: server.address, via: named, until: soon)
    try write([1, 2, 3, 4], to: socket)
    #expect(try readExactly(4, from: socket) == [4, 3, 2, 1])

    let stranger = ProxyConfiguration(server: proxy.address)
    #expect(throws: DialError.proxy(proxy.address, .authenticationRequired(schemes: ["Basic"]))) {
      _ = try Outbound.connect(to: server.address, via: stranger, until: soon)
    }
    let forbidden = #expect(throws: DialError.self) {
      _ = try Outbound.connect(to: HostPort("127.0.0.1:9")!, via: named, until: soon)
    }
    guard case .proxy(proxy.address, .refused(status: 403, _)) = forbidden else {
      Issue.record("\(String(describing: forbidden))")
      return
    }
  }
}

extension [UInt8] {
  fileprivate func ends(with text: String) -> Bool { suffix(text.utf8.count).elementsEqual(text.utf8) }
}
