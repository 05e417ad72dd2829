import Framing
import Primitives
import Proxy

/// The connection of a session on a wire: does what `SessionSocket` does on a socket.
struct SessionWire {
  let wire: Int
  let end: Int
  private(set) var isReadable = true
  private(set) var isWritable = true
  private var isPeerClosed = false

  init(_ wire: Int, end: Int) {
    self.wire = wire
    self.end = end
  }

  mutating func became(_ event: WireEvent) {
    switch event {
    case .bytes: isReadable = true
    case .room: isWritable = true
    case .finish:
      isReadable = true
      isPeerClosed = true
    case .failure:
      isReadable = true
      isWritable = true
      isPeerClosed = true
    }
  }

  /// One read. `true` if more may be there.
  mutating func read(
    into peer: inout BufferedSession, pool: inout SlabPool, _ network: inout Network
  ) throws(SessionEnd) -> Bool {
    guard let target = peer.session.readTarget(pool: &pool) else { return false }
    switch network.wires[wire].look(end) {
    case .moved(let available):
      let count = min(available, target.count)
      let head = min(count, target.first.count)
      pool.withMutableSpan(target.first.prefix(head)) { network.read(wire, end, into: &$0) }
      if let second = target.second, count > head {
        pool.withMutableSpan(second.prefix(count - head)) { network.read(wire, end, into: &$0) }
      }
      try peer.received(count, in: target, pool: &pool, now: network.now)
      if count < target.count, !isPeerClosed { isReadable = false }
      return isReadable
    case .wouldBlock:
      isReadable = false
      return false
    case .ended: throw peer.endOfConnection
    case .failed(let error): throw Self.end(error)
    }
  }

  mutating func flush(
    _ peer: inout BufferedSession, pool: inout SlabPool, _ network: inout Network
  ) throws(SessionEnd) {
    while isWritable {
      try peer.seal(pool: &pool, now: network.now)
      guard !peer.output.isEmpty else { return }
      switch network.send(&peer.output, wire, end, pool: &pool) {
      case .moved: break
      case .wouldBlock: isWritable = false
      case .failed(let error): throw Self.end(error)
      }
    }
  }

  private static func end(_ error: WireError) -> SessionEnd {
    .connection(error.systemError)
  }
}
