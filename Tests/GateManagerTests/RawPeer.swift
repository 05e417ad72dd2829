import Control
import Crypto
import Glibc
import Kernel
import Primitives

@testable import GateManager

/// A peer of the open port that sends what a test wants, under TLS or in it. Blocks, for some seconds at most.
final class RawPeer {
  let socket: OwnedDescriptor
  private var tls: TLSConnection?
  private var decoder = MessageDecoder()

  /// How a connection ended, as its peer sees it.
  enum End: Equatable {
    case closed, cut, alert(UInt8), late, other(String)

    var isEnd: Bool { self != .late }
  }

  /// Without TLS.
  init(_ fixture: GateFixture) throws {
    socket = try Socket.connect(to: fixture.service.endpoint)
    try UnixSocket.setBlocking(socket, timeoutSeconds: 25)
    try Socket.setNoDelay(socket)
  }

  /// With the TLS handshake done.
  convenience init(
    _ fixture: GateFixture, _ credentials: TLSContext.Credentials? = nil, alpn: [String] = [ControlProtocol.alpn]
  ) throws {
    try self.init(fixture)
    let context = try TLSContext(.client, credentials: credentials, peer: .required, alpn: alpn)
    tls = try TLSConnection(context, descriptor: socket.rawValue)
    _ = try tls?.handshake()
  }

  /// Bytes under TLS, or without any.
  func sendRaw(_ bytes: [UInt8]) { try? socket.writeAll(bytes) }

  /// Application data; as much of it as the peer takes.
  func send(_ bytes: [UInt8]) {
    var start = 0
    while start < bytes.count, case .bytes(let count)? = try? tls?.write(bytes.span.extracting(start..<bytes.count)) {
      start += count
    }
  }

  func send(_ message: ControlMessage, request: UInt64? = nil) throws {
    send(try ControlEnvelope(message, request: request).encoded())
  }

  /// A message of any text.
  func send(text: String) { send(Self.message(text)) }

  static func message(_ text: String) -> [UInt8] {
    let size = UInt32(text.utf8.count)
    return [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: size >> $0) } + Array(text.utf8)
  }

  func hello(_ role: Role, version: Int = ControlProtocol.version, software: String = "test/1") throws {
    try send(.hello(.init(role: role, name: "test", software: software, version: version)))
  }

  /// The next message, or how the connection ended.
  func next() throws -> Result<ControlMessage, Ended> {
    var buffer = [UInt8](repeating: 0, count: 16384)
    while true {
      if let envelope = try decoder.next() { return .success(envelope.message) }
      var span = buffer.mutableSpan
      do throws(TLSError) {
        switch try tls?.read(into: &span) {
        case .bytes(let count): try? decoder.receive(buffer.span.extracting(0..<count))
        case .closedByPeer: return .failure(Ended(end: .closed))
        case .wantsRead, .wantsWrite, nil: return .failure(Ended(end: .late))
        }
      } catch {
        return .failure(Ended(end: Self.end(error)))
      }
    }
  }

  /// The failure that comes next; others than pings in between are none.
  func failure() throws -> ControlMessage.Failure? {
    while case .success(let message) = try next() {
      if case .failure(let failure) = message { return failure }
    }
    return nil
  }

  /// Reads until the connection is over.
  func end() throws -> End {
    guard tls != nil else { return rawEnd() }
    while true {
      guard case .failure(let ended) = try next() else { continue }
      return ended.end
    }
  }

  struct Ended: Error { let end: End }

  private func rawEnd() -> End {
    var buffer = [UInt8](repeating: 0, count: 16384)
    while true {
      var span = buffer.mutableSpan
      do throws(SystemError) {
        switch try socket.read(into: &span) {
        case .moved: continue
        case .wouldBlock: return .late
        default: return .closed
        }
      } catch {
        return error.code == ECONNRESET ? .cut : .other("\(error)")
      }
    }
  }

  private static func end(_ error: TLSError) -> End {
    switch error {
    case .truncated, .system(ECONNRESET), .system(EPIPE): .cut
    case .peerAlert(let code, _): .alert(code)
    case .system(EAGAIN): .late
    default: .other("\(error)")
    }
  }

  /// Ends this direction.
  func finish() { _ = shutdown(socket.rawValue, CInt(SHUT_WR)) }
}
