/// Slices that leave in order by gathered writes; each holds its reference until its last byte was taken.
public struct SliceQueue: ~Copyable {
  private var slices: RingQueue<Slice>
  /// Bytes that wait.
  public private(set) var byteCount = 0

  public init(minimumCapacity: Int = 64) {
    slices = RingQueue(minimumCapacity: minimumCapacity)
  }

  public var isEmpty: Bool { slices.isEmpty }
  public var count: Int { slices.count }

  public subscript(position: Int) -> Slice { slices[position] }

  /// Takes over the reference that the caller holds. Neighbours in memory become one slice.
  public mutating func append(_ slice: Slice, pool: inout SlabPool) {
    guard !slice.isEmpty else {
      pool.release(slice)
      return
    }
    byteCount += slice.count
    if let last = slices.last, last.isFollowed(by: slice) {
      slices[slices.count - 1] = Slice(slab: last.slab, offset: Int(last.offset), count: last.count + slice.count)
      pool.release(slice)
    } else {
      slices.append(slice)
    }
  }

  /// Hands back the first slice, with its reference.
  public mutating func popFirst() -> Slice? {
    guard let slice = slices.popFirst() else { return nil }
    byteCount -= slice.count
    return slice
  }

  /// Drops the first `bytes` bytes, which were taken, and releases what is through.
  public mutating func drop(_ bytes: Int, pool: inout SlabPool) {
    precondition(bytes <= byteCount, "more than there was")
    byteCount -= bytes
    var left = bytes
    while left > 0, let first = slices.first {
      if left >= first.count {
        left -= first.count
        _ = slices.popFirst()
        pool.release(first)
      } else {
        slices[0] = first.dropping(left)
        left = 0
      }
    }
  }

  public mutating func removeAll(pool: inout SlabPool) {
    while let slice = slices.popFirst() { pool.release(slice) }
    byteCount = 0
  }
}
