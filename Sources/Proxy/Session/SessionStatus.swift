import Framing
import Primitives

/// What a running session tells about itself, for status displays. A snapshot.
public struct SessionStatus: Sendable {
  /// When the figures were true.
  public var time = Instant.zero
  public var counters = SessionCounters()
  public var recordsSealed: UInt64 = 0
  public var recordsOpened: UInt64 = 0
  public var bytesSealed: UInt64 = 0
  public var bytesOpened: UInt64 = 0
  public var streams = 0
  /// Of these, by kind.
  public var kinds = FlowCounts()
  /// The latest round trip, queues included; and the shortest, which is the distance.
  public var roundTrip: Interval?
  public var shortestRoundTrip: Interval?
  /// Payload bytes a second.
  public var rateIn: UInt64 = 0
  public var rateOut: UInt64 = 0
  public var queues = SessionQueues()
  public var pool = PoolStatus()
  /// Reads and writes of payload sockets at this end, and their bytes: mean sizes tell whether super-segments pass.
  public var payloadReads: UInt64 = 0
  public var payloadReadBytes: UInt64 = 0
  public var payloadWrites: UInt64 = 0
  public var payloadWriteBytes: UInt64 = 0
  /// Datagrams for a device that its socket had no room for; and of a device, as far as the kernel was asked: every few
  /// seconds, and when a flow ends.
  public var deviceDatagramsDropped: UInt64 = 0
  public var kernelDatagramsDropped: UInt64 = 0
  public var refusals: [String: UInt64] = [:]
  /// Flows that are open, by agent.
  public var flowsByAgent: [String: Int] = [:]

  public init() {}

  /// Bytes of slab memory that the session's thread has in use.
  public var memoryInUse: Int { pool.bytesInUse }

  /// What was dropped or cut by the session, by reason. Reasons that never occurred are left out.
  public var drops: [String: UInt64] {
    [
      "datagram queue full": counters.datagramsDropped, "device socket full": deviceDatagramsDropped,
      "receive buffer full": kernelDatagramsDropped,
      "late frame": counters.lateFrames, "slow reader": counters.slowReadersReset,
    ].filter { $0.value > 0 }
  }
}

/// What several sessions have come to.
public struct SessionTotals: Sendable {
  public var flowsOpened: UInt64 = 0
  /// Payload from and to the peers.
  public var bytesIn: UInt64 = 0
  public var bytesOut: UInt64 = 0
  /// Sealed and opened.
  public var records: UInt64 = 0
  /// Datagrams and frames dropped and readers cut, by reason.
  public var drops: [String: UInt64] = [:]

  public init() {}

  public mutating func add(_ status: SessionStatus) {
    flowsOpened += status.counters.streamsOpened
    bytesIn += status.counters.dataBytesIn
    bytesOut += status.counters.dataBytesOut
    records += status.recordsSealed + status.recordsOpened
    for (reason, count) in status.drops { drops[reason, default: 0] += count }
  }

  public mutating func add(_ other: SessionTotals) {
    flowsOpened += other.flowsOpened
    bytesIn += other.bytesIn
    bytesOut += other.bytesOut
    records += other.records
    for (reason, count) in other.drops { drops[reason, default: 0] += count }
  }
}

/// Flows by kind.
public struct FlowCounts: Hashable, Sendable {
  public var tcp = 0
  public var udp = 0
  public var echo = 0
  /// What is no flow to an address: frames of an interface, discovery, captures.
  public var services = 0

  public init() {}

  mutating func count(_ kind: StreamProtocol) {
    switch kind {
    case .tcp: tcp += 1
    case .udp: udp += 1
    case .icmp: echo += 1
    case .ethernet, .discovery, .capture: services += 1
    }
  }
}

/// What waits in a session, in bytes but for the frames.
public struct SessionQueues: Hashable, Sendable {
  /// Frames that don't wait behind payload.
  public var controlFrames = 0
  /// Payload that waits to be sealed.
  public var payload = 0
  /// Sealed, and not taken by the kernel.
  public var sealed = 0
  /// In the kernel's send buffer, sent or not, and not acknowledged by the relay.
  public var kernel = 0
  /// Received, and not taken by the reader at this end.
  public var held = 0
  /// What the peer may send in all: the sum of the streams' windows.
  public var windows = 0

  public init() {}
}

/// One stream or flow as its session sees it. A snapshot.
public struct StreamStatus: Hashable, Sendable {
  public let id: StreamID
  public let isOpen: Bool
  /// Whether the peer has finished its direction, and this end has.
  public let finishedIn, finishedOut: Bool
  /// Payload from and to the peer since the stream began.
  public let bytesIn, bytesOut: UInt64
  /// Bytes that may be sent now; what the peer may have under way; what it sent and nobody took yet; what waits to be
  /// sealed. The first three are of streams only.
  public let sendCredit, window, held, queued: Int
}

extension Session {
  /// Fills in what the session itself knows. Linear in the streams: for a timer, not for the packet path.
  public func describe(into status: inout SessionStatus) {
    status.counters = counters
    status.recordsSealed = recordsSealed
    status.recordsOpened = recordsOpened
    status.bytesSealed = bytesSealed
    status.bytesOpened = bytesOpened
    status.streams = streamCount
    status.roundTrip = roundTrip
    status.shortestRoundTrip = liveness.roundTrip
    status.rateIn = rateIn.perSecond
    status.rateOut = rateOut.perSecond
    status.kinds = FlowCounts()
    status.queues.controlFrames = controls.count
    status.queues.windows = windowTotal
    status.queues.payload = 0
    status.queues.held = 0
    for slot in streams.indices where streams[slot].phase != .free {
      status.kinds.count(streams[slot].kind)
      status.queues.payload += streams[slot].queuedBytes
      status.queues.held += streams[slot].receive.held
    }
  }

  /// Measures the rates, and while there is payload the round trip as well; to be called about once a second.
  ///
  /// Whoever has something to say isn't asked whether it lives, so that a busy session would know the distance by its
  /// first PING alone. One that was late would let windows grow to many times what the way holds.
  public mutating func sampleRates(now: Instant) {
    rateIn.sample(counters.dataBytesIn, now: now)
    rateOut.sample(counters.dataBytesOut, now: now)
    let carried = counters.dataBytesIn &+ counters.dataBytesOut
    if carried != sampledBytes, liveness.isAnswered { controls.append(.ping(liveness.ping(now: now))) }
    sampledBytes = carried
  }

  /// `nil` once another stream has the slot. A stream that has just ended still answers.
  public func status(of id: StreamID) -> StreamStatus? {
    guard id.slot > 0, id.slot < streams.count, streams[id.slot].tenant == id.tenant else { return nil }
    let isStream = streams[id.slot].kind.isByteStream
    let state = streams[id.slot]
    return StreamStatus(
      id: id, isOpen: state.isOpen, finishedIn: state.finishReceived, finishedOut: state.finishQueued,
      bytesIn: isStream ? state.receive.received : state.datagramBytesIn,
      bytesOut: isStream ? state.send.used : state.datagramBytesOut, sendCredit: isStream ? state.send.available : 0,
      window: isStream ? state.receive.size : 0, held: isStream ? state.receive.held : 0, queued: state.queuedBytes)
  }
}
