import Packet
import Primitives

/// Names a TCP connection or a UDP flow of a stack. Stays invalid for good once the flow has ended.
public struct FlowID: Hashable, Sendable, BitwiseCopyable {
  public let slot: SlotID
  public let isDatagram: Bool

  @inlinable init(slot: SlotID, isDatagram: Bool) {
    self.slot = slot
    self.isDatagram = isDatagram
  }
}

/// What happened, for the owner of the stack to act on.
///
/// A slice in an event carries one reference, which whoever takes the event takes over.
/// A TCP flow ends with exactly one of `reset` and `closed`, unless the owner ended it with `refuse` or `abort`.
public enum StackEvent: Equatable, Sendable {
  /// An application wants to connect: `source` is the application, `destination` what it wants. To be answered with
  /// `accept` or `refuse`; nothing is sent before.
  case openRequested(FlowID, FiveTuple)
  /// The handshake is complete.
  case established(FlowID)
  /// The next bytes of the stream.
  case received(FlowID, Slice)
  /// The application sends no more; it may still receive (half-close).
  case finished(FlowID)
  /// Bytes handed to `send` that the application's side has received.
  case acknowledged(FlowID, bytes: Int)
  /// The connection broke.
  case reset(FlowID, ResetCause)
  /// Both directions ended in order.
  case closed(FlowID)
  /// The first datagram of an unknown flow: to be answered with `acceptDatagrams` or `refuse`.
  case datagramFlowRequested(FlowID, FiveTuple)
  /// The payload of a datagram; with segmentation offload one event per datagram of the super-segment.
  case datagram(FlowID, Slice)
  /// The application's side answered a datagram with an ICMP error: no one listens any more. The flow stays.
  case datagramRejected(FlowID)
  /// The UDP flow was silent for too long and is forgotten.
  case datagramFlowExpired(FlowID)
  /// An application pings: to be answered with `sendEchoReply` or `sendUnreachable`, or not at all.
  case echoRequested(Echo, Slice)
}

/// Why a connection broke.
public enum ResetCause: Hashable, Sendable {
  /// A valid RST arrived.
  case byApplication
  /// An active open was answered with RST.
  case refused
  /// Nothing was acknowledged, or the handshake not ended, in time.
  case timedOut
}

/// An ICMP or ICMPv6 echo request: who asks whom, and what must come back (RFC 792, RFC 4443 section 4.1).
public struct Echo: Hashable, Sendable, BitwiseCopyable {
  public var source: IPAddress
  public var destination: IPAddress
  public var identifier: UInt16
  public var sequence: UInt16
  /// Bytes of data in the request.
  public var payloadCount: Int

  public init(
    source: IPAddress, destination: IPAddress, identifier: UInt16, sequence: UInt16, payloadCount: Int = 0
  ) {
    self.source = source
    self.destination = destination
    self.identifier = identifier
    self.sequence = sequence
    self.payloadCount = payloadCount
  }
}

/// How a flow is turned away.
public enum Refusal: Hashable, Sendable {
  /// A RST for TCP; port unreachable for UDP.
  case reset
  /// An ICMP or ICMPv6 error that quotes the packet.
  case unreachable(Unreachable)
  /// No answer at all, as behind a firewall that drops.
  case silent
}

/// What can't be reached (RFC 792, RFC 1812 section 5.2.7.1, RFC 4443 section 3.1).
public enum Unreachable: Hashable, Sendable {
  case network, host, port, adminProhibited

  /// The code in a destination unreachable message.
  func code(_ family: IPAddress.Family) -> UInt8 {
    switch (self, family) {
    case (.network, .v4): 0
    case (.host, .v4): 1
    case (.port, .v4): 3
    case (.adminProhibited, .v4): 13
    case (.network, .v6): 0
    case (.adminProhibited, .v6): 1
    case (.host, .v6): 3
    case (.port, .v6): 4
    }
  }
}

/// Why a verb was refused: the caller's fault, or a bound.
public enum StackError: Error, Hashable, Sendable {
  /// The two endpoints are of different families, or a port is 0.
  case badEndpoint
  /// A connection between the two endpoints exists.
  case inUse
  /// `StackLimits.tcpFlows` or `halfOpen` is reached.
  case tooManyFlows
}

/// Why a packet was dropped.
public enum DropReason: Int, CaseIterable, Sendable {
  case malformed, badChecksum, options, unknownExtension, unknownProtocol, badAddress
  case fragmentOverlap, fragmentLimit, fragmentTimeout, fragmentHeader
  case halfOpenLimit, flowLimit, pendingLimit, refusedFlow, outgoingLimit, rateLimit
  case notAcceptable, duplicate, outOfOrderLimit, noMemory, unknownFlow
}

/// What a stack has seen and done since it was made.
public struct StackCounters: Sendable {
  public var packetsIn: UInt64 = 0
  public var bytesIn: UInt64 = 0
  public var packetsOut: UInt64 = 0
  public var bytesOut: UInt64 = 0
  /// TCP segments with payload, a super-segment counting as one: payload by segments is the mean size.
  public var segmentsIn: UInt64 = 0
  public var superSegmentsIn: UInt64 = 0
  public var payloadBytesIn: UInt64 = 0
  public var segmentsOut: UInt64 = 0
  public var superSegmentsOut: UInt64 = 0
  public var payloadBytesOut: UInt64 = 0
  public var pureAcksOut: UInt64 = 0
  public var retransmittedSegments: UInt64 = 0
  public var retransmissionTimeouts: UInt64 = 0
  /// Probes of a flight's end (RFC 8985 section 7), and recoveries that turned out to be needless.
  public var tailLossProbes: UInt64 = 0
  public var spuriousRetransmissions: UInt64 = 0
  public var outOfOrderSegments: UInt64 = 0
  public var windowProbes: UInt64 = 0
  public var challenges: UInt64 = 0
  public var resetsIn: UInt64 = 0
  public var resetsOut: UInt64 = 0
  public var connectionsOpened: UInt64 = 0
  public var datagramsIn: UInt64 = 0
  public var datagramBytesIn: UInt64 = 0
  public var datagramsOut: UInt64 = 0
  public var datagramBytesOut: UInt64 = 0
  public var echoRequests: UInt64 = 0
  public var echoReplies: UInt64 = 0
  public var errorsOut: UInt64 = 0
  public var fragmentsIn: UInt64 = 0
  public var fragmentsOut: UInt64 = 0
  public var reassembled: UInt64 = 0

  // By raw value of the reason; room for a few more. Inline, so that a copy of the counters costs no allocation.
  private var drops: [32 of UInt64] = .init(repeating: 0)

  init() {}

  public func dropped(_ reason: DropReason) -> UInt64 { drops[reason.rawValue] }

  /// Packets dropped for whatever reason.
  public var dropped: UInt64 { DropReason.allCases.reduce(0) { $0 &+ dropped($1) } }

  mutating func drop(_ reason: DropReason) { drops[reason.rawValue] &+= 1 }
}
