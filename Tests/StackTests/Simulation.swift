import Packet
import Primitives

@testable import Stack

/// How a simulated link treats packets. Probabilities are 0 to 1.
struct LinkConditions {
  var latency = Interval.milliseconds(1)
  var loss = 0.0
  var duplication = 0.0
  /// A reordered packet arrives up to ten latencies late.
  var reordering = 0.0
}

/// One end: a stack with its pool, and an application that sends, reads and ends as told.
final class SimulatedHost {
  var stack: Stack
  var pool = SlabPool(slabSize: 256 * 1024, limit: 128)
  var lane = SlabLane()
  var receiveLane = SlabLane()
  var transmit = Transmit()

  // The application.
  var flow: FlowID?
  var outbox: [UInt8] = []
  var sent = 0
  var inbox: [UInt8] = []
  var unread = 0
  /// The application's receive buffer.
  var buffer = 64 << 10
  /// Bytes that the application reads in a tick; `nil` for all at once.
  var readsPerTick: Int?
  var acceptsAtOnce = true
  var finishesWhenSent = true
  /// Ends its own direction only once the peer has ended.
  var waitsForPeer = false
  var hasFinished = false
  var events: [StackEvent] = []
  var acknowledged = 0
  var peerFinished = false
  var isClosed = false
  var resetCause: ResetCause?

  init(_ configuration: StackConfiguration, seed: UInt64) {
    stack = Stack(configuration: configuration, secret: (seed, ~seed))
  }

  /// Puts bytes where a packet or a payload may be handed over.
  func slice(_ bytes: [UInt8]) -> Slice? { pool.copy(bytes.span, in: &lane) }

  func deliver(_ bytes: [UInt8], _ offload: Offload, now: Instant) {
    guard let packet = pool.copy(bytes.span, in: &receiveLane) else { return }
    stack.receive(packet, offload: offload, pool: &pool, now: now)
    pool.release(packet)
    takeEvents(now: now)
  }

  func takeEvents(now: Instant) {
    while let event = stack.nextEvent() {
      switch event {
      case .openRequested(let id, _):
        flow = id
        stack.setReceiveCredit(id, buffer, now: now)
        if acceptsAtOnce { stack.accept(id, pool: &pool, now: now) }
      case .established(let id):
        stack.setReceiveCredit(id, buffer - unread, now: now)
      case .received(let id, let slice):
        inbox += pool.array(slice)
        unread += slice.count
        pool.release(slice)
        if readsPerTick == nil { unread = 0 }
        stack.setReceiveCredit(id, buffer - unread, now: now)
      case .finished: peerFinished = true
      case .acknowledged(_, let bytes): acknowledged += bytes
      case .closed: isClosed = true
      case .reset(_, let cause): resetCause = cause
      case .datagram(_, let slice), .echoRequested(_, let slice): pool.release(slice)
      default: break
      }
      events.append(event)
    }
    act(now: now)
  }

  func act(now: Instant) {
    guard let flow else { return }
    while sent < outbox.count, stack.unacknowledged(flow) < 128 << 10 {
      let size = min(outbox.count - sent, 1 + (sent * 7919) % 20_000)
      guard let slice = slice(Array(outbox[sent..<(sent + size)])) else { break }
      stack.send(flow, slice, pool: &pool, now: now)
      sent += size
    }
    if sent == outbox.count, finishesWhenSent, !hasFinished, !waitsForPeer || peerFinished {
      hasFinished = true
      stack.finish(flow, now: now)
    }
  }

  func tick(now: Instant) {
    guard let flow, let readsPerTick, unread > 0 else { return }
    unread -= min(unread, readsPerTick)
    stack.setReceiveCredit(flow, buffer - unread, now: now)
  }

  func transmitNext(now: Instant) -> (bytes: [UInt8], offload: Offload)? {
    guard stack.nextTransmit(into: &transmit, pool: &pool, now: now) else { return nil }
    var bytes: [UInt8] = []
    transmit.withHeader { header in
      for index in header.indices { bytes.append(header[index]) }
    }
    for slice in transmit.payload { bytes += pool.array(slice) }
    let offload = transmit.offload
    transmit.clear(pool: &pool)
    return (bytes, offload)
  }

  /// Slabs that are held without a lane being open: must be none at the end.
  func leakedSlabs() -> Int {
    stack.removeAll(pool: &pool)
    transmit.clear(pool: &pool)
    pool.close(&lane)
    pool.close(&receiveLane)
    // Slabs of small cells stay with the pool, their cells free.
    return pool.slabsInUse - pool.cellSlabs
  }
}

