import Kernel
import Primitives

/// The connection of a session: the thin piece between the core and the descriptor, the same at both ends.
public struct SessionSocket: ~Copyable {
  public let socket: OwnedDescriptor
  private let gather = Gather()
  public private(set) var isReadable = true
  private var isPeerClosed = false
  public private(set) var isWritable = true

  /// - Parameter socket: a connected, non-blocking stream socket.
  public init(_ socket: consuming OwnedDescriptor) {
    self.socket = socket
  }

  /// Tells what the poller found.
  public mutating func became(_ readiness: Readiness) {
    if readiness.contains(.writable) { isWritable = true }
    guard !readiness.isDisjoint(with: [.readable, .peerClosed, .hangUp, .failed]) else { return }
    isReadable = true
    if !readiness.isDisjoint(with: [.peerClosed, .hangUp, .failed]) { isPeerClosed = true }
  }

  /// Bytes that were handed to the kernel and that the relay hasn't acknowledged.
  public var unacknowledgedBytes: Int { Socket.unacknowledgedBytes(socket) }

  /// One read. Take the session's events before the next one.
  ///
  /// - Returns: whether more may be there to read.
  public mutating func read(
    into peer: inout BufferedSession, pool: inout SlabPool, now: Instant
  ) throws(SessionEnd) -> Bool {
    guard let target = peer.session.readTarget(pool: &pool) else { return false }
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
      try peer.received(count, in: target, pool: &pool, now: now)
      // A short read has emptied the socket: the next readiness comes as an edge, unless the end was told already.
      if count < target.count, !isPeerClosed { isReadable = false }
      return isReadable
    case .wouldBlock:
      isReadable = false
      return false
    case .ended: throw peer.endOfConnection
    }
  }

  /// Seals and sends until nothing waits or the socket is full.
  public mutating func flush(
    _ peer: inout BufferedSession, pool: inout SlabPool, now: Instant
  ) throws(SessionEnd) {
    while isWritable {
      try peer.seal(pool: &pool, now: now)
      guard !peer.output.isEmpty else { return }
      do throws(SystemError) {
        if case .wouldBlock = try gather.send(&peer.output, to: socket, pool: &pool) { isWritable = false }
      } catch {
        throw .connection(error)
      }
    }
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

  /// One word, for counters.
  public var label: String {
    switch self {
    case .finished: "finished"
    case .cut: "cut"
    case .connection: "connection"
    case .session(.peerSilent): "silent"
    case .session(.frame(let error)) where error.isOfLaterVersion: "incompatible"
    case .session: "protocol"
    case .local: "local"
    }
  }

  /// Whether the way to GateManager may have gone with it: nobody ended it in order.
  public var isSudden: Bool {
    switch self {
    case .cut, .connection, .session: true
    case .finished, .local: false
    }
  }

  public var description: String {
    switch self {
    case .finished(let goodbye):
      goodbye.isEmpty ? "the peer ended the session" : "the peer ended the session: \(goodbye)"
    case .cut: "the connection was cut"
    case .connection(let error): "the connection failed: \(error)"
    case .session(.peerSilent(let interval)): "the peer was silent for \(Int(interval.seconds)) s"
    case .session(.frame(let error)) where error.isOfLaterVersion:
      "the peer sent \(error): it speaks a later version; update this end, or both to the same"
    case .session(let error): "the peer broke the protocol: \(error)"
    case .local(let reason): reason
    }
  }
}
