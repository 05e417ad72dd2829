import Packet
import Primitives

/// One TCP connection between an application and the owner of the stack (RFC 9293).
///
/// ```
///              SYN arrives                      connect
///                  │                               │
///             requested ──refuse──▶ gone        synSent
///           accept │                    SYN-ACK │  │ SYN (simultaneous open)
///             synReceived ──ACK──▶ established ◀┘  ▼
///                                      │      ◀── synReceived
///               our FIN leaves         │        peer's FIN arrives
///             finWait1 ◀───────────────┴──────────────▶ closeWait
///       ACK of FIN │ │ peer's FIN                           │ our FIN leaves
///         finWait2 │ └▶ closing ──ACK of FIN──┐           lastAck
///                  └──peer's FIN──▶ TIME-WAIT ◀             │ ACK of FIN
///                                (a table of its own)       ▼ gone
/// ```
struct TCPConnection {
  enum State: Equatable {
    /// A SYN arrived and nothing was answered: the far dial is under way.
    case requested
    case synSent
    case synReceived(isPassive: Bool)
    case established
    case finWait1, finWait2, closing
    case closeWait, lastAck

    var isSynchronized: Bool {
      switch self {
      case .requested, .synSent, .synReceived: false
      default: true
      }
    }
  }

  /// What becomes of the connection after a segment or a timeout.
  enum Disposition: Equatable {
    case open
    /// Forgotten at once.
    case gone
    /// Both FINs are done and ours was first: remembered in the TIME-WAIT table.
    case timeWait
  }

  let id: FlowID
  /// As in the packets that arrive: `source` is the application, `destination` the stack.
  let tuple: FiveTuple
  var state: State
  var sender: TCPSender
  var receiver: TCPReceiver
  /// When the handshake must be over; `nil` once it is.
  var openDeadline: Instant?
  /// The packet with the SYN, for an ICMP error to quote; with a reference.
  var request: Slice?

  // What the next segments out must carry.
  var needsSynchronize = false
  var needsAcknowledgement = false
  /// Acknowledgements that a peer without selective ones must count (RFC 5681 section 3.2), beyond the one above.
  var owedDuplicates = 0
  var needsProbe = false
  /// Whether the connection stands in the stack's queue of those with something to send.
  var isQueued = false

  /// Whether the peer's SYN offered window scaling.
  var peerScalesWindow = false

  // Timestamps (RFC 7323). The clock ticks in milliseconds behind an offset.
  var hasTimestamps = false
  let timestampOffset: UInt32
  var recentTimestamp: UInt32 = 0
  var lastAcknowledged = SequenceNumber(0)

  // Keepalive.
  var lastHeard: Instant
  private var lastProbe: Instant
  var unansweredProbes = 0

  /// How the stack's MTU bounds segments: the MSS that we announce.
  let announcedSegment: UInt16

  /// A connection for a SYN that arrived.
  init(
    id: FlowID, tuple: FiveTuple, synchronize header: TCPHeader, request: Slice?, initial: SequenceNumber,
    timestampOffset: UInt32, configuration: StackConfiguration, now: Instant
  ) {
    self.init(
      id: id, tuple: tuple, state: .requested, initial: initial, next: SequenceNumber(header.sequence) + 1,
      timestampOffset: timestampOffset, configuration: configuration, now: now)
    self.request = request
    adopt(header, configuration: configuration)
  }

  /// A connection to open.
  init(
    connecting id: FlowID, tuple: FiveTuple, initial: SequenceNumber, timestampOffset: UInt32,
    configuration: StackConfiguration, now: Instant
  ) {
    self.init(
      id: id, tuple: tuple, state: .synSent, initial: initial, next: SequenceNumber(0),
      timestampOffset: timestampOffset, configuration: configuration, now: now)
    needsSynchronize = true
  }

  private init(
    id: FlowID, tuple: FiveTuple, state: State, initial: SequenceNumber, next: SequenceNumber,
    timestampOffset: UInt32, configuration: StackConfiguration, now: Instant
  ) {
    self.id = id
    self.tuple = tuple
    self.state = state
    sender = TCPSender(initial: initial, congestion: configuration.congestion)
    receiver = TCPReceiver(
      next: next, credit: min(configuration.initialReceiveCredit, configuration.maximumReceiveWindow))
    self.timestampOffset = timestampOffset
    openDeadline = now + configuration.openTimeout
    lastHeard = now
    lastProbe = now
    announcedSegment = configuration.announcedSegment(tuple.source.address.family)
  }

  /// Takes the terms that the peer's SYN offers.
  mutating func adopt(_ header: TCPHeader, configuration: StackConfiguration) {
    let options = header.options
    // RFC 9293 section 3.7.1: 536 or 1220 unless announced. A tiny MSS would multiply packets: 88 is what Linux allows.
    let assumed: UInt16 = tuple.source.address.family == .v4 ? 536 : 1220
    var segment = Int(min(max(options.maximumSegmentSize ?? assumed, 88), announcedSegment))
    hasTimestamps = configuration.timestamps && options.timestamps != nil
    if let timestamps = options.timestamps, hasTimestamps {
      recentTimestamp = timestamps.value
      segment -= 12
    }
    sender.maximumSegment = segment
    sender.hasSack = configuration.selectiveAcknowledgements && options.sackPermitted
    peerScalesWindow = options.windowScale != nil
    if let shift = options.windowScale {
      // RFC 7323 section 2.3: a shift beyond 14 counts as 14.
      sender.windowShift = min(Int(shift), 14)
      receiver.windowShift = configuration.windowShift
    } else {
      sender.windowShift = 0
      receiver.windowShift = 0
    }
    sender.setWindow(
      Int(header.window), sequence: SequenceNumber(header.sequence), acknowledgement: sender.una)
  }

