import Crypto
import Framing
import Primitives
import Proxy

/// The two ends of a session in one memory pool, joined by copies that stand for sockets.
struct SessionBench: ~Copyable {
  var pool: SlabPool
  var link: Session
  var site: Session
  var now: Instant
  /// Payload that arrived, and streams that came to their end at the link.
  var arrived = (site: 0, link: 0)
  var closed = 0
  /// What the link opened last.
  var opened: StreamID?
  private var linkOutput: SliceQueue
  private var siteOutput: SliceQueue

  /// Bytes that are sealed ahead of a write.
  private static let sealAhead = 256 * 1024

  init() throws {
    let (up, down) = (try SampleSecret.make(1), try SampleSecret.make(2))
    let now = Instant(nanoseconds: 1_000_000_000)
    let link = try Session(role: .link, secrets: RecordSecrets(send: up, receive: down), now: now)
    site = try Session(role: .site, secrets: RecordSecrets(send: down, receive: up), now: now)
    pool = SlabPool(limit: 32)
    linkOutput = SliceQueue(minimumCapacity: 512)
    siteOutput = SliceQueue(minimumCapacity: 512)
    self.link = link
    self.now = now
  }

  mutating func open() throws -> StreamID {
    opened = nil
    _ = try link.open(OpenRequest(agent: "plc", transport: .tcp, port: 502), tag: 1)
    while opened == nil, link.hasOutput || site.hasOutput { try carry() }
    guard let opened else { throw StageFailure("no stream") }
    return opened
  }

  /// Lets everything that waits reach the other end.
  mutating func carry() throws {
    now = now + .microseconds(10)
    while link.hasOutput {
      try link.fill(&linkOutput, limit: Self.sealAhead, pool: &pool, now: now)
      while !linkOutput.isEmpty {
        guard let target = site.readTarget(pool: &pool) else { throw StageFailure("no memory") }
        let count = Self.move(&linkOutput, to: target, pool: &pool)
        try site.received(count, in: target, pool: &pool, now: now)
        takeSiteEvents()
      }
    }
    while site.hasOutput {
      try site.fill(&siteOutput, limit: Self.sealAhead, pool: &pool, now: now)
      while !siteOutput.isEmpty {
        guard let target = link.readTarget(pool: &pool) else { throw StageFailure("no memory") }
        let count = Self.move(&siteOutput, to: target, pool: &pool)
        try link.received(count, in: target, pool: &pool, now: now)
        takeLinkEvents()
      }
    }
  }

  private mutating func takeSiteEvents() {
    while let event = site.nextEvent() {
      switch event {
      case .openRequested(let stream): site.accept(stream)
      case .data(let stream, let slice):
        arrived.site += slice.count
        site.consumed(stream, slice.count, now: now)
        pool.release(slice)
      case .finished(let stream): site.finish(stream)
      default: break
      }
    }
  }

  private mutating func takeLinkEvents() {
    while let event = link.nextEvent() {
      switch event {
      case .opened(let stream): opened = stream
      case .data(let stream, let slice):
        arrived.link += slice.count
        link.consumed(stream, slice.count, now: now)
        pool.release(slice)
      case .closed: closed += 1
      default: break
      }
    }
  }

  private static func move(
    _ output: inout SliceQueue, to target: RecordReader.Target, pool: inout SlabPool
  ) -> Int {
    let count = move(&output, to: target.first, pool: &pool)
    guard count == target.first.count, let second = target.second else { return count }
    return count + move(&output, to: second, pool: &pool)
  }

  private static func move(_ output: inout SliceQueue, to region: Slice, pool: inout SlabPool) -> Int {
    var moved = 0
    while moved < region.count, !output.isEmpty {
      let piece = output[0]
      let count = min(piece.count, region.count - moved)
      pool.copyBytes(of: piece.prefix(count), to: region.range(from: moved, count: count))
      output.drop(count, pool: &pool)
      moved += count
    }
    return moved
  }
}

/// Payload both ways, on streams in turn.
struct SessionStage: Stage, ~Copyable {
  private var bench: SessionBench
  private let streams: [StreamID]
  private let payload: (up: Slice, down: Slice)
  private let size: Int
  private var position = 0
  private(set) var completed = 0

  /// - Parameters:
  ///   - size: bytes in each direction of an operation.
  ///   - count: streams that are open.
  init(size: Int, streams count: Int) throws {
    var bench = try SessionBench()
    guard let up = bench.pool.takeSlab(), let down = bench.pool.takeSlab() else { throw StageFailure("no memory") }
    var streams: [StreamID] = []
    for _ in 0..<count { streams.append(try bench.open()) }
    payload = (up.prefix(size), down.prefix(size))
    self.size = size
    self.streams = streams
    self.bench = bench
  }

  mutating func run(_ operations: Int) throws {
    for _ in 0..<operations {
      let before = bench.arrived
      let stream = streams[position]
      position = position + 1 == streams.count ? 0 : position + 1
      bench.pool.retain(payload.up)
      bench.pool.retain(payload.down)
      try bench.link.send(stream, payload.up, pool: &bench.pool)
      try bench.site.send(stream, payload.down, pool: &bench.pool)
      try bench.carry()
      if bench.arrived.site - before.site == size, bench.arrived.link - before.link == size { completed += 1 }
    }
  }
}

/// A stream is opened, finished by both ends, and closed.
struct StreamStage: Stage, ~Copyable {
  private var bench: SessionBench
  private(set) var completed = 0

  init() throws {
    bench = try SessionBench()
  }

  mutating func run(_ operations: Int) throws {
    for _ in 0..<operations {
      let before = bench.closed
      bench.link.finish(try bench.open())
      while bench.link.hasOutput || bench.site.hasOutput { try bench.carry() }
      if bench.closed == before + 1 { completed += 1 }
    }
  }
}
