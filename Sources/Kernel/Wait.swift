import CLinux
import Glibc
import Primitives
import Synchronization

/// Why a wait with a deadline ended without what was waited for.
public enum WaitError: Error, Hashable, Sendable, CustomStringConvertible {
  case timedOut
  case cancelled
  /// The peer ended its direction while bytes were still expected.
  case ended
  case system(SystemError)

  public var description: String {
    switch self {
    case .timedOut: "timed out"
    case .cancelled: "cancelled"
    case .ended: "closed by the peer"
    case .system(let error): error.description
    }
  }
}

/// Ends the waits of another thread, once and for good.
public final class Cancellation: Sendable {
  private let cancelled = Atomic(false)
  // Signalled once and never cleared, so that every wait from then on ends at once.
  private let wakeup: Wakeup

  public init() throws(SystemError) {
    wakeup = try Wakeup()
  }

  public var isCancelled: Bool { cancelled.load(ordering: .acquiring) }

  /// Readable from the moment of `cancel()`.
  public var descriptor: CInt { wakeup.descriptor.rawValue }

  public func cancel() {
    cancelled.store(true, ordering: .releasing)
    wakeup.signal()
  }
}

extension OwnedDescriptor {
  /// Blocks until the descriptor is ready or has failed; whichever it was, the next call on it tells.
  ///
  /// - Parameter readiness: `.readable`, `.writable` or both.
  public borrowing func wait(
    for readiness: Readiness, until deadline: Instant, cancel: Cancellation? = nil
  ) throws(WaitError) {
    while true {
      if let cancel, cancel.isCancelled { throw .cancelled }
      let left = deadline - Clock.now
      // Rounded up, or the last millisecond would be spent spinning.
      let timeout = CInt(clamping: max(0, left.nanoseconds &+ 999_999) / 1_000_000)
      var ready: CShort = 0
      var ended: CShort = 0
      let events = CShort(truncatingIfNeeded: readiness.rawValue & 0x5)
      // poll(2) passes over a negative descriptor.
      let count = unsafe clinux_poll_two(rawValue, events, cancel?.descriptor ?? -1, timeout, &ready, &ended)
      if count < 0 {
        let error = SystemError.last("poll")
        guard error.isInterrupted else { throw .system(error) }
        continue
      }
      if ended != 0 { throw .cancelled }
      if ready != 0 { return }
      if deadline <= Clock.now { throw .timedOut }
    }
  }

  /// Writes all of it to a non-blocking stream socket.
  public borrowing func write(
    all bytes: Span<UInt8>, until deadline: Instant, cancel: Cancellation? = nil
  ) throws(WaitError) {
    var start = 0
    while start < bytes.count {
      switch try transfer({ () throws(SystemError) in try send(bytes.extracting(start..<bytes.count)) }) {
      case .moved(let count): start += count
      case .ended: throw .ended
      case .wouldBlock: try wait(for: .writable, until: deadline, cancel: cancel)
      }
    }
  }

  /// Reads `count` bytes, no more and no fewer, from a non-blocking descriptor into the front of `bytes`.
  public borrowing func read(
    exactly count: Int, into bytes: inout MutableSpan<UInt8>, until deadline: Instant, cancel: Cancellation? = nil
  ) throws(WaitError) {
    precondition(count <= bytes.count, "no room for what is to be read")
    var start = 0
    while start < count {
      let moved = unsafe bytes.withUnsafeMutableBytes { buffer in
        unsafe Glibc.read(rawValue, buffer.baseAddress.unsafelyUnwrapped + start, count - start)
      }
      switch try transfer({ () throws(SystemError) in try Self.transfer(moved, "read") }) {
      case .moved(let count): start += count
      case .ended: throw .ended
      case .wouldBlock: try wait(for: .readable, until: deadline, cancel: cancel)
      case nil: continue
      }
    }
  }

  /// Reads what is there, at least one byte; `nil` at the end of the stream.
  public borrowing func read(
    some bytes: inout MutableSpan<UInt8>, until deadline: Instant, cancel: Cancellation? = nil
  ) throws(WaitError) -> Int? {
    while true {
      switch try transfer({ () throws(SystemError) in try read(into: &bytes) }) {
      case .moved(let count): return count
      case .ended: return nil
      case .wouldBlock: try wait(for: .readable, until: deadline, cancel: cancel)
      }
    }
  }

  /// Copies what waits in a socket and leaves it there (MSG_PEEK).
  public borrowing func peek(into bytes: inout MutableSpan<UInt8>) throws(SystemError) -> Transfer {
    while true {
      let count = unsafe bytes.withUnsafeMutableBytes { unsafe clinux_peek(rawValue, $0.baseAddress, $0.count) }
      if let transfer = try Self.transfer(count, "recv") { return transfer }
    }
  }

  /// Sends on a socket; a peer that has gone is an error, never a signal.
  private borrowing func send(_ bytes: Span<UInt8>) throws(SystemError) -> Transfer {
    while true {
      let count = unsafe bytes.withUnsafeBytes { buffer in
        var vector = unsafe iovec(
          iov_base: UnsafeMutableRawPointer(mutating: buffer.baseAddress), iov_len: buffer.count)
        return unsafe clinux_send(rawValue, &vector, 1)
      }
      if let transfer = try Self.transfer(count, "sendmsg") { return transfer }
    }
  }

  private borrowing func transfer<Result>(_ body: () throws(SystemError) -> Result) throws(WaitError) -> Result {
    do throws(SystemError) {
      return try body()
    } catch {
      throw .system(error)
    }
  }
}
