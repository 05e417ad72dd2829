import Packet
import Primitives

/// TCP: which connection a segment belongs to, and what the owner wants of a connection.
extension Stack {
  // MARK: Segments

  mutating func receiveSegment(
    _ header: TCPHeader, source: IPAddress, destination: IPAddress, packet: Slice, payload: Slice, offload: Offload,
    pool: inout SlabPool, now: Instant
  ) {
    let tuple = FiveTuple(
      protocol: .tcp, source: Endpoint(source, header.sourcePort),
      destination: Endpoint(destination, header.destinationPort))
    if !payload.isEmpty {
      context.counters.segmentsIn &+= 1
      context.counters.payloadBytesIn &+= UInt64(payload.count)
      if offload.segmentation != .none { context.counters.superSegmentsIn &+= 1 }
    }
    if let flow = flows[tuple] {
      let wasHalfOpen = connections[flow.slot].openDeadline != nil
      let disposition = connections[flow.slot].receive(
        header, payload: payload, context: &context, pool: &pool, now: now)
      settle(flow.slot, disposition, wasHalfOpen: wasHalfOpen, pool: &pool, now: now)
      return
    }
    switch timeWait.receive(header, payloadCount: payload.count, tuple: tuple) {
    case .ignore?: return
    case .acknowledge(let entry)?: return context.sendAcknowledgement(entry, tuple: tuple, now: now)
    case .reopen?, nil: break
    }
    receiveUnknown(header, tuple: tuple, packet: packet, payloadCount: payload.count, pool: &pool, now: now)
  }

  /// A segment for no connection: a SYN asks for one, all else is reset (RFC 9293 section 3.10.7.1).
  private mutating func receiveUnknown(
    _ header: TCPHeader, tuple: FiveTuple, packet: Slice, payloadCount: Int, pool: inout SlabPool, now: Instant
  ) {
    // RFC 9293 section 3.9.2.3: TCP is between two hosts.
    let (source, destination) = (tuple.source.address, tuple.destination.address)
    guard !source.isUnspecified, !destination.isUnspecified, !destination.isMulticast, !destination.isBroadcast,
      tuple.source != tuple.destination, header.sourcePort != 0
    else { return context.counters.drop(.badAddress) }
    if header.flags.contains(.rst) { return context.counters.drop(.unknownFlow) }
    guard header.flags.contains(.syn), !header.flags.contains(.ack), !header.flags.contains(.fin) else {
      context.counters.drop(.unknownFlow)
      guard context.errorLimiter.allow(now: now) else { return context.counters.drop(.rateLimit) }
      return context.sendReset(answering: header, payloadCount: payloadCount, tuple: tuple)
    }
    guard halfOpenCount < context.configuration.limits.halfOpen else {
      return context.counters.drop(.halfOpenLimit)
    }
    // Silence makes the application try again, by when there may be room.
    guard !connections.isFull else { return context.counters.drop(.flowLimit) }
    pool.retain(packet)
    let request = pool.compact(packet)
    let initial = context.initialSequence.number(for: tuple, now: now)
    let offset = context.initialSequence.timestampOffset(for: tuple)
    let configuration = context.configuration
    let flow = add(tuple, now: now) { id in
      TCPConnection(
        id: id, tuple: tuple, synchronize: header, request: request, initial: initial, timestampOffset: offset,
        configuration: configuration, now: now)
    }
    guard let flow else { return pool.release(request) }
    context.events.append(.openRequested(flow, tuple))
  }

  private mutating func add(
    _ tuple: FiveTuple, now: Instant, _ make: (FlowID) -> TCPConnection
  ) -> FlowID? {
    // The identifier is known only once the slot is taken, and the connection holds it.
    let unnamed = FlowID(slot: SlotID(index: 0, generation: 0), isDatagram: false)
    guard let slot = connections.insert(make(unnamed)) else { return nil }
    let flow = FlowID(slot: slot, isDatagram: false)
    connections[slot] = make(flow)
    flows[tuple] = flow
    halfOpenCount += 1
    armTimer(slot)
    return flow
  }

