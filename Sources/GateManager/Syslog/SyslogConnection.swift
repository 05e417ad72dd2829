import Crypto
import Kernel
import Primitives
import Proxy

/// Why nothing can be sent now.
enum SyslogError: Error, CustomStringConvertible {
  case dial(DialError)
  case tls(TLSError)
  case wait(WaitError)
  case system(SystemError)
  case wrongKey(KeyHash?)
  case closed

  var description: String {
    switch self {
    case .dial(let error): "\(error)"
    case .tls(let error): "\(error)"
    case .wait(let error): "\(error)"
    case .system(let error): "\(error)"
    case .wrongKey(let key):
      "the receiver has the key \(key.map { "\($0)" } ?? "of nobody"), and not the one of --syslog-key"
    case .closed: "the receiver has closed the connection"
    }
  }
}

/// One connection to a receiver. Blocks, with deadlines.
struct SyslogConnection: ~Copyable {
  /// TLS ends before its socket is closed: it stands first.
  private var tls: TLSConnection?
  private let socket: OwnedDescriptor

  private init(_ tls: consuming TLSConnection?, _ socket: consuming OwnedDescriptor) {
    self.tls = tls
    self.socket = socket
  }

  static func open(
    to target: SyslogTarget, until deadline: Instant, cancel: Cancellation
  ) throws(SyslogError) -> SyslogConnection {
    let socket: OwnedDescriptor
    do throws(DialError) {
      socket = try Outbound.connect(to: target.server, until: deadline, cancel: cancel)
    } catch {
      throw .dial(error)
    }
    guard let key = target.key else { return SyslogConnection(nil, socket) }
    let tls: TLSConnection
    do throws(CryptoError) {
      tls = try TLSConnection(
        TLSContext(.client, peer: .required), descriptor: socket.rawValue,
        serverName: target.server.isAddress ? nil : target.server.host)
    } catch {
      throw .tls(.local(error))
    }
    var connection = SyslogConnection(tls, socket)
    while let progress = try connection.handshake(), progress != .done {
      try connection.wait(for: progress == .wantsRead ? .readable : .writable, deadline, cancel)
    }
    guard connection.tls?.peerKeyHash == key else { throw .wrongKey(connection.tls?.peerKeyHash) }
    return connection
  }

  private mutating func handshake() throws(SyslogError) -> TLSConnection.Progress? {
    do throws(TLSError) { return try tls?.handshake() } catch { throw .tls(error) }
  }

  mutating func write(_ bytes: [UInt8], until deadline: Instant, cancel: Cancellation) throws(SyslogError) {
    guard tls != nil else {
      do throws(WaitError) {
        return try socket.write(all: bytes.span, until: deadline, cancel: cancel)
      } catch {
        throw .wait(error)
      }
    }
    var start = 0
    while start < bytes.count {
      switch try writeSome(bytes.span.extracting(start..<bytes.count)) {
      case .bytes(let count)?: start += count
      case .wantsRead?: try wait(for: .readable, deadline, cancel)
      case .wantsWrite?: try wait(for: .writable, deadline, cancel)
      case nil: throw .closed
      }
    }
  }

  private mutating func writeSome(_ bytes: Span<UInt8>) throws(SyslogError) -> TLSConnection.WriteResult? {
    do throws(TLSError) { return try tls?.write(bytes) } catch { throw .tls(error) }
  }

  /// Whether all that was written is with the receiver's host. Receivers say nothing: whatever they do is thrown away.
  mutating func isTaken() throws(SyslogError) -> Bool {
    var buffer = [UInt8](repeating: 0, count: 1024)
    var bytes = buffer.mutableSpan
    if tls != nil {
      let result: TLSConnection.ReadResult?
      do throws(TLSError) { result = try tls?.read(into: &bytes) } catch { throw .tls(error) }
      if result == .closedByPeer { throw .closed }
    } else {
      let transfer: Transfer
      do throws(SystemError) { transfer = try socket.read(into: &bytes) } catch { throw .system(error) }
      if transfer == .ended { throw .closed }
    }
    return Socket.unacknowledgedBytes(socket) == 0
  }

  private borrowing func wait(
    for readiness: Readiness, _ deadline: Instant, _ cancel: Cancellation
  ) throws(SyslogError) {
    do throws(WaitError) { try socket.wait(for: readiness, until: deadline, cancel: cancel) } catch {
      throw .wait(error)
    }
  }
}
