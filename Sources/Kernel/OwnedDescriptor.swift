import CLinux
import Glibc
import Primitives

/// What a read or write on a descriptor came to.
public enum Transfer: Equatable, Sendable {
  /// This many bytes were moved; at least 1.
  case moved(Int)
  /// End of file on a read.
  case ended
  /// Nothing now: wait until the descriptor is ready.
  case wouldBlock
}

/// A file descriptor that is closed when its owner lets go of it.
///
/// The one home of retry on EINTR. Not thread-safe by itself: one thread at a time.
@safe public struct OwnedDescriptor: ~Copyable, Sendable {
  /// The number, to be lent to a system call; never to be closed by the borrower.
  public let rawValue: CInt

  /// Takes over `rawValue`, which must be open and owned by nobody else.
  public init(owning rawValue: CInt) {
    self.rawValue = rawValue
  }

  deinit {
    _ = close(rawValue)
  }

  /// Gives the number away: the caller closes it.
  public consuming func release() -> CInt {
    let value = rawValue
    discard self
    return value
  }

  public borrowing func duplicate() throws(SystemError) -> OwnedDescriptor {
    try Self.duplicating(rawValue)
  }

  /// A duplicate of a descriptor that stays its owner's.
  public static func duplicating(_ rawValue: CInt) throws(SystemError) -> OwnedDescriptor {
    OwnedDescriptor(owning: try checked("fcntl(F_DUPFD)") { clinux_duplicate(rawValue) })
  }

  public borrowing func setNonblocking(_ on: Bool) throws(SystemError) {
    try checked("fcntl") { on ? clinux_set_nonblocking(rawValue) : clinux_set_blocking(rawValue) }
  }

  /// Reads into a slice.
  public borrowing func read(into slice: Slice, pool: borrowing SlabPool) throws(SystemError) -> Transfer {
    while true {
      let count = unsafe Glibc.read(rawValue, pool.pointer(to: slice), slice.count)
      if let transfer = try Self.transfer(count, "read") { return transfer }
    }
  }

  /// Reads into two slices that follow each other logically, not in memory.
  public borrowing func read(
    into first: Slice, then second: Slice, pool: borrowing SlabPool
  ) throws(SystemError) -> Transfer {
    var vectors = unsafe (
      iovec(iov_base: pool.pointer(to: first), iov_len: first.count),
      iovec(iov_base: pool.pointer(to: second), iov_len: second.count)
    )
    while true {
      let count = unsafe withUnsafePointer(to: &vectors) { pair in
        unsafe pair.withMemoryRebound(to: iovec.self, capacity: 2) { unsafe readv(rawValue, $0, 2) }
      }
      if let transfer = try Self.transfer(count, "readv") { return transfer }
    }
  }

  public borrowing func read(into bytes: inout MutableSpan<UInt8>) throws(SystemError) -> Transfer {
    while true {
      let count = unsafe bytes.withUnsafeMutableBytes { unsafe Glibc.read(rawValue, $0.baseAddress, $0.count) }
      if let transfer = try Self.transfer(count, "read") { return transfer }
    }
  }

  public borrowing func write(_ bytes: Span<UInt8>) throws(SystemError) -> Transfer {
    while true {
      let count = unsafe bytes.withUnsafeBytes { unsafe Glibc.write(rawValue, $0.baseAddress, $0.count) }
      if let transfer = try Self.transfer(count, "write") { return transfer }
    }
  }

  /// Writes all of it to a blocking descriptor.
  public borrowing func writeAll(_ bytes: [UInt8]) throws(SystemError) {
    var start = 0
    while start < bytes.count {
      switch try write(bytes.span.extracting(start..<bytes.count)) {
      case .moved(let count): start += count
      case .ended, .wouldBlock: throw SystemError(call: "write", code: EAGAIN)
      }
    }
  }

  /// `nil` when the call was interrupted and has to be made again.
  static func transfer(_ result: Int, _ call: String) throws(SystemError) -> Transfer? {
    if result > 0 { return .moved(result) }
    if result == 0 { return .ended }
    switch clinux_errno() {
    case EINTR: return nil
    case EAGAIN: return .wouldBlock
    case let code: throw SystemError(call: call, code: code)
    }
  }
}

/// Makes a system call again while it is interrupted; -1 becomes an error.
@discardableResult
package func checked(
  _ call: String, _ subject: @autoclosure () -> String = "", _ body: () -> CInt
) throws(SystemError) -> CInt {
  while true {
    let result = body()
    if result >= 0 { return result }
    let code = clinux_errno()
    if code != EINTR { throw SystemError(call: call, subject: subject(), code: code) }
  }
}
