/// A range of bytes inside a slab of a `SlabPool`.
///
/// A plain value: whoever holds one by contract also holds one of the slab's references, and
/// hands it on or gives it back with `SlabPool.release`.
public struct Slice: Hashable, Sendable, BitwiseCopyable {
  public var slab: UInt32
  public var offset: UInt32
  public var length: UInt32

  @inlinable public init(slab: UInt32, offset: Int, count: Int) {
    self.slab = slab
    self.offset = UInt32(offset)
    length = UInt32(count)
  }

  @inlinable public var count: Int { Int(length) }
  @inlinable public var isEmpty: Bool { length == 0 }

  /// The bytes from `start` on, by reference to the same slab.
  @inlinable public func dropping(_ start: Int) -> Slice {
    precondition(start >= 0 && start <= count, "outside of the slice")
    return Slice(slab: slab, offset: Int(offset) + start, count: count - start)
  }

  /// The first `size` bytes.
  @inlinable public func prefix(_ size: Int) -> Slice {
    precondition(size >= 0 && size <= count, "outside of the slice")
    return Slice(slab: slab, offset: Int(offset), count: size)
  }

  @inlinable public func range(from start: Int, count size: Int) -> Slice {
    dropping(start).prefix(size)
  }

  /// Whether `next` begins where this one ends.
  @inlinable public func isFollowed(by next: Slice) -> Bool {
    slab == next.slab && offset + length == next.offset
  }
}

/// Where a reader or writer stands in the slab that it is filling.
public struct SlabLane: Sendable {
  @usableFromInline var slab: UInt32 = .max
  @usableFromInline var used = 0

  public init() {}
}

/// Memory for packets and records: large slabs, filled front to back, shared by reference-counted slices.
///
/// Bytes are written once by a system call, worked on where they lie, and leave by a gathered
/// write; nothing is copied on the way. Counts are plain integers: a pool belongs to one thread.
/// A slab returns to the free list when its last reference is released, last in, first out, so that a
/// busy path keeps working in the same warm memory.
@safe public struct SlabPool: ~Copyable {
  /// Bytes of a slab.
  public let slabSize: Int
  /// Slabs that may exist at once.
  public let limit: Int

  // The tables are allocated once at full size: a slab's address and count never move.
  @usableFromInline let bases: UnsafeMutablePointer<UnsafeMutableRawPointer?>
  private let references: UnsafeMutablePointer<Int32>
  private var free: [UInt32] = []
  /// Slabs that were ever numbered, and those of them that have memory now.
  private var made = 0
  private var resident = 0
  /// Slabs that are referenced by someone.
  public private(set) var slabsInUse = 0
  /// The most slabs that were ever in use at once.
  public private(set) var peakSlabsInUse = 0

  /// Slabs that hold cells: counted in `slabsInUse`.
  public var cellSlabs: Int { cellHomes.count - unusedHomes.count }

  private var peakSinceTrim = 0

  /// A slab that is cut into cells. Its cells' numbers are its own for good, whatever slab it is.
  private struct CellHome {
    var slab: UInt32
    var cellsInUse = 0
  }

  private let cellsPerSlab: Int
  private var freeCells: [UInt32] = []
  private var cellHomes: [CellHome] = []
  /// Homes that have no slab at present.
  private var unusedHomes: [Int] = []
  /// Cells that are referenced by someone.
  public private(set) var cellsInUse = 0
  private var peakCellsSinceTrim = 0

  /// Bytes of a cell, the small kind of slab that `compact` copies into.
  public static let cellSize = 2048
  /// Cells that may exist at once.
  public let cellLimit: Int

  /// - Parameters:
  ///   - slabSize: bytes of a slab; a multiple of 4096, at least 4096.
  ///   - limit: how many slabs may exist at once, those that hold cells included.
  public init(slabSize: Int = 256 * 1024, limit: Int = 256) {
    precondition(slabSize >= 4096 && slabSize % 4096 == 0 && limit > 0)
    self.slabSize = slabSize
    self.limit = limit
    cellsPerSlab = slabSize / Self.cellSize
    cellLimit = limit * cellsPerSlab / 4
    unsafe bases = .allocate(capacity: limit + cellLimit)
    unsafe bases.initialize(repeating: nil, count: limit + cellLimit)
    unsafe references = .allocate(capacity: limit + cellLimit)
    unsafe references.initialize(repeating: 0, count: limit + cellLimit)
    free.reserveCapacity(limit)
  }

  deinit {
    for index in 0..<limit {
      if let base = unsafe bases[index] { unsafe base.deallocate() }
    }
    unsafe bases.deallocate()
    unsafe references.deallocate()
  }

  /// Bytes of all slabs that have memory, in use or kept for reuse.
  public var residentBytes: Int { resident * slabSize }

  /// Whether less than a quarter of the pool is left: a reason to stop reading.
  public var isPressed: Bool { slabsInUse >= limit - limit / 4 }

  /// Whether every slab is in use: only what still fits into those can be read.
  public var isExhausted: Bool { slabsInUse >= limit }

  // MARK: Filling

