import Framing
import Primitives

/// A session with the bytes that it has sealed and its connection hasn't taken: all of one end but the descriptor.
///
/// A core without I/O. `SessionSocket` drives it on a socket, and a simulator on bytes in memory.
public struct BufferedSession: ~Copyable {
  public var session: Session
  /// Sealed bytes, oldest first, for the connection to take.
  package var output = SliceQueue(minimumCapacity: 512)

  /// Bytes that are sealed ahead of the connection: enough for one gathered write, few enough to be overtaken.
  private static let sealAhead = 256 * 1024

  public init(_ session: consuming Session) {
    self.session = session
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
      try received(count, in: target, pool: &pool, now: now)
      start += count
    }
  }

  /// Takes `count` bytes that were read into `target`. Take the events before the next read.
  public mutating func received(
    _ count: Int, in target: RecordReader.Target, pool: inout SlabPool, now: Instant
  ) throws(SessionEnd) {
    do throws(SessionError) { try session.received(count, in: target, pool: &pool, now: now) } catch {
      throw .session(error)
    }
  }

  /// Seals what waits, unless enough is ahead of the connection already.
  public mutating func seal(pool: inout SlabPool, now: Instant) throws(SessionEnd) {
    guard output.byteCount < Self.sealAhead, session.hasOutput else { return }
    do throws(SessionError) { try session.fill(&output, limit: Self.sealAhead, pool: &pool, now: now) } catch {
      throw .session(error)
    }
  }

  /// Bytes sealed and not taken by the connection.
  public var unsentBytes: Int { output.byteCount }

  /// Whether there is something for the connection, sealed or not.
  public var hasOutput: Bool { !output.isEmpty || session.hasOutput }

  /// Fills in what the session knows, and what its connection hasn't taken.
  public func describe(into status: inout SessionStatus) {
    session.describe(into: &status)
    status.queues.sealed = output.byteCount
  }

  /// What it means that the connection gave its end of file.
  public var endOfConnection: SessionEnd {
    session.wasCut ? .cut : .finished(session.peerGoodbye)
  }

  /// Gives back everything that it holds of the pool. To be called before it is dropped.
  public mutating func close(pool: inout SlabPool) {
    output.removeAll(pool: &pool)
    session.close(pool: &pool)
  }
}
