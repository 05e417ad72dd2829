import Primitives
import Testing

@Suite struct SlabPoolTests {
  @Test func aSlabComesBackWithItsLastReference() {
    var pool = SlabPool(slabSize: 4096, limit: 2)
    let slab = pool.takeSlab()!
    #expect(pool.slabsInUse == 1)
    #expect(pool.isSoleReference(slab) == true)
    let part = slab.range(from: 100, count: 50)
    pool.retain(part)
    #expect(pool.isSoleReference(slab) == false)
    pool.release(slab)
    #expect(pool.slabsInUse == 1)
    pool.release(part)
    #expect(pool.slabsInUse == 0)
    #expect(pool.peakSlabsInUse == 1)
  }

  @Test func theLimitHoldsAndIsLifted() {
    var pool = SlabPool(slabSize: 4096, limit: 3)
    let slabs = (0..<3).map { _ in pool.takeSlab()! }
    #expect(Set(slabs.map(\.slab)).count == 3)
    #expect(pool.takeSlab() == nil)
    var lane = SlabLane()
    #expect(pool.reserve(1, in: &lane) == nil)
    pool.release(slabs[1])
    #expect(pool.takeSlab()?.slab == slabs[1].slab)
  }

  @Test func pressureBeginsAtThreeQuarters() {
    var pool = SlabPool(slabSize: 4096, limit: 8)
    var slabs: [Slice] = []
    for count in 1...8 {
      slabs.append(pool.takeSlab()!)
      #expect(pool.isPressed == (count >= 6))
    }
    for slab in slabs { pool.release(slab) }
    #expect(pool.isPressed == false)
  }

