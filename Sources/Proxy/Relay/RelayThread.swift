import CLinux
import Control
import Glibc
import Kernel
import Primitives
import Synchronization

/// What a relay thread is told.
enum RelayCommand: Sendable {
  /// Both descriptors become the thread's.
  case add(SessionID, first: CInt, second: CInt, RelayMeter)
  case cancel(SessionID)
  case stop
}

/// Figures that a thread shares.
final class RelayThreadTotals: Sendable {
  let bytes = Atomic<UInt64>(0)
  let splices = Atomic<UInt64>(0)
  let active = Atomic<Int>(0)
  let pipes = Atomic<Int>(0)
  /// Of these, empty ones that are kept.
  let idlePipes = Atomic<Int>(0)
}

/// One relay as its thread sees it.
final class Relay {
  let id: SessionID
  let sockets: (first: CInt, second: CInt)
  let first, second: OwnedDescriptor
  let meter: RelayMeter
  /// First to second, and back.
  var forward = RelayPump()
  var backward = RelayPump()
  var forwardPipe, backwardPipe: Pipe?
  var isQueued = false
  var isStarved = false
  var failure: RelayEnd?

  init(_ id: SessionID, _ first: CInt, _ second: CInt, _ meter: RelayMeter) {
    self.id = id
    self.first = OwnedDescriptor(owning: first)
    self.second = OwnedDescriptor(owning: second)
    sockets = (first, second)
    self.meter = meter
  }

  /// Lends the socket of one side.
  func withSocket<Result, Failure: Error>(
    _ side: RelaySide, _ body: (borrowing OwnedDescriptor) throws(Failure) -> Result
  ) throws(Failure) -> Result {
    switch side {
    case .first: try body(first)
    case .second: try body(second)
    }
  }
}

/// The loop of one thread: moves bytes between pairs of sockets in the kernel.
///
/// Edge-triggered: each socket is registered once, for everything. A pump remembers what is ready until a call
/// says EAGAIN, so that bulk traffic costs no epoll_ctl and few wakeups.
struct RelayLoop: ~Copyable {
  /// Splices in a row for one direction of a relay before the other, and the next relay, have their turn: with full
  /// pipes 2 MiB.
  static let budget = 4
  private static let mailboxToken = UInt64.max

  private let poller: Poller
  private let mailbox: Mailbox<RelayCommand>
  private let totals: RelayThreadTotals
  private let completion: @Sendable (SessionID, RelayEnd) -> Void
  private var relays: SlotMap<Relay>
  private var slots: [SessionID: SlotID] = [:]
  private var pipes: PipePool
  /// Relays that have work to do now, and those whose turn it is, apart: they may have more to do at once.
  private var ready: [SlotID] = []
  private var batch: [SlotID] = []
  /// Relays for which no pipe could be made, once each, and when they are tried again.
  private var starved: [SlotID] = []
  private var nextRelief = Instant.zero
  /// Descriptors may have been closed by another thread, which nobody tells.
  private static let reliefInterval = Interval.milliseconds(50)

  init(
    mailbox: Mailbox<RelayCommand>, totals: RelayThreadTotals, pipeSize: Int, limit: Int,
    completion: @escaping @Sendable (SessionID, RelayEnd) -> Void
  ) throws(SystemError) {
    let poller = try Poller()
    try poller.add(mailbox.descriptor, token: Self.mailboxToken, for: .readable)
    self.poller = poller
    self.mailbox = mailbox
    self.totals = totals
    self.completion = completion
    pipes = PipePool(size: pipeSize)
    relays = SlotMap(limit: limit)
  }

  /// Runs until told to stop.
  mutating func run() {
    while true {
      let timeout: Interval? = ready.isEmpty ? (starved.isEmpty ? nil : Self.reliefInterval) : .zero
      let count = (try? poller.wait(timeout: timeout)) ?? 0
      if !starved.isEmpty { relieve() }
      for index in 0..<count {
        let event = poller.event(index)
        if event.token == Self.mailboxToken {
          guard obey() else { return stop() }
        } else {
          signal(event)
        }
      }
      swap(&ready, &batch)
      for index in batch.indices where relays.contains(batch[index]) { turn(batch[index], relays[batch[index]]) }
      batch.removeAll(keepingCapacity: true)
      totals.pipes.store(pipes.count, ordering: .relaxed)
      totals.idlePipes.store(pipes.freeCount, ordering: .relaxed)
    }
  }

