import Packet
import Primitives
import Testing

@testable import Tun

@Suite struct FaultInjectorTests {
  /// The numbers of the packets that arrive of `count`, and the bytes of all.
  private func pass(
    _ count: Int, seed: UInt64 = 1, reading: FaultRates = .none, writing: FaultRates = .none
  ) throws -> (numbers: [Int], intact: Int, faults: FaultCounters) {
    var bench = Bench(
      FaultInjector(LoopbackDevice(packetLimit: 10_000), seed: seed, reading: reading, writing: writing))
    var numbers: [Int] = []
    var intact = 0
    for number in 0..<count { _ = try bench.write(numbered(number)) }
    try bench.flush()
    while let packet = try bench.next() {
      let number = Int(packet.bytes[28]) | Int(packet.bytes[29]) << 8
      numbers.append(number)
      if packet.bytes == numbered(number).bytes { intact += 1 }
    }
    return (numbers, intact, bench.device.faults)
  }

  @Test func `without faults all passes as it is`() throws {
    let result = try pass(100)
    #expect(result.numbers == Array(0..<100) && result.intact == 100)
    #expect(result.faults == FaultCounters())
  }

  @Test func `lost packets are missing, the others are in order`() throws {
    for (reading, writing) in [(FaultRates(loss: 0.2), FaultRates.none), (.none, FaultRates(loss: 0.2))] {
      let result = try pass(1000, reading: reading, writing: writing)
      #expect(result.numbers.count == 1000 - Int(result.faults.lost))
      #expect((120...280).contains(result.faults.lost))
      #expect(result.numbers == result.numbers.sorted())
    }
  }

  @Test func `corrupted packets differ, and only they`() throws {
    for (reading, writing) in [(FaultRates(corruption: 0.1), FaultRates.none), (.none, FaultRates(corruption: 0.1))] {
      let result = try pass(1000, reading: reading, writing: writing)
      #expect(result.numbers.count == 1000)
      #expect(result.intact <= 1000 - Int(result.faults.corrupted) + 20)
      #expect(result.intact >= 1000 - Int(result.faults.corrupted))
      #expect(result.faults.corrupted > 50)
    }
  }

  @Test func `corruption of a write leaves the caller's bytes alone`() throws {
    var pool = SlabPool()
    var lane = SlabLane()
    var device = FaultInjector(LoopbackDevice(), seed: 5, writing: FaultRates(corruption: 1))
    let payload = try #require(pool.copy([1, 2, 3, 4].span, in: &lane))
    for _ in 0..<100 {
      _ = try device.write(.none, header: [9].span, payload: [payload].span, pool: &pool)
    }
    #expect(pool.array(payload) == [1, 2, 3, 4])
    pool.release(payload)
    device.close(pool: &pool)
    pool.close(&lane)
    #expect(pool.slabsInUse == 0)
  }

  @Test func `duplicates come twice, reordered ones one place later`() throws {
    for (reading, writing) in [
      (FaultRates(duplication: 0.1), FaultRates.none), (.none, FaultRates(duplication: 0.1)),
    ] {
      let result = try pass(1000, reading: reading, writing: writing)
      #expect(result.numbers.count == 1000 + Int(result.faults.duplicated))
      #expect(Set(result.numbers).count == 1000 && result.faults.duplicated > 50)
    }
    for (reading, writing) in [(FaultRates(reordering: 0.1), FaultRates.none), (.none, FaultRates(reordering: 0.1))] {
      let result = try pass(1000, reading: reading, writing: writing)
      #expect(result.numbers.sorted() == Array(0..<1000))
      let moved = zip(result.numbers, result.numbers.dropFirst()).filter { $0 > $1 }.count
      #expect(moved > 50 && moved <= result.faults.reordered)
    }
  }

  @Test func `the same seed gives the same faults`() throws {
    let rates = FaultRates(loss: 0.1, corruption: 0.1, duplication: 0.1, reordering: 0.1)
    let first = try pass(500, seed: 9, reading: rates, writing: rates)
    let second = try pass(500, seed: 9, reading: rates, writing: rates)
    let other = try pass(500, seed: 10, reading: rates, writing: rates)
    #expect(first.numbers == second.numbers && first.faults == second.faults)
    #expect(first.numbers != other.numbers)
  }
}

extension Bench where Device == FaultInjector<LoopbackDevice> {
  fileprivate mutating func flush() throws {
    try device.flush(pool: &pool)
  }
}
