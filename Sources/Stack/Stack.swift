import Packet
import Primitives

/// A userspace network stack: TCP connections, UDP flows and ICMP echo end here, for an owner to carry them elsewhere.
///
/// Packets and a `now` go in, packets, events and the next deadline come out: no socket, no clock, no thread.
/// After each batch of `receive` (and of the owner's own verbs) the owner takes all events, then all packets.
/// Memory is a `SlabPool` that the owner passes to each verb; payload isn't copied in either direction.
///
/// Not done, on purpose: urgent data (passed on in line, RFC 6093), TCP Fast Open, ECN, Nagle's algorithm and delayed
/// acknowledgements (both would wait), congestion control (see `TCPSender`), path MTU discovery (the path is a device).
public struct Stack: ~Copyable {
  var context: StackContext
  var connections: SlotMap<TCPConnection>
  var datagramFlows: SlotMap<DatagramFlow>
  /// The flow whose datagram came last.
  var lastDatagramFlow = SlotID(index: 0, generation: 0)
  var flows: [FiveTuple: FlowID] = [:]
  var connectionTimers = DeadlineHeap()
  var datagramTimers = DeadlineHeap()
  var timeWait = TimeWaitTable()
  var reassembly = Reassembly()
  /// Connections that may have something to send, in turn.
  var ready = RingQueue<SlotID>(minimumCapacity: 64)
  /// Connections whose handshake isn't over.
  public internal(set) var halfOpenCount = 0
  /// Where the next fragment of the first outgoing datagram begins, and its identification.
  var fragmentOffset = 0
  var fragmentIdentification: UInt32 = 0
  private var lastIdentification: UInt32

  /// - Parameters:
  ///   - configuration: values out of range are moved to the nearest end of it.
  ///   - secret: random bits, from which initial sequence numbers are derived (RFC 6528).
  public init(configuration: StackConfiguration, secret: (UInt64, UInt64)) {
    let configuration = configuration.bounded
    context = StackContext(configuration: configuration, secret: secret)
    connections = SlotMap(limit: configuration.limits.tcpFlows)
    datagramFlows = SlotMap(limit: configuration.limits.udpFlows)
    lastIdentification = UInt32(truncatingIfNeeded: secret.0 ^ secret.1)
    flows.reserveCapacity(min(1024, configuration.limits.tcpFlows + configuration.limits.udpFlows))
  }

  public var counters: StackCounters { context.counters }
  public var configuration: StackConfiguration { context.configuration }
  /// TCP connections, those in TIME-WAIT not counted.
  public var connectionCount: Int { connections.count }
  public var datagramFlowCount: Int { datagramFlows.count }
  public var timeWaitCount: Int { timeWait.count }

  // MARK: The verbs

