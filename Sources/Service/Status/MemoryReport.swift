public import Primitives

/// How full a pool of payload memory is, as `status` tells it. Sizes in bytes.
public struct MemoryReport: Codable, Hashable, Sendable {
  public var slabBytes: Int
  public var slabsInUse: Int
  public var slabsPeak: Int
  public var slabLimit: Int
  public var cellsInUse: Int
  public var cellLimit: Int
  public var inUse: Int
  public var resident: Int
  /// Whether reading has stopped for want of memory.
  public var pressed: Bool

  public init(_ pool: PoolStatus) {
    slabBytes = pool.slabSize
    slabsInUse = pool.slabsInUse
    slabsPeak = pool.peakSlabs
    slabLimit = pool.slabLimit
    cellsInUse = pool.cellsInUse
    cellLimit = pool.cellLimit
    inUse = pool.bytesInUse
    resident = pool.residentBytes
    pressed = pool.isPressed
  }

  public var text: String {
    "\(slabsInUse) of \(slabLimit) slabs in use (peak \(slabsPeak)), \(cellsInUse) of \(cellLimit) cells, "
      + "\(Quantity.bytes(UInt64(clamping: resident))) resident"
  }

  /// What is wrong, if anything is.
  public func problems(of what: String) -> [String] {
    guard pressed else { return [] }
    return [
      "\(what): \(slabsInUse) of \(slabLimit) slabs are in use, so that nothing more is read: the slowest readers are cut"
    ]
  }
}
