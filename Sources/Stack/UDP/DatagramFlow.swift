import Packet
import Primitives

/// One UDP flow: a 5-tuple, and what its owner said about it.
struct DatagramFlow {
  enum Verdict: Equatable {
    /// The owner was asked.
    case pending
    case accepted
    /// Kept for a while, so that a retry is turned away without asking again.
    case refused(Refusal)
  }

  /// A datagram that waits for the verdict, as the packet it came in (an ICMP error may have to quote it).
  struct Held {
    var packet: Slice
    /// The payload: a part of the packet.
    var payload: Slice
    /// Payload bytes of each datagram in a super-datagram; 0 for a single one.
    var segmentSize: Int
  }

  let id: FlowID
  /// As in the packets that arrive: `source` is the application.
  let tuple: FiveTuple
  var verdict = Verdict.pending
  /// One reference each.
  var held: [Held] = []
  var lastActivity: Instant

  func deadline(_ configuration: StackConfiguration) -> Instant {
    if case .refused = verdict { return lastActivity + configuration.refusedDatagramIdle }
    return lastActivity + configuration.datagramIdle
  }

  /// Announces a payload; each event gets a reference of its own.
  static func announce(
    _ payload: Slice, segmentSize: Int, of id: FlowID, context: inout StackContext, pool: inout SlabPool
  ) {
    var rest = payload
    repeat {
      let size = segmentSize > 0 ? min(segmentSize, rest.count) : rest.count
      let part = rest.prefix(size)
      rest = rest.dropping(size)
      pool.retain(part)
      context.counters.datagramsIn &+= 1
      context.counters.datagramBytesIn &+= UInt64(size)
      context.events.append(.datagram(id, part))
    } while !rest.isEmpty
  }
}

extension Stack {
  // MARK: From the application

  mutating func receiveDatagram(
    _ tuple: FiveTuple, packet: Slice, payload: Slice, segmentSize: Int, pool: inout SlabPool, now: Instant
  ) {
    guard let id = datagramFlow(tuple) else {
      requestDatagramFlow(tuple, packet: packet, payload: payload, segmentSize: segmentSize, pool: &pool, now: now)
      return
    }
    datagramFlows[id.slot].lastActivity = now
    switch datagramFlows[id.slot].verdict {
    case .accepted:
      DatagramFlow.announce(payload, segmentSize: segmentSize, of: id, context: &context, pool: &pool)
    case .pending:
      guard datagramFlows[id.slot].held.count < context.configuration.limits.pendingDatagrams else {
        context.counters.drop(.pendingLimit)
        return
      }
      pool.retain(packet)
      datagramFlows[id.slot].held.append(.init(packet: packet, payload: payload, segmentSize: segmentSize))
    case .refused(let refusal):
      context.counters.drop(.refusedFlow)
      answer(refusal, tuple: tuple, packet: packet, pool: &pool, now: now)
    }
  }

  /// The flow that a datagram belongs to. They come in runs, so that the last one's is mostly this one's.
  private mutating func datagramFlow(_ tuple: FiveTuple) -> FlowID? {
    if datagramFlows.contains(lastDatagramFlow), datagramFlows[lastDatagramFlow].tuple == tuple {
      return datagramFlows[lastDatagramFlow].id
    }
    guard let id = flows[tuple] else { return nil }
    lastDatagramFlow = id.slot
    return id
  }

  private mutating func requestDatagramFlow(
    _ tuple: FiveTuple, packet: Slice, payload: Slice, segmentSize: Int, pool: inout SlabPool, now: Instant
  ) {
    let lookup = datagramFlows.insert(
      DatagramFlow(id: FlowID(slot: SlotID(index: 0, generation: 0), isDatagram: true), tuple: tuple, lastActivity: now)
    )
    guard let slot = lookup else {
      context.counters.drop(.flowLimit)
      return
    }
    let id = FlowID(slot: slot, isDatagram: true)
    pool.retain(packet)
    datagramFlows[slot] = DatagramFlow(
      id: id, tuple: tuple, held: [.init(packet: packet, payload: payload, segmentSize: segmentSize)],
      lastActivity: now)
    flows[tuple] = id
    datagramTimers.require(datagramFlows[slot].deadline(context.configuration), for: slot.index)
    context.events.append(.datagramFlowRequested(id, tuple))
  }

  // MARK: Verbs

