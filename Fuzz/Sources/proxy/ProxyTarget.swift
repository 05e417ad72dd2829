import FuzzDriver
import Primitives
import Proxy

/// A proxy's answer to CONNECT. However it is cut, the same is made of it; no byte behind the blank line is taken; the
/// bound of the header holds, and nothing that can't be printed gets into what people are told.
@main enum ProxyTarget: FuzzTarget {
  private enum Outcome: Equatable {
    case established(consumed: Int)
    case waiting
    case failed(HTTPConnectError)
  }

  private static let target = HostPort("gm.example:443")!

  static func run(_ bytes: UnsafeBufferPointer<UInt8>) {
    var script = Script(bytes)
    let pieces = Script(script.take(6))
    let text = script.rest()
    let whole = read(text, nil)
    check(read(text, pieces) == whole, "the same, however it is cut")
    switch whole {
    case .established(let consumed):
      check(consumed <= HTTPConnect.headerLimit, "a header within its bound")
      check(text[consumed - 1] == 10, "up to the blank line, and not one byte more")
      var before = text[..<(consumed - 1)]
      if before.last == 13 { before = before.dropLast() }
      check(before.last == 10, "a blank line")
      check(text[..<consumed].starts(with: "HTTP/1.".utf8), "an answer of HTTP")
    case .waiting: check(text.count <= HTTPConnect.headerLimit, "a header within its bound")
    case .failed(let error):
      check(error.description.unicodeScalars.allSatisfy { (0x20..<0x7F).contains($0.value) }, "what can be printed")
      if case .refused(let status, let reason) = error {
        check((0...999).contains(status) && reason.utf8.count <= 80, "a short reason")
      }
    }
    readServers(text)
  }

  private static func read(_ text: UnsafeBufferPointer<UInt8>, _ pieces: Script?) -> Outcome {
    var machine = HTTPConnect(to: target)
    var rest = Script(text)
    var script = pieces
    while !rest.isAtEnd {
      let before = rest.offset
      let count = script.map { $0.isAtEnd ? rest.left : 1 + Int($0.peek) } ?? rest.left
      _ = script?.byte()
      let piece = rest.take(count)
      do throws(HTTPConnectError) {
        let (consumed, progress) = try machine.receive(piece.span)
        if progress == .established { return .established(consumed: before + consumed) }
        check(consumed == piece.count, "all is taken while more is needed")
      } catch {
        return .failed(error)
      }
    }
    return .waiting
  }

  /// What people write about servers and proxies, which is read from files as well.
  private static func readServers(_ bytes: UnsafeBufferPointer<UInt8>) {
    guard bytes.count <= 300 else { return }
    let text = String(decoding: bytes, as: UTF8.self)
    if let server = HostPort(text) {
      check(HostPort(server.description) == server, "a server is read as it is written")
      check(server.port != 0 && !server.host.isEmpty, "a name and a port")
    }
    if let server = HostPort(text, defaultPort: 443) { check(server.port != 0, "a port") }
    if let proxy = try? ProxyConfiguration(parsing: text) {
      let request = HTTPConnect(to: target, credentials: proxy.credentials).request
      // RFC 9112 section 2.2: nothing that a URL holds can add a line to the request.
      check(request.count { $0 == 10 } == (proxy.credentials == nil ? 4 : 5), "a request of as many lines as meant")
    }
    if let address = IPAddress(text) { check(IPAddress(address.description) == address, "an address") }
    if let prefix = IPPrefix(text) {
      check(IPPrefix(prefix.description) == prefix, "a network")
      check(prefix.contains(prefix.address), "a network holds its first address")
    }
  }

  static var seeds: [[UInt8]] {
    let pieces: [UInt8] = [3, 0, 9, 1, 30, 0]
    let texts = [
      "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 Connection established\r\nVia: x\r\n\r\nTLS", "HTTP/1.0 200\n\n",
      "HTTP/1.1 403 Not\u{1b}allowed\r\n\r\n", "HTTP/1.1 101 Switching\r\n\r\n", "HTTP/1.1 204 \r\n\r\n",
      "HTTP/1.1 407 Auth\r\nproxy-authenticate: Negotiate\r\nProxy-Authenticate: Basic realm=\"x\"\r\n\r\n",
      "\r\n\r\n", "SSH-2.0-x\r\n\r\n", "HTTP/1.1 2000 x\r\n\r\n", "HTTP/2 200 OK\r\n\r\n",
      "gm.example:443", "[2001:db8::1]:443", "192.0.2.1:8080", "http://proxy:3128", "http://user:pa%20ss@[::1]:3128/",
      "https://proxy", "10.0.0.0/8", "fd00::/56", "::ffff:1.2.3.4", "1::2:3",
    ]
    return texts.map { pieces + Array($0.utf8) }
  }
}