  /// A writable region of exactly `count` bytes behind what the lane has committed, in a new slab if
  /// the current one is too full. Carries no reference yet: see `commit`.
  ///
  /// - Returns: `nil` when the pool is exhausted.
  public mutating func reserve(_ count: Int, in lane: inout SlabLane) -> Slice? {
    precondition(count <= slabSize, "larger than a slab")
    if lane.slab != .max {
      if soleReference(lane.slab) { lane.used = 0 }
      if lane.used + count <= slabSize {
        return Slice(slab: lane.slab, offset: lane.used, count: count)
      }
      releaseSlab(lane.slab)
      lane = SlabLane()
    }
    guard let slab = makeSlab() else { return nil }
    lane.slab = slab
    lane.used = 0
    return Slice(slab: slab, offset: 0, count: count)
  }

  /// What `reserve` could still give without a new slab.
  public func room(in lane: SlabLane) -> Int {
    lane.slab == .max ? 0 : slabSize - lane.used
  }

  /// Keeps the first `count` bytes of the region that `reserve` returned; the caller owns one reference.
  public mutating func commit(_ reserved: Slice, count: Int, in lane: inout SlabLane) -> Slice {
    precondition(lane.slab == reserved.slab && Int(reserved.offset) == lane.used, "not the last reserved region")
    // Regions start on cache lines, so that neighbours don't share one.
    lane.used = min(slabSize, (lane.used + count + 63) & ~63)
    let slice = reserved.prefix(count)
    retain(slice)
    return slice
  }

  /// Keeps the region that `reserve` returned up to the end of `part`, which lies in it; the caller owns one reference.
  public mutating func commit(_ reserved: Slice, through part: Slice, in lane: inout SlabLane) -> Slice {
    let end = Int(part.offset) + part.count - Int(reserved.offset)
    precondition(part.slab == reserved.slab && part.offset >= reserved.offset && end <= reserved.count, "not in it")
    _ = commit(reserved, count: end, in: &lane)
    return part
  }

  /// Lets go of the slab that the lane is filling.
  public mutating func close(_ lane: inout SlabLane) {
    if lane.slab != .max { releaseSlab(lane.slab) }
    lane = SlabLane()
  }

  /// A whole slab; the caller owns its only reference. `nil` when the pool is exhausted.
  public mutating func takeSlab() -> Slice? {
    makeSlab().map { Slice(slab: $0, offset: 0, count: slabSize) }
  }

  /// Whether nobody else holds a part of the slab.
  public func isSoleReference(_ slice: Slice) -> Bool {
    soleReference(slice.slab)
  }

  // MARK: References

  public mutating func retain(_ slice: Slice) {
    unsafe references[Int(slice.slab)] += 1
  }

  public mutating func release(_ slice: Slice) {
    releaseSlab(slice.slab)
  }

  /// The same bytes in a small cell, if they are few: so that a payload that waits for a slow
  /// reader doesn't hold a whole slab. Takes over the caller's reference and returns one.
  public mutating func compact(_ slice: Slice) -> Slice {
    guard slice.count <= Self.cellSize / 2, slice.slab < limit, let cell = takeCell() else { return slice }
    let copy = Slice(slab: cell, offset: 0, count: slice.count)
    unsafe pointer(to: copy).copyMemory(from: pointer(to: slice), byteCount: slice.count)
    release(slice)
    return copy
  }

  // MARK: Bytes

  /// The address of the slice's first byte, for system calls and ciphers. Valid while a reference is held.
  @inlinable @unsafe public func pointer(to slice: Slice) -> UnsafeMutableRawPointer {
    unsafe bases[Int(slice.slab)].unsafelyUnwrapped + Int(slice.offset)
  }

  /// Reads the slice.
  @inlinable public func withSpan<R, E: Error>(_ slice: Slice, _ body: (Span<UInt8>) throws(E) -> R) throws(E) -> R {
    let bytes = unsafe UnsafeBufferPointer(
      start: pointer(to: slice).assumingMemoryBound(to: UInt8.self), count: slice.count)
    return try unsafe body(bytes.span)
  }

  /// Changes the slice where it lies.
  @inlinable public mutating func withMutableSpan<R, E: Error>(
    _ slice: Slice, _ body: (inout MutableSpan<UInt8>) throws(E) -> R
  ) throws(E) -> R {
    let bytes = unsafe UnsafeMutableBufferPointer(
      start: pointer(to: slice).assumingMemoryBound(to: UInt8.self), count: slice.count)
    var span = unsafe bytes.mutableSpan
    return try body(&span)
  }

  /// A slice that holds a copy of `bytes`: for packets made in memory, and for tests.
  public mutating func copy(_ bytes: Span<UInt8>, in lane: inout SlabLane) -> Slice? {
    guard let region = reserve(bytes.count, in: &lane) else { return nil }
    let slice = commit(region, count: bytes.count, in: &lane)
    unsafe bytes.withUnsafeBytes { source in
      if let start = source.baseAddress {
        unsafe pointer(to: slice).copyMemory(from: start, byteCount: source.count)
      }
    }
    return slice
  }

