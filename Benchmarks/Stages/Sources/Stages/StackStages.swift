import Packet
import Primitives
import Stack

/// A stack with one connection of an application, set up as LinkManager's is, and no more behind it than a sink.
struct StackBench: ~Copyable {
  var pool: SlabPool
  var stack: Stack
  var transmit: Transmit
  var application: ApplicationEnd
  let flow: FlowID
  var now: Instant

  /// Bytes that the application may have in flight.
  static let credit = 1 << 20

  init() throws {
    let now = Instant(nanoseconds: 1_000_000_000)
    var pool = SlabPool(limit: 8)
    var stack = Stack(configuration: StackConfiguration(), secret: (1, 2))
    var transmit = Transmit()
    var application = try ApplicationEnd(pool: &pool)
    let flow = try application.connect(&stack, &transmit, pool: &pool, now: now)
    stack.setReceiveCredit(flow, Self.credit, now: now)
    self.now = now
    self.flow = flow
    self.pool = pool
    self.stack = stack
    self.transmit = transmit
    self.application = application
  }

  /// Lets as much time pass as there is between two segments of a fast application.
  mutating func tick() {
    now = now + .microseconds(10)
    if let deadline = stack.nextDeadline, now >= deadline { stack.handleTimeout(pool: &pool, now: now) }
  }
}

/// From the application: a segment arrives, its payload goes to a sink, and the acknowledgement leaves.
struct StackInStage: Stage, ~Copyable {
  private var bench: StackBench
  private let size: Int
  private(set) var completed = 0

  /// - Parameter size: payload of a segment; beyond 1,448 bytes it is a super-segment.
  init(size: Int) throws {
    var bench = try StackBench()
    bench.application.layOut(payload: size, pool: &bench.pool)
    self.size = size
    self.bench = bench
  }

  mutating func run(_ operations: Int) throws {
    for _ in 0..<operations {
      bench.tick()
      bench.application.sendAgain(payload: size, to: &bench.stack, pool: &bench.pool, now: bench.now)
      var taken = 0
      while let event = bench.stack.nextEvent() {
        guard case .received(let flow, let slice) = event else { throw StageFailure("\(event)") }
        taken += slice.count
        bench.pool.release(slice)
        bench.stack.setReceiveCredit(flow, StackBench.credit, now: bench.now)
      }
      var acknowledgements = 0
      while bench.stack.nextTransmit(into: &bench.transmit, pool: &bench.pool, now: bench.now) { acknowledgements += 1 }
      if taken == size, acknowledgements == 1 { completed += 1 }
    }
  }
}

/// To the application: payload leaves as a segment, and its acknowledgement arrives.
struct StackOutStage: Stage, ~Copyable {
  private var bench: StackBench
  private let payload: Slice
  private(set) var completed = 0

  /// - Parameter size: payload of a segment; beyond 1,448 bytes it leaves as a super-segment.
  init(size: Int) throws {
    var bench = try StackBench()
    guard let slab = bench.pool.takeSlab() else { throw StageFailure("no memory") }
    bench.application.layOut(payload: 0, pool: &bench.pool)
    payload = slab.prefix(size)
    self.bench = bench
  }

  mutating func run(_ operations: Int) throws {
    for _ in 0..<operations {
      bench.tick()
      bench.pool.retain(payload)
      bench.stack.send(bench.flow, payload, pool: &bench.pool, now: bench.now)
      var segments = 0
      while bench.stack.nextTransmit(into: &bench.transmit, pool: &bench.pool, now: bench.now) {
        segments += 1
        bench.application.take(bench.transmit.payload.reduce(0) { $0 + $1.count })
      }
      bench.application.sendAgain(payload: 0, to: &bench.stack, pool: &bench.pool, now: bench.now)
      while let event = bench.stack.nextEvent() {
        guard case .acknowledged(_, let count) = event else { throw StageFailure("\(event)") }
        if count == payload.count, segments == 1 { completed += 1 }
      }
    }
  }
}