  @Test func aLaneFillsItsSlabWithoutOverlap() {
    var pool = SlabPool(slabSize: 4096, limit: 64)
    var lane = SlabLane()
    var random = SeededRandom(seed: 5)
    var kept: [(slice: Slice, byte: UInt8)] = []
    for round in 0..<300 {
      let size = 1 + Int(random.next() % 900)
      guard let region = pool.reserve(size, in: &lane) else { break }
      #expect(region.count == size)
      #expect(Int(region.offset) + size <= pool.slabSize)
      let slice = pool.commit(region, count: Int(random.next() % UInt64(size + 1)), in: &lane)
      pool.withMutableSpan(slice) { bytes in
        for index in bytes.indices { bytes[index] = UInt8(truncatingIfNeeded: round) }
      }
      kept.append((slice, UInt8(truncatingIfNeeded: round)))
    }
    #expect(kept.count > 200)
    for (slice, byte) in kept { #expect(pool.array(slice) == Array(repeating: byte, count: slice.count)) }
    for (slice, _) in kept { pool.release(slice) }
    #expect(pool.slabsInUse == 1)
    pool.close(&lane)
    #expect(pool.slabsInUse == 0)
  }

  @Test func aLaneStartsOverWhenNobodyHoldsItsSlab() {
    var pool = SlabPool(slabSize: 4096, limit: 1)
    var lane = SlabLane()
    #expect(pool.room(in: lane) == 0)
    for _ in 0..<100 {
      let region = pool.reserve(1000, in: &lane)!
      #expect(region.offset == 0)
      pool.release(pool.commit(region, count: 1000, in: &lane))
    }
    let kept = pool.commit(pool.reserve(1000, in: &lane)!, count: 1000, in: &lane)
    #expect(pool.reserve(1000, in: &lane)?.offset == 1024)
    #expect(pool.room(in: lane) == 4096 - 1024)
    pool.release(kept)
    pool.close(&lane)
    #expect(pool.slabsInUse == 0)
  }

  @Test func anUnusedReservationCostsNothing() {
    var pool = SlabPool(slabSize: 4096, limit: 1)
    var lane = SlabLane()
    let first = pool.reserve(4096, in: &lane)
    #expect(first == pool.reserve(4096, in: &lane))
    let nothing = pool.commit(first!, count: 0, in: &lane)
    #expect(nothing.isEmpty)
    pool.release(nothing)
    pool.close(&lane)
    #expect(pool.slabsInUse == 0)
  }

  @Test func smallSlicesMoveToCells() {
    var pool = SlabPool(slabSize: 8192, limit: 8)
    var lane = SlabLane()
    let bytes = (0..<1000).map { UInt8(truncatingIfNeeded: $0) }
    let small = pool.copy(bytes.span, in: &lane)!
    pool.close(&lane)
    let compacted = pool.compact(small)
    #expect(compacted.slab != small.slab)
    #expect(pool.array(compacted) == bytes)
    #expect(pool.slabsInUse == 1)
    #expect(pool.cellSlabs == 1)
    // What is in a cell already stays there.
    #expect(pool.compact(compacted) == compacted)
    pool.release(compacted)
    #expect(pool.slabsInUse - pool.cellSlabs == 0)
  }

  @Test func largeSlicesStayWhereTheyAre() {
    var pool = SlabPool(slabSize: 4096, limit: 8)
    let slab = pool.takeSlab()!
    let large = slab.prefix(SlabPool.cellSize / 2 + 1)
    #expect(pool.compact(large) == large)
    #expect(pool.cellSlabs == 0)
    pool.release(large)
  }

  @Test func compactingGoesOnWithoutCells() {
    var pool = SlabPool(slabSize: 4096, limit: 8)
    var lane = SlabLane()
    var held: [Slice] = []
    // A quarter of the pool may hold cells: two slabs of two cells each.
    for index in 0..<6 {
      let slice = pool.copy([UInt8(index)].span, in: &lane)!
      held.append(pool.compact(slice))
    }
    #expect(pool.cellSlabs == 2)
    for (index, slice) in held.enumerated() { #expect(pool.array(slice) == [UInt8(index)]) }
    for slice in held { pool.release(slice) }
    pool.close(&lane)
    #expect(pool.slabsInUse == pool.cellSlabs)
  }

  @Test func trimGivesBackWhatWasOfNoUse() {
    var pool = SlabPool(slabSize: 4096, limit: 32)
    let slabs = (0..<20).map { _ in pool.takeSlab()! }
    #expect(pool.residentBytes == 20 * 4096)
    for slab in slabs { pool.release(slab) }
    pool.trim()
    #expect(pool.residentBytes == 20 * 4096, "in use since the last call")
    pool.trim()
    #expect(pool.residentBytes == 4 * 4096)
    // Memory is made anew where it was given back.
    let again = (0..<20).map { _ in pool.takeSlab()! }
    #expect(pool.residentBytes == 20 * 4096)
    for (index, slab) in again.enumerated() {
      pool.withMutableSpan(slab) { $0[4095] = UInt8(index) }
    }
    for (index, slab) in again.enumerated() {
      #expect(pool.withSpan(slab) { $0[4095] } == UInt8(index))
      pool.release(slab)
    }
    #expect(pool.slabsInUse == 0)
  }

  @Test func cellsGoBackOnceTheirFloodIsOver() {
    var pool = SlabPool(slabSize: 8192, limit: 64)
    var lane = SlabLane()
    // A quarter of the pool: 16 slabs of four cells.
    var held = (0..<64).map { pool.compact(pool.copy([UInt8($0)].span, in: &lane)!) }
    pool.close(&lane)
    #expect(pool.cellSlabs == 16)
    for slice in held.dropFirst(2) { pool.release(slice) }
    pool.trim()
    #expect(pool.cellSlabs == 16, "in use since the last call")
    pool.trim()
    #expect(pool.cellSlabs == 2, "one for what is held, and one to spare")
    #expect(pool.slabsInUse == 2)
    for (index, slice) in held.prefix(2).enumerated() { #expect(pool.array(slice) == [UInt8(index)]) }
    // Others take their place without touching what is held.
    held = held.prefix(2) + (2..<64).map { pool.compact(pool.copy([UInt8($0)].span, in: &lane)!) }
    #expect(pool.cellSlabs == 16)
    for (index, slice) in held.enumerated() {
      #expect(pool.array(slice) == [UInt8(index)])
      pool.release(slice)
    }
    pool.close(&lane)
    #expect(pool.slabsInUse == pool.cellSlabs)
  }

  @Test func slicesCopyTheirBytes() {
    var pool = SlabPool(slabSize: 4096, limit: 4)
    var lane = SlabLane()
    let bytes = (0..<300).map { UInt8(truncatingIfNeeded: $0 &* 7) }
    let first = pool.copy(bytes.span, in: &lane)!
    let second = pool.copy(first.range(from: 100, count: 50), in: &lane)!
    #expect(pool.array(second) == Array(bytes[100..<150]))
    pool.copyBytes(of: first.prefix(50), to: second)
    #expect(pool.array(second) == Array(bytes[..<50]))
    let none: [UInt8] = []
    let empty = pool.copy(none.span, in: &lane)!
    #expect(empty.isEmpty)
    for slice in [first, second, empty] { pool.release(slice) }
    pool.close(&lane)
    #expect(pool.slabsInUse == 0)
  }

  /// Every way to take and to give back, by seed: no slice's bytes ever change under another's hands.
  @Test(arguments: 0..<8 as Range<UInt64>)
  func anyOrderOfUseKeepsBytesApart(seed: UInt64) {
    var random = SeededRandom(seed: seed)
    var pool = SlabPool(slabSize: 8192, limit: 24)
    var lanes = [SlabLane(), SlabLane()]
    var held: [(slice: Slice, bytes: [UInt8])] = []
    for _ in 0..<4000 {
      switch random.next() % 6 {
      case 0, 1:
        let lane = Int(random.next() % 2)
        let bytes = (0..<Int(random.next() % 3000)).map { _ in UInt8(truncatingIfNeeded: random.next()) }
        if let slice = pool.copy(bytes.span, in: &lanes[lane]) { held.append((slice, bytes)) }
      case 2 where !held.isEmpty:
        let index = Int(random.next() % UInt64(held.count))
        held[index].slice = pool.compact(held[index].slice)
      case 3 where !held.isEmpty:
        let (slice, bytes) = held[Int(random.next() % UInt64(held.count))]
        let start = Int(random.next() % UInt64(slice.count + 1))
        pool.retain(slice)
        held.append((slice.dropping(start), Array(bytes[start...])))
      case 4: pool.trim()
      default:
        guard !held.isEmpty else { continue }
        let (slice, bytes) = held.remove(at: Int(random.next() % UInt64(held.count)))
        if pool.array(slice) != bytes { Issue.record("bytes changed, seed \(seed)") }
        pool.release(slice)
      }
      if pool.slabsInUse > pool.limit { Issue.record("beyond the limit") }
    }
    for (slice, bytes) in held {
      #expect(pool.array(slice) == bytes)
      pool.release(slice)
    }
    for index in lanes.indices { pool.close(&lanes[index]) }
    #expect(pool.slabsInUse == pool.cellSlabs)
  }
}
