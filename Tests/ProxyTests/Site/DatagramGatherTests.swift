import Glibc
import Kernel
import Primitives
import Testing

/// Runs of datagrams through real sockets on 127.0.0.1.
@Suite struct DatagramGatherTests {
  /// Two connected sockets, and what is to be sent from one to the other.
  private struct Bench: ~Copyable {
    let near, far: OwnedDescriptor
    let gather = DatagramGather()
    var pool = SlabPool(limit: 64)
    var lane = SlabLane()
    var queue = RingQueue<Slice>()
    var segmentLimit = DatagramGather.byteLimit

    init(joins: Bool = false) throws {
      let near = try Socket.make(.v4, .datagram)
      let far = try Socket.make(.v4, .datagram)
      // A datagram to the discard port gives a socket a port of its own.
      let discard = Endpoint(IPAddress(127, 0, 0, 1), 9)
      try Socket.send([0].span, to: discard, from: near)
      try Socket.send([0].span, to: discard, from: far)
      let ports = (Socket.localEndpoint(near)!.port, Socket.localEndpoint(far)!.port)
      try Socket.connect(near, to: Endpoint(IPAddress(127, 0, 0, 1), ports.1))
      try Socket.connect(far, to: Endpoint(IPAddress(127, 0, 0, 1), ports.0))
      let joined = joins && Socket.joinDatagrams(far)
      #expect(joined == joins)
      self.near = near
      self.far = far
    }

    mutating func append(_ sizes: [Int]) {
      for (index, size) in sizes.enumerated() {
        queue.append(pool.copy([UInt8](repeating: UInt8(truncatingIfNeeded: index), count: size).span, in: &lane)!)
      }
    }

    /// Sends all of the queue; returns how many datagrams each call took.
    mutating func send() throws -> [Int] {
      var counts: [Int] = []
      while !queue.isEmpty {
        let outcome = try gather.send(&queue, to: near, segmentLimit: &segmentLimit, pool: &pool)
        #expect(outcome.isSent)
        counts.append(outcome.datagrams)
      }
      return counts
    }

    /// What one call fails with.
    mutating func failure() -> SystemError? {
      do throws(SystemError) {
        _ = try gather.send(&queue, to: near, segmentLimit: &segmentLimit, pool: &pool)
        return nil
      } catch {
        return error
      }
    }

    /// The datagrams that have arrived.
    borrowing func received() throws -> [[UInt8]] {
      var datagrams: [[UInt8]] = []
      var buffer = [UInt8](repeating: 0, count: 65_536)
      while true {
        var span = buffer.mutableSpan
        guard let (count, _) = try Socket.receive(into: &span, from: far) else { return datagrams }
        datagrams.append(Array(buffer[..<count]))
      }
    }

    mutating func close() -> Int {
      while let slice = queue.popFirst() { pool.release(slice) }
      pool.close(&lane)
      return pool.slabsInUse
    }
  }

  /// Sizes of datagrams, and how many of them each call is to take.
  @Test(arguments: [
    ([200], [1]),
    ([200, 200, 200], [3]),
    ([200, 200, 70, 200], [3, 1]),
    ([70, 200, 200], [1, 2]),
    ([0, 0], [1, 1]),
    ([9, 9, 0, 9], [2, 1, 1]),
    ([1, 1, 1, 2], [3, 1]),
    (Array(repeating: 20, count: 150), [64, 64, 22]),
    (Array(repeating: 30_000, count: 5), [2, 2, 1]),
    ([32_000, 32_000, 1507], [3]),
    ([32_000, 32_000, 1508], [2, 1]),
    ([65_507, 65_507], [1, 1]),
  ])
  func datagramsOfOneSizeGoTogether(sizes: [Int], calls: [Int]) throws {
    var bench = try Bench()
    bench.append(sizes)
    #expect(try bench.send() == calls)
    let received = try bench.received()
    #expect(received.map(\.count) == sizes)
    for (index, datagram) in received.enumerated() {
      #expect(datagram.allSatisfy { $0 == UInt8(truncatingIfNeeded: index) })
    }
    #expect(bench.close() == 0)
  }

  @Test func whatIsBeyondTheLimitGoesAlone() throws {
    var bench = try Bench()
    bench.segmentLimit = 99
    bench.append([99, 99, 100, 100, 99])
    #expect(try bench.send() == [2, 1, 1, 1])
    #expect(try bench.received().map(\.count) == [99, 99, 100, 100, 99])
    #expect(bench.close() == 0)
  }

  /// An error is that of the datagrams of one call; those behind it go their own way.
  @Test func anErrorTakesItsOwnDatagramsAlong() throws {
    var bench = try Bench()
    bench.append([65_508, 10, 10])
    let error = bench.failure()
    #expect(error?.isMessageTooLong == true)
    #expect(try bench.send() == [2])
    #expect(try bench.received().map(\.count) == [10, 10])
    #expect(bench.close() == 0)
  }

  /// The kernel tells once that nobody listens: the next call says so, and not one later.
  @Test func aRefusalIsTold() throws {
    var bench = try Bench()
    try Socket.connect(bench.near, to: Endpoint(IPAddress(127, 0, 0, 1), 9))
    bench.append([10, 10, 20])
    let outcome = try bench.gather.send(
      &bench.queue, to: bench.near, segmentLimit: &bench.segmentLimit, pool: &bench.pool)
    #expect(outcome.datagrams == 2 && outcome.bytes == 20 && outcome.isSent)
    let error = bench.failure()
    #expect(error?.code == SystemError.connectionRefused)
    #expect(bench.close() == 0)
  }

  /// A full send buffer drops the datagrams of one call, and says how many.
  @Test func aFullSocketDropsWholeRuns() throws {
    var bench = try Bench()
    // What arrives is held by the sender's account until it is read, as long as it is in a queue on the way.
    try Socket.setOption(bench.near, SOL_SOCKET, SO_SNDBUF, 1)
    bench.append(Array(repeating: 1000, count: 20))
    var sent = 0
    while !bench.queue.isEmpty {
      let outcome = try bench.gather.send(
        &bench.queue, to: bench.near, segmentLimit: &bench.segmentLimit, pool: &bench.pool)
      if outcome.isSent { sent += outcome.datagrams }
    }
    #expect(try bench.received().count == sent)
    #expect(bench.close() == 0)
  }

  @Test func whatCameTogetherIsReadTogether() throws {
    var bench = try Bench(joins: true)
    bench.append(Array(repeating: 700, count: 10) + [30, 0, 5])
    #expect(try bench.send() == [11, 1, 1])
    var reads: [(Transfer, Int)] = []
    while true {
      let region = bench.pool.reserve(65_536, in: &bench.lane)!
      let read = try Socket.receiveDatagrams(into: region, from: bench.far, pool: bench.pool)
      if read.transfer == .wouldBlock { break }
      reads.append((read.transfer, read.segmentSize))
    }
    #expect(reads.map(\.0) == [.moved(7030), .ended, .moved(5)])
    #expect(reads.map(\.1) == [700, 0, 0])
    #expect(bench.close() == 0)
  }
}