  // MARK: Commands

  /// False when told to stop.
  private mutating func obey() -> Bool {
    var goesOn = true
    for command in mailbox.receive() {
      switch command {
      case .add(let session, let first, let second, let meter):
        add(Relay(session, first, second, meter))
      case .cancel(let session):
        if let id = slots[session] { end(id, relays[id], .cancelled) }
      case .stop: goesOn = false
      }
    }
    return goesOn
  }

  private mutating func stop() {
    for command in mailbox.receive() {
      if case .add(let session, let first, let second, let meter) = command {
        add(Relay(session, first, second, meter))
      }
    }
    for id in relays.ids { end(id, relays[id], .stopped) }
  }

  private mutating func add(_ relay: Relay) {
    do throws(SystemError) {
      for side in RelaySide.allCases {
        try relay.withSocket(side, Self.configure)
      }
    } catch {
      // A socket that is not TCP, as in a test, or one that has failed already, which its first use will tell.
    }
    guard slots[relay.id] == nil, let id = relays.insert(relay) else {
      Socket.resetOnClose(relay.first)
      Socket.resetOnClose(relay.second)
      return completion(relay.id, .failed(SystemError(call: "relay", subject: "no room", code: EBUSY)))
    }
    slots[relay.id] = id
    totals.active.add(1, ordering: .relaxed)
    do throws(SystemError) {
      let all: Readiness = [.readable, .writable, .peerClosed, .edge]
      try poller.add(relay.sockets.first, token: Self.token(id, .first), for: all)
      try poller.add(relay.sockets.second, token: Self.token(id, .second), for: all)
      enqueue(id, relay)
    } catch {
      end(id, relay, .failed(error))
    }
  }

  /// A dead peer is noticed in 20 to 22 s, with bytes on their way to it or without: later than by the ends, which know
  /// more and say why.
  ///
  /// TCP_USER_TIMEOUT also ends a peer that keeps its window shut for that long. A slow one isn't touched by that: the
  /// ends always read, since streams have credits and memory that is pressed is made free at once. One that doesn't is
  /// stopped or stuck, its pongs are missing, and the other end gives it up after 15 s.
  private static func configure(_ socket: borrowing OwnedDescriptor) throws(SystemError) {
    Socket.limitRetransmission(socket, to: Socket.briskRetransmission)
    try socket.setNonblocking(true)
    try Socket.setNoDelay(socket)
    try Socket.setKeepalive(socket, idle: 10, interval: 3, probes: 4)
    try Socket.setUserTimeout(socket, milliseconds: 20_000)
  }

  // MARK: Events

  /// 31 bits of slot index and one for the side below 32 of generation.
  private static func token(_ id: SlotID, _ side: RelaySide) -> UInt64 {
    UInt64(id.generation) << 32 | UInt64(id.index) << 1 | UInt64(side.rawValue)
  }

  private mutating func signal(_ event: Poller.Event) {
    let low = UInt32(truncatingIfNeeded: event.token)
    let id = SlotID(index: low >> 1, generation: UInt32(truncatingIfNeeded: event.token >> 32))
    guard relays.contains(id) else { return }
    let relay = relays[id]
    let side: RelaySide = low & 1 == 0 ? .first : .second
    if event.readiness.contains(.failed),
      let error = relay.withSocket(side, Socket.pendingError)
    {
      relay.failure = relay.failure ?? Self.end(error.code, side)
    }
    // A hang-up is no reason to stop: what came before it is read first, up to the end of file.
    let readable = !event.readiness.isDisjoint(with: [.readable, .peerClosed, .hangUp])
    let writable = !event.readiness.isDisjoint(with: [.writable, .hangUp])
    if side == .first {
      if readable { relay.forward.sourceIsReady() }
      if writable { relay.backward.sinkIsReady() }
    } else {
      if readable { relay.backward.sourceIsReady() }
      if writable { relay.forward.sinkIsReady() }
    }
    enqueue(id, relay)
  }

  private mutating func enqueue(_ id: SlotID, _ relay: Relay) {
    guard !relay.isQueued else { return }
    relay.isQueued = true
    ready.append(id)
  }

  private mutating func relieve() {
    let now = Clock.now
    guard now >= nextRelief else { return }
    nextRelief = now + Self.reliefInterval
    wakeStarved()
  }

  private mutating func wakeStarved() {
    let waiting = starved
    starved.removeAll(keepingCapacity: true)
    for id in waiting where relays.contains(id) {
      relays[id].isStarved = false
      enqueue(id, relays[id])
    }
  }

