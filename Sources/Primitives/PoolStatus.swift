/// How full a `SlabPool` is. A snapshot.
public struct PoolStatus: Hashable, Sendable {
  /// Bytes of a slab.
  public var slabSize = 0
  public var slabsInUse = 0
  /// The most that were in use at once.
  public var peakSlabs = 0
  public var slabLimit = 0
  /// Bytes that the pool holds of the system's memory, in use or kept for reuse.
  public var residentBytes = 0
  /// Small pieces for payload that waits; they lie in slabs that count above.
  public var cellsInUse = 0
  public var cellLimit = 0
  /// Whether reading has stopped for want of memory.
  public var isPressed = false

  public init() {}

  public var bytesInUse: Int { slabsInUse * slabSize }
}

extension SlabPool {
  public var status: PoolStatus {
    var status = PoolStatus()
    status.slabSize = slabSize
    status.slabsInUse = slabsInUse
    status.peakSlabs = peakSlabsInUse
    status.slabLimit = limit
    status.residentBytes = residentBytes
    status.cellsInUse = cellsInUse
    status.cellLimit = cellLimit
    status.isPressed = isPressed
    return status
  }
}
