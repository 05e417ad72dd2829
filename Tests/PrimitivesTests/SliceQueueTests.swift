import Primitives
import Testing

@Suite struct SliceQueueTests {
  @Test func neighboursBecomeOneSlice() {
    var pool = SlabPool(slabSize: 4096, limit: 2)
    let slab = pool.takeSlab()!
    var queue = SliceQueue()
    for part in 0..<3 {
      let slice = slab.range(from: part * 100, count: 100)
      pool.retain(slice)
      queue.append(slice, pool: &pool)
    }
    pool.release(slab)
    let state = (queue.count, queue.byteCount, queue[0])
    #expect(state == (1, 300, slab.prefix(300)))
    queue.drop(299, pool: &pool)
    #expect(pool.slabsInUse == 1)
    queue.drop(1, pool: &pool)
    #expect(pool.slabsInUse == 0)
    let isEmpty = queue.isEmpty
    #expect(isEmpty)
  }

  @Test func bytesLeaveInOrderHoweverTheyAreTaken() {
    var random = SeededRandom(seed: 3)
    var pool = SlabPool(slabSize: 4096, limit: 256)
    var lane = SlabLane()
    var queue = SliceQueue(minimumCapacity: 4)
    var expected: [UInt8] = []
    for _ in 0..<5000 {
      if random.chance(0.5) {
        let bytes = (0..<Int(random.next() % 200)).map { _ in UInt8(truncatingIfNeeded: random.next()) }
        if let slice = pool.copy(bytes.span, in: &lane) {
          queue.append(slice, pool: &pool)
          expected += bytes
        }
      } else {
        let count = Int(random.next() % UInt64(min(500, queue.byteCount) + 1))
        var seen: [UInt8] = []
        var position = 0
        while seen.count < count {
          seen += pool.array(queue[position])
          position += 1
        }
        if Array(seen.prefix(count)) != Array(expected.prefix(count)) { Issue.record("other bytes") }
        queue.drop(count, pool: &pool)
        expected.removeFirst(count)
      }
      let count = queue.byteCount
      #expect(count == expected.count)
    }
    queue.removeAll(pool: &pool)
    pool.close(&lane)
    #expect(pool.slabsInUse == 0)
  }
}
