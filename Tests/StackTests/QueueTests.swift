import Primitives
import Testing

@testable import Stack

/// The queues of a connection against slow twins that can't be wrong.
@Suite struct QueueTests {
  @Test func sendQueueFollowsItsTwin() {
    for seed in UInt64(0)..<100 {
      var random = SeededRandom(seed: seed)
      var pool = SlabPool(slabSize: 64 * 1024, limit: 32)
      var lane = SlabLane()
      var queue = SendQueue()
      var twin: [UInt8] = []
      for _ in 0..<200 {
        switch random.next() % 4 {
        case 0 where twin.count < 50_000:
          let bytes = Simulation.pattern(Int(random.next() % 3000), seed: random.next())
          if let slice = pool.copy(bytes.span, in: &lane) {
            // Cut in two at times, so that neighbours are joined again.
            let cut = bytes.isEmpty ? 0 : Int(random.next() % UInt64(bytes.count))
            pool.retain(slice)
            queue.append(slice.prefix(cut), pool: &pool)
            queue.append(slice.dropping(cut), pool: &pool)
            twin += bytes
          }
        case 1:
          let count = twin.isEmpty ? 0 : Int(random.next() % UInt64(twin.count + 1))
          queue.acknowledge(count, pool: &pool)
          twin.removeFirst(count)
        default:
          let position = twin.isEmpty ? 0 : Int(random.next() % UInt64(twin.count + 1))
          let limit = Int(random.next() % 5000)
          var payload: [Slice] = []
          var count = queue.gather(from: position, limit: limit, maximumSlices: 3, into: &payload, pool: &pool)
          // What follows on the last gather.
          count += queue.gather(
            from: position + count, limit: limit, maximumSlices: 6, into: &payload, pool: &pool)
          let bytes = payload.flatMap { pool.array($0) }
          #expect(bytes == Array(twin[position..<(position + count)]), "seed \(seed)")
          for slice in payload { pool.release(slice) }
        }
        #expect(queue.count == twin.count)
      }
      queue.removeAll(pool: &pool)
      pool.close(&lane)
      #expect(pool.slabsInUse == 0, "seed \(seed)")
    }
  }

  @Test func receiveQueueFollowsItsTwin() {
    for seed in UInt64(0)..<50 {
      var random = SeededRandom(seed: seed)
      var pool = SlabPool(slabSize: 64 * 1024, limit: 32)
      var lane = SlabLane()
      var queue = ReceiveQueue()
      let base = SequenceNumber(UInt32(truncatingIfNeeded: 0 &- random.next() % 2000))
      let stream = Simulation.pattern(4000, seed: seed)
      var has = [Bool](repeating: false, count: stream.count)
      var next = 0
      while next < stream.count {
        // Now and then what is due, or the stream would take for ever.
        let ahead = random.chance(0.3) ? 0 : Int(random.next() % 1000)
        let start = min(next + ahead, stream.count - 1)
        let end = min(start + 1 + Int(random.next() % 700), stream.count)
        guard let slice = pool.copy(Array(stream[start..<end]).span, in: &lane) else { return }
        if queue.insert(slice, at: base + start, limit: 1000, pool: &pool) || start > next {
          for index in start..<end { has[index] = true }
        }
        pool.release(slice)
        while let part = queue.popFirst(at: base + next, pool: &pool) {
          #expect(pool.array(part) == Array(stream[next..<(next + part.count)]), "seed \(seed)")
          next += part.count
          pool.release(part)
        }
        for index in 0..<next { has[index] = true }
        #expect(next == stream.count || !has[next], "seed \(seed)")
        // Blocks are what is there, and nothing else.
        var reported = [Bool](repeating: false, count: stream.count)
        queue.forEachBlock(limit: .max) { start, end in
          for index in (start - base)..<(end - base) { reported[index] = true }
        }
        #expect(reported[next...] == has[next...], "seed \(seed)")
        #expect(queue.byteCount == has[next...].count { $0 })
      }
      queue.removeAll(pool: &pool)
      pool.close(&lane)
      #expect(pool.slabsInUse == pool.cellSlabs, "seed \(seed)")
    }
  }

  @Test func receiveQueueKeepsWhatIsDueFirst() {
    var pool = SlabPool(slabSize: 64 * 1024, limit: 8)
    var lane = SlabLane()
    var queue = ReceiveQueue()
    guard let slice = pool.copy([1, 2, 3, 4].span, in: &lane) else { return }
    for start in stride(from: 100, to: 0, by: -10) {
      #expect(queue.insert(slice, at: SequenceNumber(0) + start, limit: 4, pool: &pool))
    }
    #expect(queue.count == 4)
    #expect(!queue.insert(slice, at: SequenceNumber(500), limit: 4, pool: &pool))
    #expect(queue.popFirst(at: SequenceNumber(10), pool: &pool)?.count == 4)
  }

  @Test func deadlinesComeInOrder() {
    for seed in UInt64(0)..<100 {
      var random = SeededRandom(seed: seed)
      var heap = DeadlineHeap()
      var twin: [UInt32: Int64] = [:]
      for _ in 0..<500 {
        let slot = UInt32(random.next() % 50)
        switch random.next() % 5 {
        case 0:
          heap.remove(slot)
          twin[slot] = nil
        case 1:
          if let earliest = twin.values.min() {
            #expect(heap.first?.nanoseconds == earliest)
            #expect(heap.popExpired(now: Instant(nanoseconds: earliest - 1)) == nil)
            let popped = heap.popExpired(now: Instant(nanoseconds: earliest))
            #expect(popped.flatMap { twin[$0] } == earliest, "seed \(seed)")
            if let popped { twin[popped] = nil }
          }
        default:
          let deadline = Int64(random.next() % 1000)
          heap.require(Instant(nanoseconds: deadline), for: slot)
          twin[slot] = min(twin[slot] ?? .max, deadline)
        }
        #expect(heap.count == twin.count)
      }
    }
  }
}