  /// The start of the stream as the peer's SYN gives it, in an active open.
  mutating func synchronizeReceiver(_ header: TCPHeader, configuration: StackConfiguration) {
    receiver = TCPReceiver(next: SequenceNumber(header.sequence) + 1, credit: receiver.credit)
    adopt(header, configuration: configuration)
  }

  // MARK: Verbs

  /// Answers the SYN.
  mutating func accept(_ configuration: StackConfiguration, pool: inout SlabPool, now: Instant) {
    guard state == .requested else { return }
    openDeadline = now + configuration.openTimeout
    state = .synReceived(isPassive: true)
    needsSynchronize = true
    dropRequest(pool: &pool)
  }

  mutating func dropRequest(pool: inout SlabPool) {
    if let request { pool.release(request) }
    request = nil
  }

  /// Whether more payload may be handed over.
  var canSend: Bool { !sender.isFinishing }

  mutating func send(_ slice: Slice, pool: inout SlabPool, now: Instant) {
    // What waits for a slow reader must not hold on to a whole slab.
    let isBlocked = sender.window - sender.flightSize < slice.count
    sender.queue.append(isBlocked ? pool.compact(slice) : slice, pool: &pool)
    if state.isSynchronized { sender.armPersist(now: now) }
  }

  mutating func finish(now: Instant) {
    sender.finish()
    if state.isSynchronized { sender.armPersist(now: now) }
  }

  mutating func setReceiveCredit(_ bytes: Int, configuration: StackConfiguration) {
    let opens = receiver.setCredit(
      bytes, maximumWindow: configuration.maximumReceiveWindow, maximumSegment: sender.maximumSegment)
    if opens, state.isSynchronized { needsAcknowledgement = true }
  }

  mutating func releaseAll(pool: inout SlabPool) {
    sender.queue.removeAll(pool: &pool)
    receiver.queue.removeAll(pool: &pool)
    dropRequest(pool: &pool)
  }

  // MARK: Time

  func deadline(_ configuration: StackConfiguration) -> Instant? {
    let nearest = Instant.earliest(openDeadline, sender.nextDeadline)
    return Instant.earliest(nearest, keepAliveDeadline(configuration))
  }

  /// When an idle peer is asked whether it is still there. Probes that go unanswered follow each other eight times as
  /// fast as the first comes: each has its time, also after this host stood still for longer than all of them.
  private func keepAliveDeadline(_ configuration: StackConfiguration) -> Instant? {
    guard state.isSynchronized, sender.retransmitDeadline == nil else { return nil }
    let wish = receiver.isFinished ? configuration.halfClosedKeepAlive : configuration.keepAlive
    guard let interval = wish else { return nil }
    return unansweredProbes == 0 ? lastHeard + interval : lastProbe + interval / 8
  }

  mutating func handleTimeout(context: inout StackContext, now: Instant) -> Disposition {
    let configuration = context.configuration
    if let openDeadline, openDeadline <= now { return giveUp(context: &context) }
    if sender.hasTimedOut(configuration.userTimeout, now: now),
      sender.retransmitDeadline ?? sender.probeDeadline ?? now <= now
    {
      return giveUp(context: &context)
    }
    if sender.retransmitExpired(now: now) {
      context.counters.retransmissionTimeouts &+= 1
      if sender.una == sender.initial { needsSynchronize = true }
    }
    if sender.tailProbeExpired(now: now) { context.counters.tailLossProbes &+= 1 }
    sender.reorderingExpired(now: now)
    if sender.persistExpired(now: now) { needsProbe = true }
    if let deadline = keepAliveDeadline(configuration), deadline <= now {
      if unansweredProbes >= configuration.keepAliveProbes { return giveUp(context: &context) }
      unansweredProbes += 1
      lastProbe = now
      needsProbe = true
    }
    return .open
  }

  private mutating func giveUp(context: inout StackContext) -> Disposition {
    if state.isSynchronized { context.sendReset(for: self) }
    context.events.append(.reset(id, .timedOut))
    return .gone
  }
}

extension StackConfiguration {
  /// The MSS that the MTU allows, to be announced: IP and TCP headers taken off, options not (RFC 9293 section 3.7.1).
  func announcedSegment(_ family: IPAddress.Family) -> UInt16 {
    let headers = family == .v4 ? 40 : 60
    return UInt16(clamping: max(mtu - headers, 88))
  }

  /// The shift with which `maximumReceiveWindow` fits a header.
  var windowShift: Int {
    var shift = 0
    while shift < 14, maximumReceiveWindow >> shift > 65_535 { shift += 1 }
    return shift
  }
}