  /// Takes one IP packet, without a link or vnet header.
  ///
  /// The caller keeps its own reference and releases it afterwards; the stack retains what it keeps. What follows from
  /// several packets is sent as one acknowledgement: where they are not super-segments of the local kernel but single
  /// segments of a network, take what is to be sent after every second one (RFC 5681 section 4.2).
  /// - Parameter offload: what the device left undone. A checksum that isn't complete is taken for good.
  public mutating func receive(_ packet: Slice, offload: Offload, pool: inout SlabPool, now: Instant) {
    context.counters.packetsIn &+= 1
    context.counters.bytesIn &+= UInt64(packet.count)
    let parsed: ParsedPacket
    do throws(ParseError) {
      parsed = try pool.withSpan(packet) { bytes throws(ParseError) in
        let parsed = try ParsedPacket(parsing: bytes)
        if offload.checksum == .complete { try parsed.verifyChecksum(in: bytes) }
        return parsed
      }
    } catch {
      context.counters.drop(error.reason == .badChecksum ? .badChecksum : .malformed)
      return
    }
    if parsed.hasOptions { return context.counters.drop(.options) }
    if parsed.hasUnknownExtension { return context.counters.drop(.unknownExtension) }
    // RFC 1122 section 3.2.1.3: neither multicast nor broadcast is a source.
    if parsed.source.isMulticast || parsed.source.isBroadcast { return context.counters.drop(.badAddress) }
    let payload = packet.range(from: parsed.payloadOffset, count: parsed.payloadLength)
    switch parsed.transport {
    case .tcp(let header):
      receiveSegment(
        header, source: parsed.source, destination: parsed.destination,
        packet: packet.prefix(parsed.totalLength), payload: payload, offload: offload, pool: &pool, now: now)
    case .udp(let header):
      let size = offload.segmentation == .udp ? max(0, offload.segmentSize) : 0
      guard size == 0 || payload.count <= size * context.configuration.limits.datagramSegments else {
        return context.counters.drop(.malformed)
      }
      let tuple = FiveTuple(
        protocol: .udp, source: Endpoint(parsed.source, header.sourcePort),
        destination: Endpoint(parsed.destination, header.destinationPort))
      receiveDatagram(
        tuple, packet: packet.prefix(parsed.totalLength), payload: payload,
        segmentSize: size, pool: &pool, now: now)
    case .icmp(let message):
      receiveMessage(
        message, source: parsed.source, destination: parsed.destination, rest: payload, pool: &pool, now: now)
    case .fragment:
      guard let fragment = parsed.fragment else { return }
      receiveFragment(fragment, of: parsed, payload: payload, pool: &pool, now: now)
    case .other:
      context.counters.drop(.unknownProtocol)
    }
  }

  private mutating func receiveFragment(
    _ fragment: ParsedPacket.Fragment, of packet: ParsedPacket, payload: Slice, pool: inout SlabPool, now: Instant
  ) {
    context.counters.fragmentsIn &+= 1
    let outcome = reassembly.insert(
      fragment, source: packet.source, destination: packet.destination, payload: payload,
      configuration: context.configuration, pool: &pool, now: now)
    switch outcome {
    case .waiting: break
    case .dropped(let reason): context.counters.drop(reason)
    case .complete(let whole):
      context.counters.reassembled &+= 1
      // Never a fragment again, so that this goes one level deep.
      receive(whole, offload: .none, pool: &pool, now: now)
      pool.release(whole)
    }
  }

  /// Acts on all deadlines that have come.
  public mutating func handleTimeout(pool: inout SlabPool, now: Instant) {
    while let index = connectionTimers.popExpired(now: now) {
      guard let slot = connections.id(at: index) else { continue }
      let wasHalfOpen = connections[slot].openDeadline != nil
      let disposition = connections[slot].handleTimeout(context: &context, now: now)
      settle(slot, disposition, wasHalfOpen: wasHalfOpen, pool: &pool, now: now)
    }
    expireDatagramFlows(pool: &pool, now: now)
    timeWait.expire(now: now)
    let expired = reassembly.expire(pool: &pool, now: now)
    for _ in 0..<expired { context.counters.drop(.fragmentTimeout) }
  }

  /// When `handleTimeout` is next due; it may turn out that there is nothing to do by then.
  public var nextDeadline: Instant? {
    let flows = Instant.earliest(connectionTimers.first, datagramTimers.first)
    return Instant.earliest(flows, Instant.earliest(timeWait.nextDeadline, reassembly.nextDeadline))
  }

  /// Fills `transmit` with the next packet to send.
  ///
  /// Contiguous payload of one flow leaves as one super-segment where the configuration allows it. Flows take turns.
  /// - Returns: false when there is none; then `transmit` is empty.
  public mutating func nextTransmit(into transmit: inout Transmit, pool: inout SlabPool, now: Instant) -> Bool {
    transmit.clear(pool: &pool)
    guard emitOutgoing(into: &transmit, pool: &pool) || emitReady(into: &transmit, pool: &pool, now: now) else {
      return false
    }
    context.counters.packetsOut &+= 1
    context.counters.bytesOut &+= UInt64(transmit.count)
    return true
  }

