import Access
import Control
import Crypto
import Kernel
import Logging
import Primitives
import Proxy
import Synchronization

/// A running GateManager: the front, its worker and the relay.
final class GateService: Sendable {
  /// Where it listens; the port that was given if 0 was asked for.
  let endpoint: Endpoint
  /// The GateManager's own.
  let name: String
  /// For whoever asks for more than a peer may. What it changes takes effect at once.
  let operations: Operations
  private let mailbox: Mailbox<FrontCommand>
  private let relay: SpliceRelay
  private let worker: AccessWorker
  private let thread: Kernel.Thread
  private let isStopped = Mutex(false)

  /// - Parameters:
  ///   - durations: where times are recorded, if anywhere.
  ///   - confine: gives up what isn't needed once the port is open. There is one thread then, and nothing has been read
  ///     but the keys.
  init(
    directory: GateDirectory, options: FrontOptions, durations: GateDurations? = nil, logger: Logger,
    confine: () throws -> Void = {}
  ) throws {
    let keys = try directory.loadKeys()
    name = keys.gate
    let listener = try Socket.listen(on: options.listen)
    endpoint = Socket.localEndpoint(listener) ?? options.listen
    try confine()
    let store = try directory.openStore(keys)
    let mailbox = try Mailbox<FrontCommand>()
    let announced = AnnouncedAgents()
    let (state, revision) = store.snapshot
    let handover = StateHandover(store, after: revision) { mailbox.send(.changed($0)) }
    operations = Operations(store: store, gateKey: keys.server.keyHash, issuer: keys.gate) {
      announced[$0]
    } changed: {
      handover.hand()
    }
    let relay = try SpliceRelay(threads: options.relayThreads) { mailbox.send(.relayEnded($0, $1)) }
    let worker = try AccessWorker(
      office: AccessOffice(store: store, keys: keys), handover: handover, logger: logger
    ) { mailbox.send(.access($0)) }
    self.mailbox = mailbox
    self.relay = relay
    self.worker = worker
    let front = try FrontBox(
      Front(
        options: options, keys: keys, access: state, announced: announced, listener: listener, mailbox: mailbox,
        relay: relay, worker: worker, durations: durations, logger: logger))
    thread = try Kernel.Thread(name: "front") { front.front.run() }
  }

  /// `nil` if the front doesn't answer within some seconds.
  func status() -> StatusReport? {
    guard let reply = try? Mailbox<StatusReport>(), let poller = try? Poller(),
      (try? poller.add(reply.descriptor, token: 0, for: .readable)) != nil
    else { return nil }
    mailbox.send(.status(reply))
    _ = try? poller.wait(timeout: .seconds(5))
    return reply.receive().first?.completed()
  }

  /// Ends all sessions and connections, tells the peers, and waits for the threads.
  func stop() {
    let first = isStopped.withLock { stopped in
      defer { stopped = true }
      return !stopped
    }
    guard first else { return }
    mailbox.send(.stop)
    thread.join()
    relay.stop()
    worker.stop()
  }

  deinit {
    stop()
  }
}

/// Carries the front from the thread that made it, so that a failure is that one's, to the only one that runs it.
private final class FrontBox: @unchecked Sendable {
  let front: Front

  init(_ front: Front) {
    self.front = front
  }
}
