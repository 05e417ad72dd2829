import Access
import Control
import Crypto
import Kernel
import Logging
import Primitives
import Proxy
import Service

/// What other threads tell the front.
enum FrontCommand: Sendable {
  case access(AccessWorker.Event)
  /// By `StateHandover` alone.
  case changed(AccessState)
  case relayEnded(SessionID, RelayEnd)
  case status(Mailbox<StatusReport>)
  case stop
}

/// How the service is run.
struct FrontOptions: Sendable {
  var listen: Endpoint
  /// Hours that a grant holds.
  var grantHours = 8
  /// Each session stays on one of them.
  var relayThreads = 1
  var connections = GateLimits.connections
  var handshakeTime = GateLimits.handshakeTime
}

/// The one thread that owns the open port and all TLS connections behind it. Nothing on it blocks.
///
/// In files of their own: moving bytes (`FrontTransport`), control messages (`FrontControl`), sessions and data
/// connections (`FrontSessions`).
final class Front {
  static let listenerToken = UInt64.max
  static let mailboxToken = UInt64.max - 1
  /// How often deadlines are looked at: they are all of seconds.
  static let tick = Interval.milliseconds(500)

  let options: FrontOptions
  let keys: GateDirectory.Keys
  let context: TLSContext
  let relay: SpliceRelay
  let worker: AccessWorker
  let mailbox: Mailbox<FrontCommand>
  let logger: Logger
  let started = Clock.unixSeconds
  let poller: Poller
  let listener: OwnedDescriptor

  var connections: SlotMap<Connection>
  /// Connections that are nobody yet, by where they come from. Counted anew each tick.
  var strangers = StrangerCount()
  /// Who may reach what. Decisions are made by it, and `membership` follows from it.
  var access: AccessState
  var membership: Membership
  let announced: AnnouncedAgents
  var registry = Registry()
  var sessions = SessionTable()
  var tickets = TicketStore()
  var throttle = LoginThrottle()
  /// Connections whose request is with the worker, and what a failure is held against.
  var pending: [SlotID: [String]] = [:]
  var refusals: [Refusal: UInt64] = [:]
  var strangerLines = RefusalLines()
  var peerLines = RefusalLines()
  var totals = FrontTotals()
  /// Why and for how long sites were away, by name; of enrolled ones only.
  var siteOutages: [String: OutageLog] = [:]
  /// What sites' operators have switched off, by site and agent, with what they said; of enrolled ones only.
  var vetoes: [String: [String: String]] = [:]
  /// What the worker found wrong with the store.
  var storeProblems: [String] = []
  let durations: GateDurations?
  /// Read once a turn of the loop.
  var now = Clock.now
  private var nextTick = Clock.now
  /// The most since memory was last given back.
  private var mostConnections = 0
  /// Out of descriptors: don't accept until the next tick.
  private var isListening = true
  /// A new connection's descriptor has to be below it. Read once a tick, since the limit may be changed from outside.
  private var descriptorCeiling = 0
  /// Nobody new could be served lately; logged once, and once when it is over.
  private var isExhausted = false

  init(
    options: FrontOptions, keys: GateDirectory.Keys, access: AccessState, announced: AnnouncedAgents,
    listener: consuming OwnedDescriptor,
    mailbox: Mailbox<FrontCommand>, relay: SpliceRelay, worker: AccessWorker, durations: GateDurations?, logger: Logger
  ) throws {
    self.options = options
    connections = SlotMap(limit: options.connections)
    self.keys = keys
    self.access = access
    self.announced = announced
    membership = Membership(access, now: Clock.unixSeconds)
    self.mailbox = mailbox
    self.relay = relay
    self.worker = worker
    self.durations = durations
    self.logger = logger
    context = try TLSContext(
      .server, credentials: keys.server.credentials, peer: .requested,
      alpn: [ControlProtocol.alpn, ControlProtocol.dataALPN])
    poller = try Poller()
    self.listener = consume listener
    try poller.add(self.listener.rawValue, token: Self.listenerToken, for: .readable)
    try poller.add(mailbox.descriptor, token: Self.mailboxToken, for: .readable)
  }

  /// Runs until told to stop.
  func run() {
    readDescriptorLimit()
    while true {
      let count = (try? poller.wait(timeout: max(.zero, nextTick - Clock.now))) ?? 0
      now = Clock.now
      for index in 0..<count {
        let event = poller.event(index)
        switch event.token {
        case Self.listenerToken: accept()
        case Self.mailboxToken:
          guard obey() else { return stop() }
        default:
          let id = SlotID(token: event.token)
          if connections.contains(id) { serve(id) }
        }
      }
      if now >= nextTick {
        nextTick = now + Self.tick
        handleTimeouts()
      }
    }
  }