  private mutating func emitReady(into transmit: inout Transmit, pool: inout SlabPool, now: Instant) -> Bool {
    while let slot = ready.popFirst() {
      guard connections.contains(slot) else { continue }
      let isEmitted = connections[slot].emit(into: &transmit, context: &context, pool: &pool, now: now)
      connections[slot].isQueued = isEmitted
      if isEmitted { ready.append(slot) }
      armTimer(slot)
      if isEmitted { return true }
    }
    return false
  }

  private mutating func emitOutgoing(into transmit: inout Transmit, pool: inout SlabPool) -> Bool {
    guard let packet = context.outgoing.first else { return false }
    switch packet {
    case .segment(let segment):
      transmit.writeStateless(segment, configuration: context.configuration, pool: pool)
    case .echoUnreachable(let echo, let what):
      transmit.writeEchoUnreachable(echo, what, configuration: context.configuration)
    case .datagram(let datagram):
      if fragmentOffset == 0, emitRun(of: datagram, into: &transmit) { return true }
      if fragmentOffset == 0 {
        lastIdentification &+= 1
        let base = context.initialSequence.fragmentIdentification(
          from: datagram.source, to: datagram.destination)
        fragmentIdentification = base &+ lastIdentification
      }
      let next = transmit.writeDatagram(
        datagram, from: fragmentOffset, identification: fragmentIdentification,
        configuration: context.configuration, pool: &pool)
      if next != nil || fragmentOffset > 0 { context.counters.fragmentsOut &+= 1 }
      fragmentOffset = next ?? 0
      if next != nil { return true }
      pool.release(datagram.payload)
    }
    _ = context.outgoing.popFirst()
    return true
  }

  /// Sends the first datagrams of the queue as one super-datagram, which the device cuts.
  ///
  /// - Returns: `false` if there aren't two or more of one size and flow that follow each other, unfragmented.
  private mutating func emitRun(of first: OutgoingDatagram, into transmit: inout Transmit) -> Bool {
    let size = first.payload.count
    guard context.configuration.segmentationOffload, size > 0, first.packetSize <= context.configuration.mtu
    else { return false }
    let limit = min(context.configuration.maximumSlices, StackLimits.sentDatagramSegments, context.outgoing.count)
    var count = 1
    var bytes = size
    while count < limit, case .datagram(let next) = context.outgoing[count], next.follows(first),
      bytes + next.payload.count <= OutgoingDatagram.largestPayload
    {
      count += 1
      bytes += next.payload.count
      // The last one may be shorter.
      if next.payload.count < size { break }
    }
    guard count > 1 else { return false }
    for _ in 0..<count {
      if case .datagram(let datagram)? = context.outgoing.popFirst() { transmit.payload.append(datagram.payload) }
    }
    transmit.writeRun(first, payloadCount: bytes, configuration: context.configuration)
    return true
  }

  /// The next event, oldest first.
  public mutating func nextEvent() -> StackEvent? {
    guard let event = context.events.popFirst() else { return nil }
    if case .received(let flow, let slice) = event, connections.contains(flow.slot) {
      connections[flow.slot].receiver.undelivered -= slice.count
    }
    return event
  }

  /// Forgets all flows without a word to anyone, and lets go of all memory, that of untaken events included.
  public mutating func removeAll(pool: inout SlabPool) {
    for slot in connections.ids {
      connections[slot].releaseAll(pool: &pool)
      flows[connections[slot].tuple] = nil
      connectionTimers.remove(slot.index)
      connections.remove(slot)
    }
    halfOpenCount = 0
    for slot in datagramFlows.ids { removeDatagramFlow(datagramFlows[slot].id, pool: &pool) }
    reassembly.removeAll(pool: &pool)
    while let packet = context.outgoing.popFirst() {
      if case .datagram(let datagram) = packet { pool.release(datagram.payload) }
    }
    fragmentOffset = 0
    while let event = context.events.popFirst() {
      switch event {
      case .received(_, let slice), .datagram(_, let slice), .echoRequested(_, let slice): pool.release(slice)
      default: break
      }
    }
    timeWait = TimeWaitTable()
  }
}
