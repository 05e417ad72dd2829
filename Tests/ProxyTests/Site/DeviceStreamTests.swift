import Primitives
import Testing

@testable import Proxy

struct DeviceStreamTests {
  private func slice(_ count: Int, _ pool: inout SlabPool, _ lane: inout SlabLane) -> Slice {
    let bytes = [UInt8](repeating: 1, count: count)
    return pool.copy(bytes.span, in: &lane)!
  }

  @Test func theEndGoesBehindWhatIsPending() {
    var pool = SlabPool(limit: 4)
    var lane = SlabLane()
    var stream = DeviceStream()
    var next = stream.nextWrite
    #expect(next == .wait)
    stream.queue(slice(100, &pool, &lane), pool: &pool)
    stream.peerDidFinish()
    next = stream.nextWrite
    #expect(next == .send)
    stream.pending.drop(40, pool: &pool)
    stream.writeWouldBlock()
    next = stream.nextWrite
    #expect(next == .wait, "not shut down with bytes pending")
    stream.became(readable: false, writable: true, closed: false)
    next = stream.nextWrite
    #expect(next == .send)
    stream.pending.drop(60, pool: &pool)
    stream.drain()
    next = stream.nextWrite
    #expect(next == .finish)
    stream.finishWasForwarded()
    next = stream.nextWrite
    #expect(next == .close)
    pool.close(&lane)
    #expect(pool.slabsInUse == pool.cellSlabs)
  }

  @Test func readsOnlyWithCredit() {
    var stream = DeviceStream()
    var wants = stream.wantsRead
    #expect(!wants)
    stream.became(readable: true, writable: false, closed: false)
    var size = stream.nextRead(credit: 0, limit: 100)
    wants = stream.wantsRead
    #expect(size == nil && !wants)
    stream.creditGrew()
    wants = stream.wantsRead
    size = stream.nextRead(credit: 1000, limit: 100)
    #expect(wants && size == 100)
    stream.read(100, of: 100)
    wants = stream.wantsRead
    #expect(wants, "a full read may have left something")
    stream.read(99, of: 100)
    wants = stream.wantsRead
    #expect(!wants)
  }

  /// The end is told once. A short read in front of it must not make it wait for an edge that doesn't come.
  @Test func theEndIsReadThoughNoEdgeTellsOfIt() {
    var stream = DeviceStream()
    stream.became(readable: true, writable: false, closed: true)
    stream.read(10, of: 100)
    var wants = stream.wantsRead
    #expect(wants)
    stream.readEnded()
    wants = stream.wantsRead
    #expect(!wants)
  }

  @Test func smallPayloadThatWaitsHoldsNoSlab() {
    var pool = SlabPool(limit: 4)
    var lane = SlabLane()
    var stream = DeviceStream()
    stream.writeWouldBlock()
    stream.queue(slice(10, &pool, &lane), pool: &pool)
    #expect(pool.cellsInUse == 1)
    stream.pending.removeAll(pool: &pool)
    #expect(pool.cellsInUse == 0)
    pool.close(&lane)
  }
}
