import Primitives
import Testing

@testable import Framing

@Suite struct FrameCursorTests {
  @Test func walksToTheEnd() throws {
    var pool = SlabPool(slabSize: 4096, limit: 4)
    var lane = SlabLane()
    let record = pool.copy([4, 0, 0, 2, 0, 1, 0, 1, 0xAA, 0xBB, 6, 0, 0, 0, 0, 1, 0, 1].span, in: &lane)!
    var cursor = FrameCursor(record)
    let first = try #require(try cursor.next(pool: pool))
    #expect(first.header.type == .data)
    #expect(pool.array(first.payload) == [0xAA, 0xBB])
    #expect(first.payload == record.range(from: 8, count: 2))
    let second = try #require(try cursor.next(pool: pool))
    #expect(second.header.type == .finish && second.payload.isEmpty)
    #expect(try cursor.next(pool: pool) == nil)
    #expect(try cursor.next(pool: pool) == nil)
  }

  @Test func whatIsLeftOverIsAnError() throws {
    var pool = SlabPool(slabSize: 4096, limit: 4)
    var lane = SlabLane()
    for extra in 1..<8 {
      let bytes = [6, 0, 0, 0, 0, 1, 0, 1] + [UInt8](repeating: 6, count: extra)
      var cursor = FrameCursor(pool.copy(bytes.span, in: &lane)!)
      _ = try cursor.next(pool: pool)
      #expect(throws: FrameError.truncated) { try cursor.next(pool: pool) }
    }
  }

  @Test func garbageNeverTrapsAndAlwaysEnds() {
    var random = SeededRandom(seed: 21)
    var pool = SlabPool(slabSize: 65_536, limit: 4)
    var lane = SlabLane()
    for _ in 0..<20_000 {
      let bytes = (0..<Int(random.next() % 120)).map { index in
        // Mostly plausible headers, so that the walk goes on for a while.
        index % 8 == 0 ? UInt8(1 + random.next() % 16) : UInt8(random.chance(0.9) ? 0 : random.next() % 8)
      }
      let record = pool.copy(bytes.span, in: &lane)!
      var cursor = FrameCursor(record)
      var covered = 0
      while let frame = try? cursor.next(pool: pool) {
        covered += FrameHeader.size + frame.payload.count
        guard covered <= bytes.count else {
          Issue.record("beyond the record")
          break
        }
      }
      pool.release(record)
    }
  }
}
