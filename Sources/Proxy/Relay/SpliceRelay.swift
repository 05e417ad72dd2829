public import Control
public import Kernel
import Synchronization

/// Joins pairs of connected TCP sockets in the kernel: bytes pass by splice(2) and are never read here.
///
/// Each relay belongs to one thread for good. An idle relay costs two descriptors, two epoll entries and a few
/// hundred bytes, and holds no pipe.
public final class SpliceRelay: Sendable {
  private let mailboxes: [Mailbox<RelayCommand>]
  private let totals: [RelayThreadTotals]
  private let threads: [Kernel.Thread]
  private let state = Mutex(State())

  private struct State {
    var isStopped = false
    var started: UInt64 = 0
  }

  /// Relays of one thread at most; descriptors run out sooner.
  public static let relayLimit = 1 << 16

  /// - Parameters:
  ///   - threads: at least 1.
  ///   - pipeSize: bytes asked for per pipe; the kernel may give less.
  ///   - limit: relays of a thread at most; more fail with EBUSY.
  ///   - completion: called once for each relay, on a relay thread: it must not block.
  public init(
    threads count: Int = 1, pipeSize: Int = 1 << 20, limit: Int = SpliceRelay.relayLimit,
    completion: @escaping @Sendable (SessionID, RelayEnd) -> Void
  ) throws(SystemError) {
    var mailboxes: [Mailbox<RelayCommand>] = []
    var totals: [RelayThreadTotals] = []
    var threads: [Kernel.Thread] = []
    for index in 0..<max(1, count) {
      let mailbox = try Mailbox<RelayCommand>()
      let figures = RelayThreadTotals()
      let box = LoopBox(
        try RelayLoop(mailbox: mailbox, totals: figures, pipeSize: pipeSize, limit: limit, completion: completion))
      threads.append(try Kernel.Thread(name: "relay-\(index)") { box.loop.run() })
      mailboxes.append(mailbox)
      totals.append(figures)
    }
    self.mailboxes = mailboxes
    self.totals = totals
    self.threads = threads
  }

  /// Starts to relay between two connected sockets, which become the relay's own.
  ///
  /// - Returns: its live figures; `nil` when stopped, the sockets then being closed with a reset.
  @discardableResult
  public func add(
    _ session: SessionID, first: consuming OwnedDescriptor, second: consuming OwnedDescriptor
  ) -> RelayMeter? {
    let thread = state.withLock { state -> Int? in
      guard !state.isStopped else { return nil }
      state.started &+= 1
      // Relays that are on their way to a thread don't count there yet, so ties are broken in turn.
      let loads = totals.map { $0.active.load(ordering: .relaxed) }
      let start = Int(state.started % UInt64(loads.count))
      let order = (0..<loads.count).map { (start + $0) % loads.count }
      return order.min { loads[$0] < loads[$1] }
    }
    guard let thread else {
      Socket.resetOnClose(first)
      Socket.resetOnClose(second)
      return nil
    }
    let meter = RelayMeter()
    mailboxes[thread].send(.add(session, first: first.release(), second: second.release(), meter))
    return meter
  }

  /// Ends a relay with a reset of both connections; one that has ended already, or never was, is passed over.
  public func cancel(_ session: SessionID) {
    for mailbox in mailboxes { mailbox.send(.cancel(session)) }
  }

  /// Ends all relays and waits for the threads. To be called once, before the last reference is dropped.
  public func stop() {
    let first = state.withLock { state in
      defer { state.isStopped = true }
      return !state.isStopped
    }
    guard first else { return }
    for mailbox in mailboxes { mailbox.send(.stop) }
    for thread in threads { thread.join() }
  }

  public var threadCount: Int { threads.count }

  public var figures: RelayTotals {
    var sum = RelayTotals()
    for thread in totals {
      sum.bytes &+= thread.bytes.load(ordering: .relaxed)
      sum.splices &+= thread.splices.load(ordering: .relaxed)
      sum.active += thread.active.load(ordering: .relaxed)
      sum.pipes += thread.pipes.load(ordering: .relaxed)
      sum.idlePipes += thread.idlePipes.load(ordering: .relaxed)
    }
    sum.started = state.withLock { $0.started }
    return sum
  }

  /// Pipes that exist, in use and kept.
  package var pipeCount: Int { totals.reduce(0) { $0 + $1.pipes.load(ordering: .relaxed) } }
}

/// Carries a loop from the thread that made it, so that a failure is that one's, to the only one that runs it.
private final class LoopBox: @unchecked Sendable {
  var loop: RelayLoop

  init(_ loop: consuming RelayLoop) {
    self.loop = loop
  }
}
