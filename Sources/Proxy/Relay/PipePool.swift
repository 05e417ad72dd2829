import CLinux
import Kernel

/// A pipe for splice(2): the kernel's pages pass through it by reference.
final class Pipe {
  let reading, writing: OwnedDescriptor
  /// Bytes that it holds at most, when its pages are full.
  let capacity: Int

  /// The sizes to ask for, largest first. An unprivileged user gets no more than pipe-user-pages-soft in all
  /// (64 MiB by default, pipe(7)); what the kernel then gives is taken as it is.
  private static let smallerSizes: [CInt] = [256 << 10, 64 << 10]

  init(size: Int) throws(SystemError) {
    var ends: (CInt, CInt) = (-1, -1)
    let result = unsafe withUnsafeMutablePointer(to: &ends) { pair in
      unsafe pair.withMemoryRebound(to: CInt.self, capacity: 2) { unsafe clinux_pipe($0) }
    }
    guard result == 0 else { throw SystemError.last("pipe2") }
    reading = OwnedDescriptor(owning: ends.0)
    writing = OwnedDescriptor(owning: ends.1)
    var granted: CInt = -1
    for wanted in [CInt(clamping: size)] + Self.smallerSizes where granted < 0 {
      granted = clinux_pipe_set_size(ends.1, wanted)
    }
    capacity = granted > 0 ? Int(granted) : 4096
  }
}

/// Empty pipes, ready for the next burst of any relay of one thread.
struct PipePool: ~Copyable {
  /// Empty pipes that are kept. What is above it is closed: an idle thread keeps little.
  let keep: Int
  let size: Int
  private var free: [Pipe] = []
  /// Pipes that exist, in the pool and lent.
  private(set) var count = 0

  /// - Parameters:
  ///   - keep: empty pipes kept at most.
  ///   - size: bytes asked for; the kernel may give less.
  init(keep: Int = 32, size: Int = 1 << 20) {
    self.keep = keep
    self.size = size
  }

  var freeCount: Int { free.count }

  mutating func take() throws(SystemError) -> Pipe {
    if let pipe = free.popLast() { return pipe }
    let pipe = try Pipe(size: size)
    count += 1
    return pipe
  }

  /// Takes a pipe back. One with bytes in it is closed: they must never reach another relay.
  mutating func giveBack(_ pipe: Pipe, bytesInPipe: Int) {
    guard bytesInPipe == 0, free.count < keep else {
      count -= 1
      return
    }
    free.append(pipe)
  }
}
