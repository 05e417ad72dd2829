import Crypto
import Kernel
import Primitives

/// The outer TLS connection to a GateManager over a non-blocking socket, driven by blocking calls with deadlines.
///
/// TLS reads the socket itself and no further than the record that it needs, so that after close_notify both ways
/// the socket carries on with other bytes (`leave`).
struct TLSStream: ~Copyable {
  /// TLS ends before its socket is closed: it stands first.
  private var connection: TLSConnection
  let socket: OwnedDescriptor

  private init(_ connection: consuming TLSConnection, _ socket: consuming OwnedDescriptor) {
    self.connection = connection
    self.socket = socket
  }

  /// Does the handshake.
  ///
  /// - Parameter serverName: what a server with many names is asked for; `nil` for an address.
  static func open(
    over socket: consuming OwnedDescriptor, context: TLSContext, serverName: String?, until deadline: Instant,
    cancel: Cancellation? = nil
  ) throws(GateError) -> TLSStream {
    let connection: TLSConnection
    do throws(CryptoError) {
      connection = try TLSConnection(context, descriptor: socket.rawValue, serverName: serverName)
    } catch {
      throw .tls(.local(error))
    }
    var stream = TLSStream(connection, socket)
    while true {
      switch try stream.handshake() {
      case .done: return stream
      case .wantsRead: try stream.wait(for: .readable, until: deadline, cancel)
      case .wantsWrite: try stream.wait(for: .writable, until: deadline, cancel)
      }
    }
  }

  /// The hash of the key that the peer has proven to hold.
  var peerKeyHash: KeyHash? { connection.peerKeyHash }
  /// The protocol that both sides speak.
  var alpn: String? { connection.alpn }
  var version: TLSContext.Version? { connection.version }

  // MARK: Blocking

  /// Writes all of it.
  mutating func write(_ bytes: Span<UInt8>, until deadline: Instant, cancel: Cancellation? = nil) throws(GateError) {
    var start = 0
    while start < bytes.count {
      switch try writeSome(bytes.extracting(start..<bytes.count)) {
      case .bytes(let count): start += count
      case .wantsRead: try wait(for: .readable, until: deadline, cancel)
      case .wantsWrite: try wait(for: .writable, until: deadline, cancel)
      }
    }
  }

  /// Reads at least one byte; `nil` at the peer's close_notify.
  mutating func read(
    into bytes: inout MutableSpan<UInt8>, until deadline: Instant, cancel: Cancellation? = nil
  ) throws(GateError) -> Int? {
    while true {
      switch try readSome(into: &bytes) {
      case .bytes(let count): return count
      case .closedByPeer: return nil
      case .wantsRead: try wait(for: .readable, until: deadline, cancel)
      case .wantsWrite: try wait(for: .writable, until: deadline, cancel)
      }
    }
  }

  /// Sends close_notify, waits for the peer's, and gives the socket back: from here on it is raw in both directions.
  ///
  /// Not a byte is lost or added: the peer sends nothing raw before our close_notify is in, we send nothing before
  /// its own is, and application data in between is an error (in TLS 1.2 and 1.3 alike).
  consuming func leave(until deadline: Instant, cancel: Cancellation? = nil) throws(GateError) -> OwnedDescriptor {
    while true {
      let progress = try shutdown()
      if progress == .done { break }
      try wait(for: progress == .wantsRead ? .readable : .writable, until: deadline, cancel)
    }
    var buffer: [UInt8] = [0]
    var bytes = buffer.mutableSpan
    guard try read(into: &bytes, until: deadline, cancel: cancel) == nil else { throw .strayData }
    return socket
  }

  // MARK: Non-blocking

  mutating func readSome(into bytes: inout MutableSpan<UInt8>) throws(GateError) -> TLSConnection.ReadResult {
    do throws(TLSError) {
      return try connection.read(into: &bytes)
    } catch {
      throw .tls(error)
    }
  }

  mutating func writeSome(_ bytes: Span<UInt8>) throws(GateError) -> TLSConnection.WriteResult {
    do throws(TLSError) {
      return try connection.write(bytes)
    } catch {
      throw .tls(error)
    }
  }

  /// Says goodbye without waiting for an answer; whether it gets through makes no difference.
  mutating func close() {
    _ = try? connection.shutdown()
  }

  private borrowing func wait(
    for readiness: Readiness, until deadline: Instant, _ cancel: Cancellation?
  ) throws(GateError) {
    do throws(WaitError) {
      try socket.wait(for: readiness, until: deadline, cancel: cancel)
    } catch {
      throw GateError(error)
    }
  }

  private mutating func handshake() throws(GateError) -> TLSConnection.Progress {
    do throws(TLSError) {
      return try connection.handshake()
    } catch {
      throw .tls(error)
    }
  }

  private mutating func shutdown() throws(GateError) -> TLSConnection.Progress {
    do throws(TLSError) {
      return try connection.shutdown()
    } catch {
      throw .tls(error)
    }
  }
}