  /// A slice that holds a copy of another one, so that the original's slab can be let go.
  public mutating func copy(_ slice: Slice, in lane: inout SlabLane) -> Slice? {
    guard let region = reserve(slice.count, in: &lane) else { return nil }
    let copy = commit(region, count: slice.count, in: &lane)
    copyBytes(of: slice, to: copy)
    return copy
  }

  /// Overwrites `target` with the bytes of `source`, which must be as many.
  public mutating func copyBytes(of source: Slice, to target: Slice) {
    precondition(source.count == target.count, "slices of different sizes")
    unsafe pointer(to: target).copyMemory(from: pointer(to: source), byteCount: source.count)
  }

  /// The slice's bytes as an array. Allocates.
  public func array(_ slice: Slice) -> [UInt8] {
    unsafe Array(UnsafeRawBufferPointer(start: pointer(to: slice), count: slice.count))
  }

  // MARK: Slabs

  /// Slabs that stay ready when nothing is in use: a short pause costs no memory to be made anew.
  private static let keptSlabs = 4
  private static let keptCellSlabs = 1

  /// Gives memory that was of no use since the last call back to the system. For a timer, not for the packet path.
  public mutating func trim() {
    trimCells()
    defer { peakSinceTrim = slabsInUse }
    var spare = resident - max(peakSinceTrim, Self.keptSlabs)
    // Those at the front were free for longest.
    for slab in free where spare > 0 {
      guard let base = unsafe bases[Int(slab)] else { continue }
      unsafe base.deallocate()
      unsafe bases[Int(slab)] = nil
      resident -= 1
      spare -= 1
    }
  }

  /// Makes whole slabs again of those whose cells nobody uses.
  private mutating func trimCells() {
    defer { peakCellsSinceTrim = cellsInUse }
    var spare = cellSlabs - (peakCellsSinceTrim + cellsPerSlab - 1) / cellsPerSlab - Self.keptCellSlabs
    guard spare > 0 else { return }
    var emptied: Set<Int> = []
    for index in cellHomes.indices where spare > 0 && cellHomes[index].slab != .max {
      guard cellHomes[index].cellsInUse == 0 else { continue }
      spare -= 1
      emptied.insert(index)
      unusedHomes.append(index)
      releaseSlab(cellHomes[index].slab)
      cellHomes[index].slab = .max
    }
    guard !emptied.isEmpty else { return }
    freeCells = freeCells.filter { !emptied.contains(home(of: $0)) }
  }

  private func home(of cell: UInt32) -> Int {
    (Int(cell) - limit) / cellsPerSlab
  }

  private func soleReference(_ slab: UInt32) -> Bool {
    unsafe references[Int(slab)] == 1
  }

  private mutating func makeSlab() -> UInt32? {
    let slab: UInt32
    if let reused = free.popLast() {
      slab = reused
    } else {
      guard made < limit else { return nil }
      slab = UInt32(made)
      made += 1
    }
    if unsafe bases[Int(slab)] == nil {
      unsafe bases[Int(slab)] = .allocate(byteCount: slabSize, alignment: 4096)
      resident += 1
    }
    #if ADDRESS_SANITIZER
      unpoison(slab)
    #endif
    unsafe references[Int(slab)] = 1
    slabsInUse += 1
    peakSlabsInUse = max(peakSlabsInUse, slabsInUse)
    peakSinceTrim = max(peakSinceTrim, slabsInUse)
    return slab
  }

  private mutating func takeCell() -> UInt32? {
    if freeCells.isEmpty { makeCells() }
    guard let cell = freeCells.popLast() else { return nil }
    #if ADDRESS_SANITIZER
      unpoison(cell)
    #endif
    unsafe references[Int(cell)] = 1
    cellHomes[home(of: cell)].cellsInUse += 1
    cellsInUse += 1
    peakCellsSinceTrim = max(peakCellsSinceTrim, cellsInUse)
    return cell
  }

  private mutating func makeCells() {
    guard !unusedHomes.isEmpty || (cellHomes.count + 1) * cellsPerSlab <= cellLimit, let slab = makeSlab() else {
      return
    }
    let index: Int
    if let reused = unusedHomes.popLast() {
      index = reused
      cellHomes[index].slab = slab
    } else {
      index = cellHomes.count
      cellHomes.append(CellHome(slab: slab))
    }
    let base = unsafe bases[Int(slab)].unsafelyUnwrapped
    for position in 0..<cellsPerSlab {
      let cell = limit + index * cellsPerSlab + position
      unsafe bases[cell] = base + position * Self.cellSize
      freeCells.append(UInt32(cell))
      #if ADDRESS_SANITIZER
        poison(UInt32(cell))
      #endif
    }
  }

  private mutating func releaseSlab(_ slab: UInt32) {
    unsafe references[Int(slab)] -= 1
    let left = unsafe references[Int(slab)]
    precondition(left >= 0, "slab released more often than retained")
    guard left == 0 else { return }
    #if ADDRESS_SANITIZER
      poison(slab)
    #endif
    if slab < limit {
      free.append(slab)
      slabsInUse -= 1
    } else {
      freeCells.append(slab)
      cellHomes[home(of: slab)].cellsInUse -= 1
      cellsInUse -= 1
    }
  }
}
