import Packet
import Primitives

/// What all parts of a stack share: its configuration, and what they leave for the owner and for the wire.
struct StackContext {
  var configuration: StackConfiguration
  var events = RingQueue<StackEvent>(minimumCapacity: 256)
  var outgoing = RingQueue<Outgoing>(minimumCapacity: 64)
  var counters = StackCounters()
  var errorLimiter: RateLimiter
  var challengeLimiter: RateLimiter
  let initialSequence: InitialSequence

  init(configuration: StackConfiguration, secret: (UInt64, UInt64)) {
    self.configuration = configuration
    errorLimiter = RateLimiter(perSecond: configuration.limits.errorsPerSecond)
    challengeLimiter = RateLimiter(perSecond: configuration.limits.challengesPerSecond)
    initialSequence = InitialSequence(secret: secret)
  }

  /// Queues a packet that belongs to no connection.
  ///
  /// - Returns: whether there was room; if not, the packet's references stay with the caller.
  mutating func queue(_ packet: Outgoing) -> Bool {
    guard outgoing.count < configuration.limits.outgoing else {
      counters.drop(.outgoingLimit)
      return false
    }
    outgoing.append(packet)
    return true
  }

  // MARK: Segments without a connection

  /// The RST that a segment earns which fits no connection (RFC 9293 section 3.10.7.1).
  mutating func sendReset(answering header: TCPHeader, payloadCount: Int, tuple: FiveTuple) {
    guard !header.flags.contains(.rst) else { return }
    if header.flags.contains(.ack) {
      queueReset(StatelessSegment(tuple: tuple, sequence: SequenceNumber(header.acknowledgement), flags: .rst))
    } else {
      let length = payloadCount + (header.flags.contains(.syn) ? 1 : 0) + (header.flags.contains(.fin) ? 1 : 0)
      queueReset(
        StatelessSegment(
          tuple: tuple, sequence: SequenceNumber(0), acknowledgement: SequenceNumber(header.sequence) + length,
          flags: [.rst, .ack]))
    }
  }

  /// The RST that ends a connection from our side.
  mutating func sendReset(for connection: borrowing TCPConnection) {
    let hasSynchronized = connection.state != .synSent
    guard hasSynchronized || connection.sender.nxt != connection.sender.initial else { return }
    // In `requested` nothing was sent: the answer to a SYN is RST with sequence number 0.
    let sequence = connection.state == .requested ? SequenceNumber(0) : connection.sender.nxt
    queueReset(
      StatelessSegment(
        tuple: connection.tuple, sequence: sequence,
        acknowledgement: hasSynchronized ? connection.receiver.next : SequenceNumber(0),
        flags: hasSynchronized ? [.rst, .ack] : .rst))
  }

  mutating func sendAcknowledgement(_ entry: TimeWaitTable.Entry, tuple: FiveTuple, now: Instant) {
    guard challengeLimiter.allow(now: now) else {
      counters.drop(.rateLimit)
      return
    }
    var segment = StatelessSegment(
      tuple: tuple, sequence: entry.sequence, acknowledgement: entry.next, flags: .ack)
    if let timestamps = entry.timestamps {
      segment.timestamps = (
        UInt32(truncatingIfNeeded: now.milliseconds) &+ timestamps.offset, timestamps.recent
      )
    }
    _ = queue(.segment(segment))
  }

  private mutating func queueReset(_ segment: StatelessSegment) {
    if queue(.segment(segment)) { counters.resetsOut &+= 1 }
  }
}

/// A packet that waits to be sent and belongs to no connection.
enum Outgoing {
  case segment(StatelessSegment)
  case datagram(OutgoingDatagram)
  case echoUnreachable(Echo, Unreachable)
}

/// A segment that carries no payload and needs no state: RST, or an ACK in TIME-WAIT.
struct StatelessSegment {
  /// As in the packets that arrive: the segment goes to `source`.
  var tuple: FiveTuple
  var sequence: SequenceNumber
  var acknowledgement = SequenceNumber(0)
  var flags: TCPFlags
  var timestamps: (value: UInt32, echo: UInt32)?
}

/// A message with an 8-byte header: UDP, an echo reply, or an ICMP error. Owns a reference of its payload.
struct OutgoingDatagram {
  enum Kind: Equatable {
    case udp(source: UInt16, destination: UInt16)
    case echoReply(identifier: UInt16, sequence: UInt16)
    case unreachable(Unreachable)
  }

  var source: IPAddress
  var destination: IPAddress
  var kind: Kind
  var payload: Slice

  /// The largest payload of UDP over IPv4.
  static let largestPayload = 65_535 - 8 - 20

  /// Bytes of the packet, if it isn't fragmented.
  var packetSize: Int {
    (source.family == .v4 ? IPv4Header.minimumSize : IPv6Header.size) + 8 + payload.count
  }

  /// Whether it is a datagram of the same flow that can be part of a super-datagram that begins with `first`.
  func follows(_ first: OutgoingDatagram) -> Bool {
    guard case .udp = kind, kind == first.kind, !payload.isEmpty, payload.count <= first.payload.count else {
      return false
    }
    return source == first.source && destination == first.destination
  }
}