  // MARK: After each change

  /// Books what became of a connection: its timer, its place in the queue, or its end.
  mutating func settle(
    _ slot: SlotID, _ disposition: TCPConnection.Disposition, wasHalfOpen: Bool, pool: inout SlabPool, now: Instant
  ) {
    switch disposition {
    case .open:
      if wasHalfOpen, connections[slot].openDeadline == nil { halfOpenCount -= 1 }
      enqueue(slot)
    case .gone:
      remove(slot, wasHalfOpen: wasHalfOpen, pool: &pool)
    case .timeWait:
      let configuration = context.configuration
      timeWait.insert(
        connections[slot], limit: configuration.limits.timeWait, deadline: now + configuration.timeWait)
      emitLastAcknowledgement(slot, now: now)
      remove(slot, wasHalfOpen: wasHalfOpen, pool: &pool)
    }
  }

  /// The peer's FIN must be acknowledged although its connection is gone.
  private mutating func emitLastAcknowledgement(_ slot: SlotID, now: Instant) {
    guard connections[slot].needsAcknowledgement else { return }
    let connection = connections[slot]
    var segment = StatelessSegment(
      tuple: connection.tuple, sequence: connection.sender.nxt, acknowledgement: connection.receiver.next, flags: .ack)
    if connection.hasTimestamps {
      segment.timestamps = (connection.timestamp(now), connection.recentTimestamp)
    }
    _ = context.queue(.segment(segment))
  }

  private mutating func enqueue(_ slot: SlotID) {
    if !connections[slot].isQueued {
      connections[slot].isQueued = true
      ready.append(slot)
    }
    armTimer(slot)
  }

  mutating func armTimer(_ slot: SlotID) {
    if let deadline = connections[slot].deadline(context.configuration) {
      connectionTimers.require(deadline, for: slot.index)
    }
  }

  private mutating func remove(_ slot: SlotID, wasHalfOpen: Bool, pool: inout SlabPool) {
    connections[slot].releaseAll(pool: &pool)
    guard let removed = connections.remove(slot) else { return }
    if wasHalfOpen { halfOpenCount -= 1 }
    flows[removed.tuple] = nil
    connectionTimers.remove(slot.index)
  }

  private func holds(_ flow: FlowID) -> Bool { !flow.isDatagram && connections.contains(flow.slot) }

  // MARK: Opening

  /// Answers a connection request with SYN-ACK: to be called once the far dial has succeeded.
  public mutating func accept(_ flow: FlowID, pool: inout SlabPool, now: Instant) {
    guard holds(flow) else { return }
    connections[flow.slot].accept(context.configuration, pool: &pool, now: now)
    enqueue(flow.slot)
  }

  /// Turns a connection request or a UDP flow away. A refused TCP flow is forgotten at once; a refused UDP flow is
  /// remembered for a while.
  ///
  /// A connection that was accepted already is reset.
  public mutating func refuse(_ flow: FlowID, _ refusal: Refusal, pool: inout SlabPool, now: Instant) {
    if flow.isDatagram { return refuseDatagrams(flow, refusal, pool: &pool, now: now) }
    guard holds(flow) else { return }
    let tuple = connections[flow.slot].tuple
    guard connections[flow.slot].state == .requested else { return abort(flow, pool: &pool, now: now) }
    switch refusal {
    case .silent: break
    case .reset: context.sendReset(for: connections[flow.slot])
    case .unreachable(let what):
      if let request = connections[flow.slot].request {
        sendError(what, tuple: tuple, quoting: request, pool: &pool, now: now)
      }
    }
    remove(flow.slot, wasHalfOpen: true, pool: &pool)
  }