  // MARK: Moving bytes

  /// Lets a relay do what can be done now, within the budget.
  private mutating func turn(_ id: SlotID, _ relay: Relay) {
    relay.isQueued = false
    if relay.failure == nil {
      let (first, second) = relay.sockets
      let left = move(id, relay, &relay.forward, &relay.forwardPipe, from: (.first, first), to: (.second, second))
      let right = move(id, relay, &relay.backward, &relay.backwardPipe, from: (.second, second), to: (.first, first))
      if left || right { enqueue(id, relay) }
    }
    let news = relay.meter.publish(relay.forward, relay.backward)
    if news.splices > 0 {
      totals.bytes.add(news.bytes, ordering: .relaxed)
      totals.splices.add(news.splices, ordering: .relaxed)
    }
    if let failure = relay.failure {
      end(id, relay, failure)
    } else if relay.forward.isDone, relay.backward.isDone {
      end(id, relay, .finished)
    }
  }

  /// True if the budget ended before the work did.
  private mutating func move(
    _ id: SlotID, _ relay: Relay, _ stored: inout RelayPump, _ storedPipe: inout Pipe?,
    from source: (side: RelaySide, fd: CInt), to sink: (side: RelaySide, fd: CInt)
  ) -> Bool {
    var pump = stored
    var pipe = storedPipe
    var left = Self.budget
    defer {
      // An idle direction holds no pipe.
      if let empty = pipe, pump.bytesInPipe == 0 {
        pipes.giveBack(empty, bytesInPipe: 0)
        pipe = nil
        if !starved.isEmpty { wakeStarved() }
      }
      stored = pump
      storedPipe = pipe
    }
    while left > 0 {
      switch pump.next {
      case .wait, .done: return false
      case .finish:
        // ENOTCONN when the sink has failed, which its own event tells.
        relay.withSocket(sink.side, Socket.finish)
        pump.finished()
      case .fill:
        guard let ready = pipe ?? (try? pipes.take()) else {
          if !relay.isStarved {
            relay.isStarved = true
            starved.append(id)
          }
          return false
        }
        pipe = ready
        let result = Self.splice(source.fd, ready.writing.rawValue, ready.capacity)
        pump.filled(result)
        if case .failed(let code) = result { relay.failure = Self.end(code, source.side) }
        left -= 1
      case .drain(let count):
        guard let full = pipe else { return false }
        let result = Self.splice(full.reading.rawValue, sink.fd, count)
        pump.drained(result)
        if case .failed(let code) = result { relay.failure = Self.end(code, sink.side) }
        left -= 1
      }
    }
    return true
  }

  private static func splice(_ source: CInt, _ sink: CInt, _ count: Int) -> SpliceResult {
    while true {
      let moved = clinux_splice(source, sink, count)
      if moved > 0 { return .moved(moved) }
      if moved == 0 { return .ended }
      switch clinux_errno() {
      case EINTR: continue
      case EAGAIN: return .wouldBlock
      case let code: return .failed(code)
      }
    }
  }

  private static func end(_ code: CInt, _ side: RelaySide) -> RelayEnd {
    switch code {
    case ECONNRESET, EPIPE: .reset(side)
    case ETIMEDOUT, EHOSTUNREACH, ENETUNREACH: .timedOut(side)
    default: .failed(SystemError(call: "splice", subject: "\(side)", code: code))
    }
  }

  /// Takes a relay down. Unless it finished, both ends see a reset, so that neither takes a cut for the end.
  private mutating func end(_ id: SlotID, _ relay: Relay, _ reason: RelayEnd) {
    for (pump, pipe) in [(relay.forward, relay.forwardPipe), (relay.backward, relay.backwardPipe)] {
      if let pipe { pipes.giveBack(pipe, bytesInPipe: pump.bytesInPipe) }
    }
    (relay.forwardPipe, relay.backwardPipe) = (nil, nil)
    if reason != .finished {
      Socket.resetOnClose(relay.first)
      Socket.resetOnClose(relay.second)
    }
    // Closing removes a descriptor from the poller only if no duplicate is left.
    try? poller.remove(relay.sockets.first)
    try? poller.remove(relay.sockets.second)
    relays.remove(id)
    slots[relay.id] = nil
    totals.active.subtract(1, ordering: .relaxed)
    completion(relay.id, reason)
  }
}
