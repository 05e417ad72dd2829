import Crypto
import Glibc
import Kernel
import Primitives
import Testing

@testable import Proxy

/// The switch from the outer TLS to raw bytes.
@Suite struct TLSSwitchTests {
  private let gate: TestIdentity
  private let link: TestIdentity

  init() throws {
    gate = try TestIdentity("gate")
    link = try TestIdentity("link")
    IgnoredSignals.brokenPipe
  }

  private func clientContext() throws -> TLSContext {
    try TLSContext(.client, credentials: link.credentials, alpn: ["x/1"])
  }

  private func connect(_ server: LocalServer) throws -> TLSStream {
    let pin = GateServer(server.address, pin: .key(gate.keyHash))
    return try pin.open(clientContext(), alpn: "x/1", until: soon)
  }

  private func serverContext(_ version: TLSContext.Version) throws -> TLSContext {
    try TLSContext(
      .server, credentials: gate.credentials, peer: .requested, alpn: ["x/1"], versions: version...version)
  }

  @Test(arguments: [TLSContext.Version.tls12, .tls13], [0, 1, 5, 100, 70_000])
  func losesNothingThatFollowsInTheSameSegment(_ version: TLSContext.Version, _ count: Int) throws {
    let raw = (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 31 ^ 0x17) }
    let context = try serverContext(version)
    let server = try LocalServer { socket in
      guard var peer = try? MemoryPeer(context) else { return }
      guard (try? peer.handshake(socket)) != nil else { return }
      // Message, close_notify and raw bytes leave in one write: the worst that packet boundaries can do.
      guard let segment = try? peer.seal(Array("ready".utf8), thenClose: true) else { return }
      try? write(segment + raw, to: socket)
      Glibc.shutdown(socket.rawValue, CInt(SHUT_WR))
      _ = try? readToEnd(socket)
    }
    var stream = try connect(server)
    #expect(stream.version == version)
    var buffer = [UInt8](repeating: 0, count: 64)
    var bytes = buffer.mutableSpan
    #expect(try stream.read(into: &bytes, until: soon) == 5)
    let socket = try stream.leave(until: soon)
    #expect(try readToEnd(socket) == raw)
    _ = consume socket
    server.join()
  }

  @Test(arguments: [TLSContext.Version.tls12, .tls13])
  func carriesRawBytesBothWaysAfterwards(_ version: TLSContext.Version) throws {
    let context = try serverContext(version)
    let server = try LocalServer { socket in
      guard let copy = try? socket.duplicate(),
        let stream = try? TLSStream.open(over: copy, context: context, serverName: nil, until: soon),
        let raw = try? stream.leave(until: soon), let got = try? readExactly(1000, from: raw)
      else { return }
      try? write(got.reversed(), to: raw)
    }
    let socket = try connect(server).leave(until: soon)
    let sent = (0..<1000).map { UInt8(truncatingIfNeeded: $0) }
    try write(sent, to: socket)
    #expect(try readToEnd(socket) == sent.reversed())
    server.join()
  }

  @Test(arguments: [TLSContext.Version.tls12, .tls13])
  func refusesDataAcrossTheSwitch(_ version: TLSContext.Version) throws {
    let context = try serverContext(version)
    let server = try LocalServer { socket in
      guard var peer = try? MemoryPeer(context), (try? peer.handshake(socket)) != nil else { return }
      guard let segment = try? peer.seal([1], thenClose: true) else { return }
      try? write(segment, to: socket)
      _ = try? readToEnd(socket)
    }
    do throws(GateError) {
      let stream: TLSStream
      do { stream = try connect(server) } catch { throw .timedOut }
      _ = try stream.leave(until: soon)
      Issue.record("stray data was accepted")
    } catch {
      #expect(error == .strayData)
    }
    server.join()
  }

  @Test(arguments: [TLSContext.Version.tls12, .tls13])
  func takesACutForACut(_ version: TLSContext.Version) throws {
    let context = try serverContext(version)
    let server = try LocalServer { socket in
      guard var peer = try? MemoryPeer(context) else { return }
      _ = try? peer.handshake(socket)
    }
    var error: GateError?
    do throws(GateError) {
      let stream: TLSStream
      do { stream = try connect(server) } catch { throw .timedOut }
      _ = try stream.leave(until: soon)
    } catch let caught {
      error = caught
    }
    // Closed with our close_notify unread, the server's socket resets.
    #expect(error == .tls(.truncated) || error == .tls(.system(ECONNRESET)))
    server.join()
  }

  @Test func refusesAnotherKeyAndAnotherProtocol() throws {
    let context = try serverContext(.tls13)
    let server = try LocalServer(connections: 3) { socket in
      guard let copy = try? socket.duplicate() else { return }
      guard var stream = try? TLSStream.open(over: copy, context: context, serverName: nil, until: soon) else { return }
      var buffer: [UInt8] = [0]
      var bytes = buffer.mutableSpan
      _ = try? stream.read(into: &bytes, until: soon)
    }
    let client = try clientContext()
    let stranger = GatePin.key(link.keyHash)
    #expect(throws: GateError.wrongKey(expected: stranger, found: gate.keyHash)) {
      _ = try GateServer(server.address, pin: stranger).open(client, alpn: "x/1", until: soon)
    }
    let prefix = GatePin.prefix(Array(gate.keyHash.bytes.prefix(16)))
    #expect(throws: GateError.wrongProtocol("x/1")) {
      _ = try GateServer(server.address, pin: prefix).open(client, alpn: "y/1", until: soon)
    }
    _ = try GateServer(server.address, pin: prefix).open(client, alpn: "x/1", until: soon)
    server.join()
  }

  @Test func pinsByPrefixOnlyIfItIsLongEnough() {
    let bytes = gate.keyHash.bytes
    #expect(GatePin.prefix(Array(bytes.prefix(16))).matches(gate.keyHash))
    #expect(!GatePin.prefix(Array(bytes.prefix(15))).matches(gate.keyHash))
    #expect(!GatePin.prefix([]).matches(gate.keyHash))
    #expect(!GatePin.prefix(Array(bytes[1...17])).matches(gate.keyHash))
    #expect(!GatePin.key(link.keyHash).matches(gate.keyHash))
  }
}

/// What a host does at its start: a peer that has gone is an error of the write, not a signal.
enum IgnoredSignals {
  static let brokenPipe: Void = { _ = signal(SIGPIPE, SIG_IGN) }()
}