/// Two hosts and a link in virtual time. Everything follows from the seed.
struct Simulation {
  private struct InFlight {
    var due: Instant
    var order: Int
    var toSecond: Bool
    var bytes: [UInt8]
    var offload: Offload
  }

  let first: SimulatedHost
  let second: SimulatedHost
  var conditions: LinkConditions
  var now = Instant(nanoseconds: 1_000_000_000)
  private var random: SeededRandom
  private var link: [InFlight] = []
  private var packets = 0
  private var nextTick: Instant
  /// Time between two reads of a slow reader.
  var tickInterval = Interval.milliseconds(10)

  static let firstEnd = Endpoint(IPAddress(10, 0, 0, 1), 40_000)
  static let secondEnd = Endpoint(IPAddress(10, 0, 0, 2), 80)

  init(
    seed: UInt64, conditions: LinkConditions = LinkConditions(), first: StackConfiguration = StackConfiguration(),
    second: StackConfiguration = StackConfiguration()
  ) {
    self.conditions = conditions
    random = SeededRandom(seed: seed)
    self.first = SimulatedHost(first, seed: seed)
    self.second = SimulatedHost(second, seed: seed &+ 1)
    nextTick = now + tickInterval
  }

  mutating func connect(isV6: Bool = false) throws {
    first.flow = try first.stack.connect(
      from: isV6 ? Packets.application6 : Self.firstEnd, to: isV6 ? Packets.device6 : Self.secondEnd, now: now)
  }

  /// Lets both ends send what they have.
  mutating func flush() {
    collect(from: first, toSecond: true)
    collect(from: second, toSecond: false)
  }

  private mutating func collect(from host: SimulatedHost, toSecond: Bool) {
    while let (bytes, offload) = host.transmitNext(now: now) {
      if random.chance(conditions.loss) { continue }
      let copies = random.chance(conditions.duplication) ? 2 : 1
      for _ in 0..<copies {
        var delay = conditions.latency
        if random.chance(conditions.reordering) {
          delay = delay + Interval(nanoseconds: Int64(random.next() % UInt64(10 * conditions.latency.nanoseconds)))
        }
        packets += 1
        link.append(InFlight(due: now + delay, order: packets, toSecond: toSecond, bytes: bytes, offload: offload))
      }
    }
  }

  /// Moves on to the next thing that happens.
  ///
  /// - Returns: false when nothing will happen any more.
  mutating func step() -> Bool {
    flush()
    var next = link.map(\.due).min()
    next = Instant.earliest(next, first.stack.nextDeadline)
    next = Instant.earliest(next, second.stack.nextDeadline)
    if first.readsPerTick != nil && first.unread > 0 || second.readsPerTick != nil && second.unread > 0 {
      next = Instant.earliest(next, nextTick)
    }
    guard let next else { return false }
    now = max(now, next)
    while nextTick <= now {
      first.tick(now: now)
      second.tick(now: now)
      nextTick = nextTick + tickInterval
    }
    let due = link.filter { $0.due <= now }.sorted { ($0.due, $0.order) < ($1.due, $1.order) }
    link.removeAll { $0.due <= now }
    for packet in due {
      (packet.toSecond ? second : first).deliver(packet.bytes, packet.offload, now: now)
    }
    for host in [first, second] {
      host.stack.handleTimeout(pool: &host.pool, now: now)
      host.takeEvents(now: now)
    }
    return true
  }

  /// Runs until `isDone`, or for `limit` of virtual time.
  mutating func run(limit: Interval = .seconds(600), until isDone: (Simulation) -> Bool = { _ in false }) {
    let end = now + limit
    while now < end, !isDone(self), step() {}
    flush()
  }

  /// Runs until both ends have seen the connection end.
  mutating func runToClose(limit: Interval = .seconds(600)) {
    run(limit: limit) {
      ($0.first.isClosed || $0.first.resetCause != nil) && ($0.second.isClosed || $0.second.resetCause != nil)
    }
  }

  /// Bytes that follow from a seed.
  static func pattern(_ count: Int, seed: UInt64) -> [UInt8] {
    var random = SeededRandom(seed: seed)
    var bytes: [UInt8] = []
    bytes.reserveCapacity(count + 8)
    while bytes.count < count {
      var word = random.next()
      for _ in 0..<8 {
        bytes.append(UInt8(truncatingIfNeeded: word))
        word >>= 8
      }
    }
    bytes.removeLast(bytes.count - count)
    return bytes
  }
}
