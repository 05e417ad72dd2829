import Control
import Crypto
import Kernel
import Primitives
import Synchronization

/// What a control connection tells its owner, in the order in which it happened.
public enum ControlClientEvent: Sendable {
  /// The GateManager knows us; messages can be sent from now on.
  case connected(ControlMessage.Welcome)
  /// The connection ended or didn't come about; the next attempt follows after the interval.
  case disconnected(GateError, retryIn: Interval)
  case message(ControlEnvelope)
}

/// Why a message couldn't be sent.
public enum ControlSendError: Error, Hashable, Sendable, CustomStringConvertible {
  case notConnected
  /// The connection takes messages more slowly than they come.
  case queueFull
  case malformed(ControlError)

  public var description: String {
    switch self {
    case .notConnected: "not connected to the GateManager"
    case .queueFull: "too many messages wait for the GateManager"
    case .malformed(let error): error.description
    }
  }
}

/// The control connection to a GateManager, kept up by a thread of its own until `stop`.
///
/// Pings and pongs stay inside. A connection that is lost, or silent for two and a half heartbeats, is made
/// anew with growing, jittered waits in between. Messages never outlive the connection that they were meant for.
public final class ControlClient: Sendable {
  private let shared: ControlOutbox
  private let thread: Thread

  /// Starts at once.
  ///
  /// - Parameters:
  ///   - credentials: the identity that the GateManager knows.
  ///   - handler: called on the client's thread: it must not block, nor call `stop`.
  public init(
    to server: GateServer, credentials: TLSContext.Credentials, hello: ControlMessage.Hello,
    timing: ControlTiming = ControlTiming(), handler: @escaping @Sendable (ControlClientEvent) -> Void
  ) throws(GateError) {
    let context = try GateServer.context(alpn: ControlProtocol.alpn, credentials: credentials)
    do throws(SystemError) {
      let shared = try ControlOutbox()
      self.shared = shared
      thread = try Thread(name: "control") {
        var loop = ControlLoop(
          server: server, context: context, hello: hello, timing: timing, shared: shared, handler: handler)
        loop.run()
      }
    } catch {
      throw .system(error)
    }
  }

  deinit {
    shared.cancellation.cancel()
  }

  /// Queues a message for the present connection. From any thread.
  ///
  /// - Parameter request: the number that the answer is to carry, or that of the request that this answers.
  public func send(_ message: ControlMessage, request: UInt64? = nil) throws(ControlSendError) {
    try shared.append(ControlEnvelope(message, request: request))
  }

  /// Tells GateManager that this end has left a session, or won't come to it. From any thread.
  ///
  /// What ended the session may have taken this connection with it: the next one says it again, so that neither the
  /// other end nor a device waits for what has gone.
  public func leave(_ session: SessionID, reason: String) {
    shared.leave(ControlMessage.Ending(id: session, reason: reason), now: Clock.now)
  }

  /// There is reason to doubt the connection, or to hope for one: the host's network has changed, or a session fell
  /// silent. Finds out within seconds whether the connection is alive; without one, the next attempt follows at once.
  /// From any thread.
  public func probe() {
    shared.requestProbe()
  }

  /// Ends the connection and waits for the thread; no event comes afterwards. Not from the handler.
  public func stop() {
    shared.cancellation.cancel()
    thread.join()
  }
}

/// Times of a control connection.
public struct ControlTiming: Sendable {
  /// For dial, TLS and welcome together.
  public var connect = Interval.seconds(20)
  /// A connection that lasted so long was a good one: waits start over.
  public var stable = Interval.seconds(60)
  public var backoff = Backoff()
  /// The GateManager's wish for the heartbeat is kept within these.
  public var heartbeat = Interval.seconds(1)...Interval.seconds(120)

  public init() {}
}

/// Messages on their way to the client's thread, and the signals for it.
final class ControlOutbox: Sendable {
  static let byteLimit = 1 << 20
  static let messageLimit = 1024
  /// Sessions left lately: fewer than the messages that GateManager takes at once.
  static let departureLimit = 64
  /// GateManager has given up a connection that was lost by then, and its sessions with it.
  static let departureTime = Interval.seconds(120)

  private struct Queue {
    var isOpen = false
    var count = 0
    var bytes: [UInt8] = []
  }

  private struct Departure {
    let ending: ControlMessage.Ending
    let time: Instant
  }

  let cancellation: Cancellation
  let wakeup: Wakeup
  private let departures = Mutex<[Departure]>([])
  private let probeIsWanted = Atomic(false)
  private let queue = Mutex(Queue())

  init() throws(SystemError) {
    cancellation = try Cancellation()
    wakeup = try Wakeup()
  }

  func append(_ envelope: ControlEnvelope) throws(ControlSendError) {
    let bytes: [UInt8]
    do throws(ControlError) {
      bytes = try envelope.encoded()
    } catch {
      throw .malformed(error)
    }
    try queue.withLock { queue throws(ControlSendError) in
      guard queue.isOpen else { throw .notConnected }
      guard queue.count < Self.messageLimit, queue.bytes.count <= Self.byteLimit - bytes.count else {
        throw .queueFull
      }
      queue.count += 1
      queue.bytes += bytes
    }
    wakeup.signal()
  }

  /// Opens the queue for a new connection, or shuts it; what waited is dropped.
  func setOpen(_ isOpen: Bool) {
    queue.withLock { $0 = Queue(isOpen: isOpen) }
  }

  func leave(_ ending: ControlMessage.Ending, now: Instant) {
    departures.withLock { departures in
      departures.removeAll { now - $0.time >= Self.departureTime }
      if departures.count == Self.departureLimit { departures.removeFirst() }
      departures.append(Departure(ending: ending, time: now))
    }
    try? append(ControlEnvelope(.cancel(ending)))
  }

  /// Says again what may have been lost with the connection before. GateManager passes over what it knows.
  func repeatDepartures(now: Instant) {
    let recent = departures.withLock { $0.filter { now - $0.time < Self.departureTime } }
    for departure in recent { try? append(ControlEnvelope(.cancel(departure.ending))) }
  }

  func requestProbe() {
    probeIsWanted.store(true, ordering: .releasing)
    wakeup.signal()
  }

  /// Whether a probe was asked for since the last call.
  func takeProbe() -> Bool { probeIsWanted.exchange(false, ordering: .acquiring) }

  /// All that waits.
  func take() -> [UInt8] {
    queue.withLock { queue in
      defer { queue = Queue(isOpen: queue.isOpen) }
      return queue.bytes
    }
  }
}
