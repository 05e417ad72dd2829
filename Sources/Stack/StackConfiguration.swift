import Primitives

/// How a stack behaves. Sizes in bytes.
public struct StackConfiguration: Sendable {
  /// The MTU of the device, 576 to 65535; IPv6 needs 1280. Decides the MSS and where datagrams are fragmented.
  public var mtu = 1500
  /// Whether the device completes checksums: then a packet carries the sum of its pseudo header only.
  public var checksumOffload = true
  /// Whether the device cuts super-segments: then a packet carries up to `maximumSuperSegment` bytes of payload.
  public var segmentationOffload = true
  /// Payload of a super-segment. The IP total length stays ≤ 65535 whatever is set here.
  public var maximumSuperSegment = 65_535 - 40 - 20
  /// Slices in one packet: each takes an entry of the gathered write.
  public var maximumSlices = 64
  /// The largest receive window that is ever advertised; fixes the window scale. Credit beyond it opens later.
  public var maximumReceiveWindow = 4 << 20
  /// The receive credit of a flow before the first `setReceiveCredit`.
  public var initialReceiveCredit = 64 << 10
  /// Whether to offer and accept timestamps (RFC 7323) and selective acknowledgements (RFC 2018).
  public var timestamps = true
  public var selectiveAcknowledgements = true
  /// What bounds sending besides the receiver's window.
  public var congestion = Congestion.none
  /// How long a connection request may wait for `accept`, and a handshake for its end.
  public var openTimeout = Interval.seconds(130)
  /// How long data may stay unacknowledged before the connection is given up (RFC 9293 section 3.8.3).
  public var userTimeout = Interval.seconds(100)
  /// Silence after which an open connection is probed, and how often before it is given up; `nil` for never.
  public var keepAlive: Interval? = .seconds(600)
  /// The same for a peer that has finished: it may have left since, with nobody to read what would still come, and on a
  /// virtual device a question costs next to nothing. Linux keeps such an end for 60 s (tcp_fin_timeout).
  public var halfClosedKeepAlive: Interval? = .seconds(15)
  public var keepAliveProbes = 6
  /// TIME-WAIT lasts this long: twice the segment lifetime, which on a virtual device is next to nothing. RFC 9293
  /// asks for 4 minutes, meant for the Internet.
  public var timeWait = Interval.seconds(10)
  /// Silence after which a UDP flow is forgotten (RFC 4787 section 4.3 asks a NAT for 2 minutes or more).
  public var datagramIdle = Interval.seconds(120)
  /// The same for a flow that was refused: long enough to answer a retry without asking again.
  public var refusedDatagramIdle = Interval.seconds(10)
  /// How long the fragments of a datagram may take to arrive (RFC 8200 section 4.5 has 60 s; locally all come at once).
  public var reassemblyTimeout = Interval.seconds(15)
  /// Hop limit, or time to live, of what the stack sends.
  public var hopLimit: UInt8 = 64
  public var limits = StackLimits()

  public init() {}

  /// How a sender finds out how much the path takes.
  public enum Congestion: Hashable, Sendable {
    /// Not at all: the device is a link to the kernel of the same machine, and there is no path to congest. Only after
    /// a timeout a flight starts small.
    case none
    /// NewReno (RFC 5681, RFC 6582) with proportional rate reduction (RFC 9937): for a device whose packets are routed
    /// on to a network that others use.
    case reno
  }

  /// The same with every value in its range, so that none can lead to an endless loop or an overflow later.
  var bounded: StackConfiguration {
    var bounded = self
    bounded.mtu = min(max(mtu, 576), 65_535)
    bounded.maximumSuperSegment = min(max(maximumSuperSegment, 512), 65_535)
    bounded.maximumSlices = min(max(maximumSlices, 1), 1024)
    // RFC 7323 section 2.3: the largest window that can be advertised is 2³⁰.
    bounded.maximumReceiveWindow = min(max(maximumReceiveWindow, 1), 1 << 30)
    bounded.initialReceiveCredit = min(max(initialReceiveCredit, 0), bounded.maximumReceiveWindow)
    bounded.limits.pendingDatagrams = max(limits.pendingDatagrams, 1)
    bounded.limits.outOfOrderSegments = max(limits.outOfOrderSegments, 1)
    return bounded
  }
}

/// What a stack holds at most: nothing that a packet can cause grows beyond this.
public struct StackLimits: Sendable {
  /// TCP connections, half-open ones included. Each takes about 700 bytes with its table entries, plus what is
  /// in flight.
  public var tcpFlows = 4096
  /// Connections that are not established yet. A scanner or a flood ends here, and live flows keep their places.
  public var halfOpen = 512
  /// Ended connections that are remembered: about 250 bytes each. The oldest goes first, which costs a RST for a stray
  /// segment at worst.
  public var timeWait = 2048
  /// UDP flows, refused ones included. A resolver or a discovery tool opens hundreds; a supervision system that polls
  /// each device from a port of its own, thousands. Each takes some 300 bytes with its table entries.
  public var udpFlows = 12 * 1024
  /// Datagrams of one super-datagram: what the kernel itself makes at most (UDP_MAX_SEGMENTS). A device that claims more
  /// is not believed.
  public var datagramSegments = 128
  /// Datagrams of one super-datagram that the stack makes: what every kernel takes (UDP_MAX_SEGMENTS before Linux 6.9).
  public static let sentDatagramSegments = 64
  /// Datagrams of one flow that wait for the verdict on it; most applications send one and wait for an answer.
  public var pendingDatagrams = 4
  /// Segments of a connection that wait for an earlier one. A lost super-segment is followed by few others, since a
  /// window of 4 MiB is 64 of them.
  public var outOfOrderSegments = 128
  /// Bytes and datagrams in reassembly. 64 KiB is the largest datagram: four can be under way at once in any case.
  public var reassemblyBytes = 512 << 10
  public var reassemblyDatagrams = 64
  /// Fragments of one datagram: 64 KiB at the smallest IPv6 MTU take 54; smaller ones than that are an attack.
  public var fragmentsPerDatagram = 128
  /// Answers without a flow (RST, ICMP, echo) and datagrams that wait to be sent. The caller empties the queue after
  /// each batch it hands in, so that a batch must fit.
  public var outgoing = 4096
  /// ICMP errors in a second (RFC 4443 section 2.4 (f)); also RSTs for unknown connections.
  public var errorsPerSecond = 1000
  /// Challenge acknowledgements in a second. RFC 5961 section 7 suggests 10 in 5 s; a limit that low, shared by all
  /// connections, became a side channel, and the peers here are local.
  public var challengesPerSecond = 1000

  public init() {}
}
