import Framing
import Kernel
import Primitives

/// A session on its connection: the thin piece between the core and the descriptor, the same at both ends.
public struct SessionSocket: ~Copyable {
  public var session: Session
  public let socket: OwnedDescriptor
  private let gather = Gather()
  private var output = SliceQueue(minimumCapacity: 512)
  public private(set) var isReadable = true
  private var isPeerClosed = false
  public private(set) var isWritable = true

  /// Bytes that are sealed ahead of the socket: enough for one gathered write, few enough to be overtaken.
  private static let sealAhead = 256 * 1024

  /// - Parameter socket: a connected, non-blocking stream socket.
  public init(session: consuming Session, socket: consuming OwnedDescriptor) {
    self.session = session
    self.socket = socket
  }

  /// Hands bytes that arrived together with the handshake's last message to the record opener.
  public mutating func receive(surplus: [UInt8], pool: inout SlabPool, now: Instant) throws(SessionEnd) {
    var start = 0
    while start < surplus.count {
      guard let target = session.readTarget(pool: &pool) else { throw .local("no memory for the session") }
      let count = min(surplus.count - start, target.first.count)
      unsafe surplus.withUnsafeBytes { bytes in
        unsafe pool.pointer(to: target.first).copyMemory(
          from: bytes.baseAddress.unsafelyUnwrapped + start, byteCount: count)
      }
      do throws(SessionError) { try session.received(count, in: target, pool: &pool, now: now) } catch {
        throw .session(error)
      }
      start += count
    }
  }

  /// Tells what the poller found.
  public mutating func became(_ readiness: Readiness) {
    if readiness.contains(.writable) { isWritable = true }
    guard !readiness.isDisjoint(with: [.readable, .peerClosed, .hangUp, .failed]) else { return }
    isReadable = true
    if !readiness.isDisjoint(with: [.peerClosed, .hangUp, .failed]) { isPeerClosed = true }
  }

  /// Bytes sealed and not taken by the kernel.
  public var unsentBytes: Int { output.byteCount }

  /// Fills in what the session and its connection know.
  public func describe(into status: inout SessionStatus) {
    session.describe(into: &status)
    status.queues.sealed = output.byteCount
    status.queues.kernel = Socket.unacknowledgedBytes(socket)
  }

  /// One read. Take the events before the next one.
  ///
  /// - Returns: whether more may be there to read.
  public mutating func read(pool: inout SlabPool, now: Instant) throws(SessionEnd) -> Bool {
    guard let target = session.readTarget(pool: &pool) else { return false }
    let transfer: Transfer
    do throws(SystemError) {
      if let second = target.second {
        transfer = try socket.read(into: target.first, then: second, pool: pool)
      } else {
        transfer = try socket.read(into: target.first, pool: pool)
      }
    } catch {
      throw .connection(error)
    }
    switch transfer {
    case .moved(let count):
      do throws(SessionError) { try session.received(count, in: target, pool: &pool, now: now) } catch {
        throw .session(error)
      }
      // A short read has emptied the socket: the next readiness comes as an edge, unless the end was told already.
      if count < target.count, !isPeerClosed { isReadable = false }
      return isReadable
    case .wouldBlock:
      isReadable = false
      return false
    case .ended:
      throw session.wasCut ? .cut : .finished(session.peerGoodbye)
    }
  }

  /// Seals and sends until nothing waits or the socket is full.
  public mutating func flush(pool: inout SlabPool, now: Instant) throws(SessionEnd) {
    while isWritable {
      if output.byteCount < Self.sealAhead, session.hasOutput {
        do throws(SessionError) { try session.fill(&output, limit: Self.sealAhead, pool: &pool, now: now) } catch {
          throw .session(error)
        }
      }
      guard !output.isEmpty else { return }
      do throws(SystemError) {
        if case .wouldBlock = try gather.send(&output, to: socket, pool: &pool) { isWritable = false }
      } catch {
        throw .connection(error)
      }
    }
  }

  public mutating func close(pool: inout SlabPool) {
    output.removeAll(pool: &pool)
    session.close(pool: &pool)
  }
}

/// How a session came to its end.
public enum SessionEnd: Error, Sendable, CustomStringConvertible {
  /// The peer ended it in order; what it said.
  case finished(String)
  /// The connection ended without the authenticated end: somebody cut it.
  case cut
  /// The connection failed.
  case connection(SystemError)
  /// The peer misbehaved, or is silent.
  case session(SessionError)
  /// This host ended it.
  case local(String)

  public var description: String {
    switch self {
    case .finished(let goodbye):
      goodbye.isEmpty ? "the peer ended the session" : "the peer ended the session: \(goodbye)"
    case .cut: "the connection was cut"
    case .connection(let error): "the connection failed: \(error)"
    case .session(.peerSilent(let interval)): "the peer was silent for \(Int(interval.seconds)) s"
    case .session(let error): "the peer broke the protocol: \(error)"
    case .local(let reason): reason
    }
  }
}
