import Crypto
import Glibc
import Testing

@Suite struct TLSSocketTests {
  /// A connected pair of stream sockets, closed at the end.
  struct SocketPair: ~Copyable {
    let descriptors: (CInt, CInt)

    init() throws {
      var pair: [CInt] = [-1, -1]
      guard unsafe socketpair(AF_UNIX, CInt(SOCK_STREAM.rawValue), 0, &pair) == 0 else { throw WrongSize() }
      for descriptor in pair { _ = fcntl(descriptor, F_SETFL, O_NONBLOCK) }
      descriptors = (pair[0], pair[1])
    }

    deinit {
      close(descriptors.0)
      close(descriptors.1)
    }
  }

  func handshake(_ client: inout TLSConnection, _ server: inout TLSConnection) throws {
    var done = (false, false)
    for _ in 0..<20 where !(done.0 && done.1) {
      if !done.0 { done.0 = try client.handshake() == .done }
      if !done.1 { done.1 = try server.handshake() == .done }
    }
    try #require(done == (true, true))
  }

  func contexts(_ version: TLSContext.Version) throws -> (TLSContext, TLSContext) {
    (
      try TLSContext(.client, credentials: Party("client").credentials, versions: version...version),
      try TLSContext(.server, credentials: Party("server").credentials, versions: version...version)
    )
  }

  func write(_ bytes: [UInt8], _ descriptor: CInt) {
    #expect(unsafe Glibc.write(descriptor, bytes, bytes.count) == bytes.count)
  }

  func read(_ descriptor: CInt) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: 65536)
    let count = unsafe Glibc.read(descriptor, &bytes, bytes.count)
    return Array(bytes[..<max(0, count)])
  }

  /// Data, close_notify and raw bytes lie in the socket together; TLS takes its own and leaves the raw ones.
  @Test(arguments: [TLSContext.Version.tls12, .tls13])
  func rawBytesAfterCloseNotifyStayInTheSocket(version: TLSContext.Version) throws {
    let sockets = try SocketPair()
    let (one, other) = try contexts(version)
    var client = try TLSConnection(one, descriptor: sockets.descriptors.0)
    var server = try TLSConnection(other, descriptor: sockets.descriptors.1)
    try handshake(&client, &server)

    let written = try client.write(Array("ticket".utf8))
    let closed = try client.shutdown()
    #expect(written == .bytes(6))
    #expect(closed == .done)
    let raw = (0..<3000).map { UInt8(truncatingIfNeeded: $0) }
    write(raw, sockets.descriptors.0)

    let (_, text) = try server.readOnce()
    #expect(text == Array("ticket".utf8))
    let (end, _) = try server.readOnce()
    #expect(end == .closedByPeer)
    let answer = try server.shutdown()
    #expect(answer == .done)
    #expect(read(sockets.descriptors.1) == raw)

    let (theirEnd, _) = try client.readOnce()
    #expect(theirEnd == .closedByPeer)
    write(raw, sockets.descriptors.1)
    #expect(read(sockets.descriptors.0) == raw)
  }

  @Test(arguments: [TLSContext.Version.tls12, .tls13])
  func dataThatCrossesCloseNotifyIsStillSeen(version: TLSContext.Version) throws {
    let sockets = try SocketPair()
    let (one, other) = try contexts(version)
    var client = try TLSConnection(one, descriptor: sockets.descriptors.0)
    var server = try TLSConnection(other, descriptor: sockets.descriptors.1)
    try handshake(&client, &server)
    _ = try server.write([7])
    _ = try client.shutdown()
    let (result, _) = try client.readOnce()
    #expect(result == .bytes(1))
  }

  @Test func emptySocketsWantReading() throws {
    let sockets = try SocketPair()
    let (one, other) = try contexts(.tls13)
    var client = try TLSConnection(one, descriptor: sockets.descriptors.0, serverName: "gate.example")
    var server = try TLSConnection(other, descriptor: sockets.descriptors.1)
    let waiting = try server.handshake()
    #expect(waiting == .wantsRead)
    try handshake(&client, &server)
    let name = server.serverName
    #expect(name == "gate.example")
    let (result, _) = try client.readOnce()
    #expect(result == .wantsRead)
  }

  @Test func fullSocketsWantWritingAndLoseNothing() throws {
    let sockets = try SocketPair()
    let (one, other) = try contexts(.tls13)
    var client = try TLSConnection(one, descriptor: sockets.descriptors.0)
    var server = try TLSConnection(other, descriptor: sockets.descriptors.1)
    try handshake(&client, &server)
    let text = (0..<1_000_000).map { UInt8(truncatingIfNeeded: $0 &* 31) }
    var sent = 0
    var waited = 0
    var got: [UInt8] = []
    while got.count < text.count {
      if sent < text.count {
        switch try client.write(Array(text[sent...])) {
        case .bytes(let count): sent += count
        case .wantsWrite: waited += 1
        case .wantsRead: Issue.record("nothing to read")
        }
        if waited == 0 { continue }
      }
      while case (.bytes, let bytes) = try server.readOnce() { got += bytes }
    }
    #expect(got == text)
    #expect(waited > 0)
  }

  @Test func aCutSocketIsNotAnEnd() throws {
    let sockets = try SocketPair()
    let (one, other) = try contexts(.tls13)
    var client = try TLSConnection(one, descriptor: sockets.descriptors.0)
    var server = try TLSConnection(other, descriptor: sockets.descriptors.1)
    try handshake(&client, &server)
    _ = Glibc.shutdown(sockets.descriptors.0, CInt(SHUT_WR))
    var error: TLSError?
    do throws(TLSError) { _ = try server.readOnce() } catch let failure { error = failure }
    #expect(error == .truncated)
  }
}
