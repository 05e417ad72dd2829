import Primitives

extension SlabPool {
  /// Writes bytes to where a read from a device or socket would have put them.
  public mutating func put(_ bytes: UnsafeBufferPointer<UInt8>, at slice: Slice) {
    check(bytes.count <= slice.count, "more than the slice holds")
    if let start = bytes.baseAddress { pointer(to: slice).copyMemory(from: start, byteCount: bytes.count) }
  }

  /// A slice with a copy of the bytes and one reference; `nil` if the pool is exhausted.
  public mutating func copy(_ bytes: UnsafeBufferPointer<UInt8>, in lane: inout SlabLane) -> Slice? {
    copy(bytes.span, in: &lane)
  }

  /// Whether nothing is referenced any more, but for the slabs that were cut into cells.
  public var isQuiet: Bool { slabsInUse == cellSlabs && cellsInUse == 0 }
}

/// A stream's bytes follow from their place in it, so that what arrives can be judged without keeping what was sent.
public enum Pattern {
  @inline(__always)
  public static func byte(_ position: Int, _ salt: Int) -> UInt8 {
    UInt8(truncatingIfNeeded: (position &* 167) ^ (position >> 8 &* 13) &+ salt &* 29)
  }

  public static func fill(_ pool: inout SlabPool, _ slice: Slice, from position: Int, salt: Int) {
    let start = pool.pointer(to: slice).assumingMemoryBound(to: UInt8.self)
    for index in 0..<slice.count { start[index] = byte(position + index, salt) }
  }

  public static func matches(_ pool: borrowing SlabPool, _ slice: Slice, from position: Int, salt: Int) -> Bool {
    pool.withSpan(slice) { bytes in
      for index in bytes.indices where bytes[index] != byte(position + index, salt) { return false }
      return true
    }
  }
}