  /// Opens a connection to an application.
  ///
  /// - Parameters:
  ///   - local: who the connection comes from, as the application will see it.
  ///   - remote: where the application listens.
  public mutating func connect(
    from local: Endpoint, to remote: Endpoint, now: Instant
  ) throws(StackError) -> FlowID {
    guard local.address.family == remote.address.family, local.port != 0, remote.port != 0, local != remote else {
      throw .badEndpoint
    }
    let tuple = FiveTuple(protocol: .tcp, source: remote, destination: local)
    guard flows[tuple] == nil else { throw .inUse }
    guard halfOpenCount < context.configuration.limits.halfOpen else { throw .tooManyFlows }
    let initial = context.initialSequence.number(for: tuple, now: now)
    let offset = context.initialSequence.timestampOffset(for: tuple)
    let configuration = context.configuration
    let flow = add(tuple, now: now) { id in
      TCPConnection(
        connecting: id, tuple: tuple, initial: initial, timestampOffset: offset, configuration: configuration,
        now: now)
    }
    guard let flow else { throw .tooManyFlows }
    // The initial sequence number lies ahead of the old connection's by its clock, so that the place may be taken.
    timeWait.forget(tuple)
    enqueue(flow.slot)
    return flow
  }

  // MARK: Sending

  /// Queues payload for the application. Takes over the caller's reference, whatever becomes of it: the payload of a
  /// flow that has ended, or behind `finish`, is dropped.
  public mutating func send(_ flow: FlowID, _ slice: Slice, pool: inout SlabPool, now: Instant) {
    guard holds(flow), connections[flow.slot].canSend else {
      context.counters.drop(.unknownFlow)
      pool.release(slice)
      return
    }
    connections[flow.slot].send(slice, pool: &pool, now: now)
    enqueue(flow.slot)
  }

  /// Ends our direction once everything queued has been sent: FIN. The other one stays open.
  public mutating func finish(_ flow: FlowID, now: Instant) {
    guard holds(flow) else { return }
    connections[flow.slot].finish(now: now)
    enqueue(flow.slot)
  }

  /// Breaks a connection: RST, and no further event. A UDP flow is forgotten.
  public mutating func abort(_ flow: FlowID, pool: inout SlabPool, now: Instant) {
    if flow.isDatagram { return removeDatagramFlow(flow, pool: &pool) }
    guard holds(flow) else { return }
    context.sendReset(for: connections[flow.slot])
    remove(flow.slot, wasHalfOpen: connections[flow.slot].openDeadline != nil, pool: &pool)
  }

  /// Sets how many payload bytes the application may still send, counted from the first byte that no `.received` event
  /// taken so far has handed out. Becomes the advertised window, which never shrinks below what was advertised before.
  public mutating func setReceiveCredit(_ flow: FlowID, _ bytes: Int, now: Instant) {
    guard holds(flow) else { return }
    connections[flow.slot].setReceiveCredit(bytes, configuration: context.configuration)
    if connections[flow.slot].needsAcknowledgement { enqueue(flow.slot) }
  }

  /// Bytes handed to `send` that aren't acknowledged yet: queued or in flight. 0 for a flow that has ended.
  public func unacknowledged(_ flow: FlowID) -> Int {
    holds(flow) ? connections[flow.slot].sender.queue.count : 0
  }

  /// Lets go of all payload that came ahead of its turn, for when memory is short: nothing is lost by it, since a peer
  /// keeps what it was told of selectively until it is acknowledged for good (RFC 2018 section 8). Linear.
  public mutating func dropUnordered(pool: inout SlabPool) {
    for slot in connections.ids where !connections[slot].receiver.queue.isEmpty {
      for _ in 0..<connections[slot].receiver.queue.count { context.counters.drop(.noMemory) }
      connections[slot].receiver.queue.removeAll(pool: &pool)
    }
  }

  /// The 5-tuple of a flow, `source` being the application; `nil` once it has ended.
  public func tuple(of flow: FlowID) -> FiveTuple? {
    if flow.isDatagram { return datagramFlows.contains(flow.slot) ? datagramFlows[flow.slot].tuple : nil }
    return holds(flow) ? connections[flow.slot].tuple : nil
  }
}
