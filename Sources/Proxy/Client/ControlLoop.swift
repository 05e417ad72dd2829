import Control
import Crypto
import Kernel
import Primitives

/// The thread behind a `ControlClient`: connects, serves, waits, and again.
struct ControlLoop: ~Copyable {
  private let server: GateServer
  private let context: TLSContext
  private let hello: ControlMessage.Hello
  private let timing: ControlTiming
  private let shared: ControlOutbox
  private let handler: @Sendable (ControlClientEvent) -> Void
  private var backoff: Backoff
  private var random = SystemRandomNumberGenerator()

  /// Reads of 4 KiB in a row, before what waits is sent and pings are thought of.
  private static let readBudget = 64
  /// The longest wait that a GateManager can ask for, in seconds.
  private static let longestRetry = 3600

  init(
    server: GateServer, context: TLSContext, hello: ControlMessage.Hello, timing: ControlTiming,
    shared: ControlOutbox, handler: @escaping @Sendable (ControlClientEvent) -> Void
  ) {
    self.server = server
    self.context = context
    self.hello = hello
    self.timing = timing
    self.shared = shared
    self.handler = handler
    backoff = timing.backoff
  }

  mutating func run() {
    while !shared.cancellation.isCancelled {
      var connected: Instant?
      let failure: GateError
      do throws(GateError) {
        try connectAndServe(&connected)
        continue
      } catch {
        failure = error
      }
      shared.setOpen(false)
      guard failure != .cancelled, !shared.cancellation.isCancelled else { return }
      if let connected, Clock.now - connected >= timing.stable { backoff.reset() }
      let wait = retryInterval(after: failure)
      handler(.disconnected(failure, retryIn: wait))
      switch sleep(wait) {
      case .over: break
      case .networkChanged: backoff.reset()
      case .cancelled: return
      }
    }
  }

  private enum Waking { case over, networkChanged, cancelled }

  private mutating func retryInterval(after failure: GateError) -> Interval {
    let wait = backoff.next(using: &random)
    guard case .refused(let refusal) = failure, let seconds = refusal.retryAfter, seconds > 0 else { return wait }
    return max(wait, .seconds(Int64(min(seconds, Self.longestRetry))))
  }

  private func sleep(_ interval: Interval) -> Waking {
    let deadline = Clock.now + interval
    while true {
      do throws(WaitError) {
        try shared.wakeup.descriptor.wait(for: .readable, until: deadline, cancel: shared.cancellation)
        shared.wakeup.clear()
      } catch {
        return error == .timedOut ? .over : .cancelled
      }
      // A session that was lost is no reason: all sites of a GateManager that ended would come back at once.
      if shared.takeWish() == .networkChanged { return .networkChanged }
    }
  }

  /// Ends by an error only, the orderly end included.
  private func connectAndServe(_ connected: inout Instant?) throws(GateError) {
    let deadline = Clock.now + timing.connect
    let cancel = shared.cancellation
    var stream = try server.open(context, alpn: ControlProtocol.alpn, until: deadline, cancel: cancel)
    var reader = MessageReader()
    let welcome = try reader.greet(over: &stream, as: hello, until: deadline, cancel: cancel)
    shared.setOpen(true)
    // What was asked for before is answered by the connection's being there.
    _ = shared.takeWish()
    let now = Clock.now
    shared.repeatDepartures(now: now)
    connected = now
    handler(.connected(welcome))
    let wish = Interval.seconds(Int64(clamping: welcome.heartbeatSeconds))
    let heartbeat = min(max(wish, timing.heartbeat.lowerBound), timing.heartbeat.upperBound)
    // Two pings without an answer, and half a heartbeat of patience.
    let liveness = Liveness(pingInterval: heartbeat, deadInterval: heartbeat * 5 / 2, now: now)
    try serve(&stream, &reader, liveness)
  }

  private func serve(
    _ stream: inout TLSStream, _ reader: inout MessageReader, _ start: Liveness
  ) throws(GateError) {
    let poller = try makePoller(for: stream.socket)
    var liveness = start
    var output: [UInt8] = []
    var awaitsRoom = false
    while true {
      // Who never stops talking doesn't keep this end from answering.
      var budget = Self.readBudget
      while budget > 0, !shared.cancellation.isCancelled, try reader.fill(from: &stream) {
        budget -= 1
        liveness.received(now: Clock.now)
        while let envelope = try reader.next() { try receive(envelope, &liveness, &output) }
      }
      let now = Clock.now
      // Cleared first: what is asked for from here on wakes the next wait.
      shared.wakeup.clear()
      if shared.takeWish() != nil {
        liveness.probe(now: now)
        output += try ControlEnvelope(.ping(liveness.ping(now: now))).bytes()
      }
      switch liveness.check(now: now) {
      case .wait: break
      case .ping: output += try ControlEnvelope(.ping(liveness.ping(now: now))).bytes()
      case .dead(let interval): throw .silent(interval)
      }
      try flush(&output, to: &stream)
      do throws(SystemError) {
        if awaitsRoom == output.isEmpty {
          awaitsRoom.toggle()
          let readiness: Readiness = awaitsRoom ? [.readable, .writable] : .readable
          try poller.modify(stream.socket.rawValue, token: 0, for: readiness)
        }
        _ = try poller.wait(timeout: budget == 0 ? .zero : liveness.nextDeadline - Clock.now)
      } catch {
        throw .system(error)
      }
      if shared.cancellation.isCancelled {
        stream.close()
        throw .cancelled
      }
    }
  }

  /// Watches the socket, the outbox and the wish to stop; who woke us is found by asking each.
  private func makePoller(for socket: borrowing OwnedDescriptor) throws(GateError) -> Poller {
    do throws(SystemError) {
      let poller = try Poller()
      try poller.add(socket.rawValue, token: 0, for: .readable)
      try poller.add(shared.wakeup.descriptor.rawValue, token: 1, for: .readable)
      try poller.add(shared.cancellation.descriptor, token: 2, for: .readable)
      return poller
    } catch {
      throw .system(error)
    }
  }

  private func receive(
    _ envelope: ControlEnvelope, _ liveness: inout Liveness, _ output: inout [UInt8]
  ) throws(GateError) {
    switch envelope.message {
    case .ping(let id):
      // A peer that asks and never reads the answers isn't worth memory.
      guard output.count < ControlOutbox.byteLimit else { throw .unexpected("ping") }
      output += try ControlEnvelope(.pong(id)).bytes()
    case .pong(let id): _ = liveness.pong(id, now: Clock.now)
    case .unknown: break
    default: handler(.message(envelope))
    }
  }

  /// Writes what waits. The outbox is emptied only when all that was taken before has left, so that its bound holds.
  private func flush(_ output: inout [UInt8], to stream: inout TLSStream) throws(GateError) {
    while true {
      if output.isEmpty { output = shared.take() }
      guard !output.isEmpty else { return }
      var start = 0
      loop: while start < output.count {
        switch try stream.writeSome(output.span.extracting(start..<output.count)) {
        case .bytes(let count): start += count
        case .wantsRead, .wantsWrite: break loop
        }
      }
      output.removeFirst(start)
      guard output.isEmpty else { return }
    }
  }
}