  /// Lets a UDP flow through: what has arrived so far follows as `.datagram` events.
  public mutating func acceptDatagrams(_ flow: FlowID, pool: inout SlabPool, now: Instant) {
    guard flow.isDatagram, datagramFlows.contains(flow.slot) else { return }
    datagramFlows[flow.slot].verdict = .accepted
    datagramFlows[flow.slot].lastActivity = now
    let held = datagramFlows[flow.slot].held
    datagramFlows[flow.slot].held = []
    for datagram in held {
      DatagramFlow.announce(
        datagram.payload, segmentSize: datagram.segmentSize, of: flow, context: &context, pool: &pool)
      pool.release(datagram.packet)
    }
  }

  mutating func refuseDatagrams(_ flow: FlowID, _ refusal: Refusal, pool: inout SlabPool, now: Instant) {
    guard datagramFlows.contains(flow.slot) else { return }
    datagramFlows[flow.slot].verdict = .refused(refusal)
    let tuple = datagramFlows[flow.slot].tuple
    let held = datagramFlows[flow.slot].held
    datagramFlows[flow.slot].held = []
    for datagram in held {
      answer(refusal, tuple: tuple, packet: datagram.packet, pool: &pool, now: now)
      pool.release(datagram.packet)
    }
    datagramTimers.require(datagramFlows[flow.slot].deadline(context.configuration), for: flow.slot.index)
  }

  private mutating func answer(
    _ refusal: Refusal, tuple: FiveTuple, packet: Slice, pool: inout SlabPool, now: Instant
  ) {
    switch refusal {
    case .silent: break
    // What a closed port on a host answers.
    case .reset: sendError(.port, tuple: tuple, quoting: packet, pool: &pool, now: now)
    case .unreachable(let what): sendError(what, tuple: tuple, quoting: packet, pool: &pool, now: now)
    }
  }

  /// Sends a datagram to the application. Takes over the caller's reference.
  ///
  /// A payload of more than 65507 bytes (65487 for IPv6 without jumbograms) is no datagram and is dropped.
  public mutating func sendDatagram(_ flow: FlowID, _ slice: Slice, pool: inout SlabPool, now: Instant) {
    guard flow.isDatagram, datagramFlows.contains(flow.slot), datagramFlows[flow.slot].verdict == .accepted else {
      context.counters.drop(.unknownFlow)
      pool.release(slice)
      return
    }
    datagramFlows[flow.slot].lastActivity = now
    let tuple = datagramFlows[flow.slot].tuple
    let count = slice.count
    let isQueued = queueDatagram(
      OutgoingDatagram(
        source: tuple.destination.address, destination: tuple.source.address,
        kind: .udp(source: tuple.destination.port, destination: tuple.source.port), payload: slice), pool: &pool)
    if isQueued {
      context.counters.datagramsOut &+= 1
      context.counters.datagramBytesOut &+= UInt64(count)
    }
  }

  /// Queues a message, or lets go of its payload.
  mutating func queueDatagram(_ datagram: OutgoingDatagram, pool: inout SlabPool) -> Bool {
    guard datagram.payload.count <= OutgoingDatagram.largestPayload else {
      context.counters.drop(.malformed)
      pool.release(datagram.payload)
      return false
    }
    guard context.queue(.datagram(datagram)) else {
      pool.release(datagram.payload)
      return false
    }
    return true
  }

  // MARK: Time

  mutating func expireDatagramFlows(pool: inout SlabPool, now: Instant) {
    while let index = datagramTimers.popExpired(now: now) {
      guard let slot = datagramFlows.id(at: index) else { continue }
      let deadline = datagramFlows[slot].deadline(context.configuration)
      if deadline > now {
        datagramTimers.require(deadline, for: index)
        continue
      }
      let flow = datagramFlows[slot].id
      if case .refused = datagramFlows[slot].verdict {
        // Its owner has let go of it already.
      } else {
        context.events.append(.datagramFlowExpired(flow))
      }
      removeDatagramFlow(flow, pool: &pool)
    }
  }

  mutating func removeDatagramFlow(_ flow: FlowID, pool: inout SlabPool) {
    guard let removed = datagramFlows.remove(flow.slot) else { return }
    for datagram in removed.held { pool.release(datagram.packet) }
    flows[removed.tuple] = nil
    datagramTimers.remove(flow.slot.index)
  }
}
