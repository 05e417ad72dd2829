/// Bytes in order: what a socket's buffer or a pipe holds.
struct ByteQueue {
  private var storage: [UInt8] = []
  private var head = 0

  var count: Int { storage.count - head }

  mutating func append(_ bytes: Span<UInt8>) {
    unsafe bytes.withUnsafeBufferPointer { unsafe storage.append(contentsOf: $0) }
  }

  /// Moves the first `count` bytes to the end of another queue.
  mutating func move(_ count: Int, to other: inout ByteQueue) {
    withFirst(count) { other.append($0) }
    drop(count)
  }

  /// Copies the first bytes, as many as fit, and drops them.
  mutating func read(into bytes: inout MutableSpan<UInt8>) {
    let count = bytes.count
    let first = head
    unsafe bytes.withUnsafeMutableBytes { target in
      unsafe storage.withUnsafeBytes { source in
        guard count > 0, let start = source.baseAddress, let place = target.baseAddress else { return }
        unsafe place.copyMemory(from: start + first, byteCount: count)
      }
    }
    drop(count)
  }

  /// Reads the first `count` bytes where they lie.
  func withFirst<Result>(_ count: Int, _ body: (Span<UInt8>) -> Result) -> Result {
    body(storage.span.extracting(head..<head + count))
  }

  /// Changes the byte at a position.
  mutating func corrupt(at position: Int, with mask: UInt8) {
    storage[head + position] ^= mask
  }

  mutating func drop(_ count: Int) {
    head += count
    if head == storage.count {
      storage.removeAll(keepingCapacity: true)
      head = 0
    } else if head > 1 << 18 {
      storage.removeSubrange(0..<head)
      head = 0
    }
  }

  /// Drops what stands behind the first `count` bytes.
  mutating func truncate(to count: Int) {
    storage.removeLast(self.count - count)
  }
}
