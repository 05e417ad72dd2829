import Glibc
import Kernel
import Testing

@testable import Proxy

@Suite(.serialized) struct RelayLimitsTests {
  /// One relay more than a thread takes: both its ends are reset and its owner is told, the others go on.
  @Test func relaysOfAThreadAreBounded() throws {
    let fixture = try RelayFixture(limit: 2)
    let first = try fixture.join()
    let second = try fixture.join()
    let third = try fixture.join()
    #expect(
      fixture.end(of: third.id) == .failed(SystemError(call: "relay", subject: "no room", code: EBUSY)))
    #expect(throws: SystemError.self) { try third.first.receive(1) }
    #expect(throws: SystemError.self) { try third.second.receive(1) }
    #expect(fixture.relay.figures.active == 2)
    for pair in [first, second] {
      try pair.first.send([1, 2])
      #expect(try pair.second.receive(2) == [1, 2])
    }
    Socket.finish(first.first.socket)
    Socket.finish(first.second.socket)
    #expect(fixture.end(of: first.id) == .finished)
    let fourth = try fixture.join()
    try fourth.first.send([3])
    #expect(try fourth.second.receive(1) == [3])
    fixture.relay.stop()
  }

  /// A direction that always has bytes has four splices, then the other one and the other relays have theirs.
  @Test func bulkLeavesOthersTheirTurn() throws {
    let fixture = try RelayFixture()
    let (bulk, quiet) = (try fixture.join(), try fixture.join())
    let bytes = RelayPeer.sequence(200_000_000, seed: 1)
    try concurrently([
      { try bulk.first.sendAll(bytes) },
      {
        let count = try bulk.second.receiveAll().count
        #expect(count == bytes.count)
      },
      {
        // While it lasts, small messages of others pass.
        var rounds = 0
        while bulk.meter.bytes(from: .first) < UInt64(bytes.count / 2), rounds < 100_000 {
          try quiet.first.send([UInt8(truncatingIfNeeded: rounds)])
          let answer = try quiet.second.receive(1)
          #expect(answer == [UInt8(truncatingIfNeeded: rounds)])
          rounds += 1
        }
        #expect(rounds >= 10, "\(rounds)")
      },
    ])
    Socket.finish(bulk.second.socket)
    #expect(fixture.end(of: bulk.id) == .finished)
    fixture.relay.stop()
  }

  @Test func aPipeIsAsLargeAsTheKernelGives() throws {
    var large = PipePool()
    let pipe = try large.take()
    // 1 MiB, unless this user has had its share (pipe-user-pages-soft).
    #expect(pipe.capacity >= 4096 && pipe.capacity <= 1 << 20)
    large.giveBack(pipe, bytesInPipe: 0)
    // More than any kernel gives: the next smaller size.
    var absurd = PipePool(size: .max)
    let smaller = try absurd.take()
    #expect(smaller.capacity >= 4096 && smaller.capacity <= 256 << 10)
    absurd.giveBack(smaller, bytesInPipe: 0)
  }

  @Test func soManyEmptyPipesAreKept() throws {
    var pool = PipePool(size: 64 << 10)
    let pipes = try (0..<pool.keep + 8).map { _ in try pool.take() }
    for pipe in pipes { pool.giveBack(pipe, bytesInPipe: 0) }
    #expect(pool.freeCount == 32 && pool.count == 32)
  }
}