  // MARK: The port

  private func accept() {
    // A bound, so that a flood of connections doesn't starve those that are there.
    for _ in 0..<64 {
      let socket: OwnedDescriptor
      do throws(SystemError) {
        guard let accepted = try Socket.accept(from: listener) else { return }
        socket = accepted
      } catch {
        // Out of descriptors or memory. Level-triggered, the poller would report it again at once.
        exhausted("\(error)")
        listen(false)
        return
      }
      totals.connectionsAccepted &+= 1
      // The kernel gives the lowest number that is free: all below are in use.
      guard socket.rawValue < descriptorCeiling else {
        exhausted("new connections have \(descriptorCeiling) descriptors (RLIMIT_NOFILE)")
        continue
      }
      if isExhausted {
        isExhausted = false
        logger.notice("new connections are served again")
      }
      let peer = Socket.peerEndpoint(socket)
      guard !connections.isFull, strangers.admit(peer?.address) else {
        count(.tooManyConnections)
        continue
      }
      open(socket, peer)
    }
  }

  private func open(_ socket: consuming OwnedDescriptor, _ peer: Endpoint?) {
    do {
      try Socket.setNoDelay(socket)
      try Socket.setKeepalive(socket, idle: 20, interval: 5, probes: 4)
      try Socket.setUserTimeout(socket, milliseconds: 30_000)
      Socket.limitRetransmission(socket, to: Socket.briskRetransmission)
      let connection = try Connection(
        socket, peer: peer, context: context, handshakeTime: options.handshakeTime, now: now)
      guard let id = connections.insert(connection) else { return strangers.remove(peer?.address) }
      do {
        try poller.add(connection.rawSocket, token: id.token, for: .readable)
      } catch {
        connections.remove(id)
        throw error
      }
    } catch {
      strangers.remove(peer?.address)
      logger.error(
        "a connection can't be served", metadata: ["address": "\(peer.map { "\($0)" } ?? "?")", "error": "\(error)"])
    }
  }

  private func exhausted(_ reason: String) {
    count(.outOfDescriptors)
    guard !isExhausted else { return }
    isExhausted = true
    logger.error("no new connection can be served; sessions go on", metadata: ["error": "\(reason)"])
  }

  private func readDescriptorLimit() {
    let limit = DescriptorLimit.current
    descriptorCeiling = limit - GateLimits.reservedDescriptors(of: limit)
  }

  private func listen(_ on: Bool) {
    guard on != isListening else { return }
    isListening = on
    try? poller.modify(listener.rawValue, token: Self.listenerToken, for: on ? .readable : [])
  }

  // MARK: Commands and time

  /// False when told to stop.
  private func obey() -> Bool {
    for command in mailbox.receive() {
      switch command {
      case .access(let event): take(event)
      case .changed(let state): replace(state)
      case .relayEnded(let session, let end): relayEnded(session, end)
      case .status(let reply): reply.send(report())
      case .stop: return false
      }
    }
    return true
  }

  private func handleTimeouts() {
    listen(true)
    readDescriptorLimit()
    tickets.sweep(now: now)
    sessions.sampleRates(now: now)
    endOverdueSessions()
    for id in connections.ids where connections.contains(id) {
      let connection = connections[id]
      if let deadline = connection.nextDeadline, now >= deadline { timeout(id, connection) }
      if connections.contains(id) { leaveStrangers(connection) }
    }
    giveMemoryBack()
    tellWhatWasOmitted()
  }

  /// A fleet that has left takes its memory with it: some 30 KiB a connection, which the C library would keep.
  private func giveMemoryBack() {
    mostConnections = max(mostConnections, connections.count)
    guard mostConnections >= 64, connections.count <= mostConnections / 2 else { return }
    mostConnections = connections.count
    _ = connections.trim()
    Heap.trim()
  }

  private func stop() {
    for id in sessions.ids(where: { _ in true }) { endSession(id, .stopping) }
    for id in connections.ids { close(id, .stopping) }
  }

  /// Tells the audit, which is written by another thread.
  func audit(_ event: AuditEvent) { worker.send(.audit(event, time: Clock.unixMicroseconds)) }

  func count(_ reason: Refusal) {
    refusals[reason, default: 0] &+= 1
  }
}
