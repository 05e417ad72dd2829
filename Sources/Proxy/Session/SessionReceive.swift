import Framing
import Primitives

/// The receiving half: records become frames, frames become events.
extension Session {
  /// Where the next read from the connection should put its bytes; `nil` while the pool is exhausted.
  public mutating func readTarget(pool: inout SlabPool) -> RecordReader.Target? {
    reader.target(pool: &pool)
  }

  /// Takes `count` bytes that were read into `target`.
  ///
  /// - Throws: what ends the session: changed bytes, or a peer that broke a rule.
  public mutating func received(
    _ count: Int, in target: RecordReader.Target, pool: inout SlabPool, now: Instant
  ) throws(SessionError) {
    reader.received(count, in: target)
    liveness.received(now: now)
    while true {
      let record: Slice
      do throws(RecordError) {
        guard let next = try reader.nextRecord(pool: &pool) else { return }
        record = next
      } catch {
        throw .record(error)
      }
      defer { pool.release(record) }
      try receiveFrames(of: record, pool: &pool, now: now)
    }
  }

  /// Whether the connection was cut within a record or before the authenticated end.
  public var wasCut: Bool { reader.holdsPartialRecord || !peerEnded }

  private mutating func receiveFrames(
    of record: Slice, pool: inout SlabPool, now: Instant
  ) throws(SessionError) {
    var cursor = FrameCursor(record)
    var isLast = false
    while true {
      let header: FrameHeader
      let payload: Slice
      do throws(FrameError) {
        guard let frame = try cursor.next(pool: pool) else { return }
        (header, payload) = frame
      } catch {
        throw .frame(error)
      }
      // Behind REKEY, a frame would be under the wrong key; behind END, there is nothing to say.
      guard !peerEnded, !isLast else { throw .violation(.afterEnd) }
      isLast = header.type == .rekey || header.type == .end
      counters.framesIn += 1
      try receive(header, payload, pool: &pool, now: now)
    }
  }

  private mutating func receive(
    _ header: FrameHeader, _ payload: Slice, pool: inout SlabPool, now: Instant
  ) throws(SessionError) {
    let id = header.stream
    switch header.type {
    case .data: try receiveData(id, payload, pool: &pool)
    case .datagram, .echo: try receiveDatagram(header, payload, pool: &pool)
    case .ethernet: try receiveEthernet(header, payload, pool: &pool)
    case .window:
      let limit = try value(header, payload, pool: pool)
      guard known(id) else { return }
      if streams[id.slot].send.raise(to: limit) { events.append(.writable(id)) }
    case .finish:
      guard known(id) else { return }
      guard streams[id.slot].isOpen, !streams[id.slot].finishReceived, streams[id.slot].kind.hasCredit else {
        throw .violation(.wrongState(.finish, id))
      }
      streams[id.slot].finishReceived = true
      events.append(.finished(id))
      closeIfFinished(id, pool: &pool)
    case .reset:
      let code = pool.withSpan(payload) { $0.isEmpty ? nil : ResetCode(rawValue: $0[0]) }
      guard known(id) else { return }
      free(id.slot, pool: &pool)
      events.append(.reset(id, code ?? .reset))
    case .open: try receiveOpen(id, payload, pool: pool)
    case .listen: try receiveListen(id, payload, pool: pool)
    case .listening:
      guard role == .link else { throw .violation(.wrongRole(.listening)) }
      let answer: ListenAnswer
      do throws(FrameError) {
        answer = try pool.withSpan(payload) { bytes throws(FrameError) in try ListenAnswer(parsing: bytes) }
      } catch {
        throw .frame(error)
      }
      guard known(id) else { return }
      guard streams[id.slot].phase == .requested, streams[id.slot].listenRequest != nil,
        streams[id.slot].listenAnswer == nil
      else { throw .violation(.wrongState(.listening, id)) }
      streams[id.slot].listenAnswer = answer
      events.append(.listening(id))
    case .opened:
      guard role == .link else { throw .violation(.wrongRole(.opened)) }
      guard known(id) else { return }
      guard streams[id.slot].phase == .requested else { throw .violation(.wrongState(.opened, id)) }
      streams[id.slot].phase = .open
      streams[id.slot].request = nil
      streams[id.slot].listenRequest = nil
      events.append(.opened(id))
      if streams[id.slot].finishQueued || !streams[id.slot].queue.isEmpty { turns.add(id.slot, &streams) }
    case .refused:
      guard role == .link else { throw .violation(.wrongRole(.refused)) }
      let refusal: Refusal
      do throws(FrameError) {
        refusal = try pool.withSpan(payload) { bytes throws(FrameError) in try Refusal(parsing: bytes) }
      } catch {
        throw .frame(error)
      }
      guard known(id) else { return }
      streams[id.slot].refusal = refusal
      counters.streamsRefused += 1
      free(id.slot, pool: &pool)
      events.append(.refused(id))
    case .ping:
      let answer = try value(header, payload, pool: pool)
      // Streams that are being opened have a frame each besides.
      guard controls.count - openCount < limits.controlFrames else { throw .violation(.flooding) }
      controls.append(.pong(answer))
    case .pong:
      let isWanted = liveness.pong(try value(header, payload, pool: pool), now: now)
      if isWanted { controls.append(.ping(liveness.ping(now: now))) }
    case .goAway:
      isEnding = true
      peerGoodbye = pool.withSpan(payload) { bytes in
        String(validating: (0..<bytes.count).map { bytes[$0] }, as: UTF8.self) ?? ""
      }
      events.append(.goingAway)
    case .rekey:
      do throws(RecordError) { try reader.rekey() } catch { throw .record(error) }
    case .end:
      peerEnded = true
      events.append(.ended)
    }
  }

  private mutating func receiveData(_ id: StreamID, _ payload: Slice, pool: inout SlabPool) throws(SessionError) {
    guard known(id) else { return }
    guard streams[id.slot].isOpen, !streams[id.slot].finishReceived, streams[id.slot].kind.isByteStream else {
      throw .violation(.wrongState(.data, id))
    }
    guard streams[id.slot].receive.receive(payload.count) else { throw .violation(.creditExceeded(id)) }
    guard !payload.isEmpty else { return }
    counters.dataFramesIn += 1
    counters.dataBytesIn += UInt64(payload.count)
    pool.retain(payload)
    events.append(.data(id, payload))
  }

  /// Frames of an interface, in messages: none is lost, so that credit counts them as it does bytes. They aren't put
  /// together here: devices take them in pieces.
  private mutating func receiveEthernet(
    _ header: FrameHeader, _ payload: Slice, pool: inout SlabPool
  ) throws(SessionError) {
    let id = header.stream
    guard known(id) else { return }
    guard streams[id.slot].isOpen, !streams[id.slot].finishReceived, streams[id.slot].kind == .ethernet,
      !payload.isEmpty, streams[id.slot].partialCount + payload.count <= EthernetMessage.sizeLimit,
      streams[id.slot].partialPieces < EthernetMessage.pieceLimit
    else { throw .violation(.wrongState(.ethernet, id)) }
    guard streams[id.slot].receive.receive(payload.count) else { throw .violation(.creditExceeded(id)) }
    streams[id.slot].partialCount = header.isContinued ? streams[id.slot].partialCount + payload.count : 0
    streams[id.slot].partialPieces = header.isContinued ? streams[id.slot].partialPieces + 1 : 0
    counters.dataFramesIn += 1
    counters.dataBytesIn += UInt64(payload.count)
    pool.retain(payload)
    events.append(.ethernet(id, payload, isContinued: header.isContinued))
  }

  private mutating func receiveDatagram(
    _ header: FrameHeader, _ payload: Slice, pool: inout SlabPool
  ) throws(SessionError) {
    let id = header.stream
    guard known(id) else { return }
    let isEcho = header.type == .echo
    guard streams[id.slot].kind == (isEcho ? .icmp : .udp) else {
      throw .violation(.wrongState(header.type, id))
    }
    if streams[id.slot].skipsParts {
      streams[id.slot].skipsParts = header.isContinued
      return
    }
    let isFirst = streams[id.slot].partial == nil
    // Identifier and sequence number are in the first part.
    guard !isEcho || !isFirst || payload.count >= 4 else { throw .violation(.wrongState(header.type, id)) }
    // A peer that floods faster than events are taken loses datagrams, as on any network.
    guard events.count < limits.controlFrames else { return dropDatagram(header, pool: &pool) }
    guard header.isContinued || !isFirst else {
      pool.retain(payload)
      counters.dataBytesIn += UInt64(payload.count)
      streams[id.slot].datagramBytesIn &+= UInt64(payload.count)
      events.append(isEcho ? .echo(id, payload) : .datagram(id, payload))
      return
    }
    receivePart(header, payload, isFirst: isFirst, pool: &pool)
  }

  /// No IP datagram is larger (RFC 768, RFC 791 section 3.1).
  private static let largestDatagram = 65_535

  /// A datagram larger than a frame arrives in parts: the only payload that is copied, since a datagram has to leave in
  /// one piece.
  private mutating func receivePart(
    _ header: FrameHeader, _ payload: Slice, isFirst: Bool, pool: inout SlabPool
  ) {
    let id = header.stream
    if isFirst {
      guard partialDatagrams < limits.partialDatagrams,
        let region = pool.reserve(Self.largestDatagram, in: &partLane)
      else { return dropDatagram(header, pool: &pool) }
      streams[id.slot].partial = pool.commit(region, count: Self.largestDatagram, in: &partLane)
      streams[id.slot].partialCount = 0
      partialDatagrams += 1
    }
    let start = streams[id.slot].partialCount
    guard let partial = streams[id.slot].partial, start + payload.count <= Self.largestDatagram else {
      return dropDatagram(header, pool: &pool)
    }
    pool.copyBytes(of: payload, to: partial.range(from: start, count: payload.count))
    let total = start + payload.count
    streams[id.slot].partialCount = total
    guard !header.isContinued else { return }
    streams[id.slot].partial = nil
    partialDatagrams -= 1
    counters.dataBytesIn += UInt64(total)
    streams[id.slot].datagramBytesIn &+= UInt64(total)
    let whole = partial.prefix(total)
    events.append(header.type == .echo ? .echo(id, whole) : .datagram(id, whole))
  }

  /// Drops the datagram that a frame belongs to, all parts of it.
  private mutating func dropDatagram(_ header: FrameHeader, pool: inout SlabPool) {
    let slot = header.stream.slot
    dropPartial(slot, pool: &pool)
    streams[slot].skipsParts = header.isContinued
    counters.datagramsDropped += 1
  }

  /// Lets go of what has come of a datagram.
  mutating func dropPartial(_ slot: Int, pool: inout SlabPool) {
    guard let partial = streams[slot].partial.take() else { return }
    pool.release(partial)
    partialDatagrams -= 1
  }

  private mutating func receiveOpen(
    _ id: StreamID, _ payload: Slice, pool: borrowing SlabPool
  ) throws(SessionError) {
    guard role == .site else { throw .violation(.wrongRole(.open)) }
    let request: OpenRequest
    do throws(FrameError) {
      request = try pool.withSpan(payload) { bytes throws(FrameError) in try OpenRequest(parsing: bytes) }
    } catch {
      throw .frame(error)
    }
    guard try admit(id, request.protocol) else { return }
    streams[id.slot].request = request
    events.append(.openRequested(id))
  }

  private mutating func receiveListen(
    _ id: StreamID, _ payload: Slice, pool: borrowing SlabPool
  ) throws(SessionError) {
    guard role == .site else { throw .violation(.wrongRole(.listen)) }
    let request: ListenRequest
    do throws(FrameError) {
      request = try pool.withSpan(payload) { bytes throws(FrameError) in try ListenRequest(parsing: bytes) }
    } catch {
      throw .frame(error)
    }
    guard try admit(id, .tcp) else { return }
    streams[id.slot].listenRequest = request
    events.append(.listenRequested(id))
  }

  /// Gives a stream that the peer asks for its slot. `false` if it was refused at once.
  private mutating func admit(_ id: StreamID, _ kind: StreamProtocol) throws(SessionError) -> Bool {
    guard id.slot > 0 else { throw .violation(.streamInUse(id)) }
    // Slots are handed out from below: a far one means a peer that doesn't keep to the protocol.
    guard id.slot < SessionLimits.slots else { throw .violation(.flooding) }
    while streams.count <= id.slot { streams.append(StreamState()) }
    guard streams[id.slot].phase == .free else { throw .violation(.streamInUse(id)) }
    start(id.slot, tenant: id.tenant, kind)
    guard openCount <= limits.streams, controls.count < limits.controlFrames else {
      let what = openCount > limits.streams ? "\(limits.streams) streams are open" : "\(controls.count) frames wait"
      streams[id.slot].refusal = Refusal(.tooMany, "\(what) in this session")
      counters.streamsRefused += 1
      controls.append(.refused(id))
      if controls.count > 2 * limits.controlFrames { throw .violation(.flooding) }
      return false
    }
    return true
  }

  private func value(
    _ header: FrameHeader, _ payload: Slice, pool: borrowing SlabPool
  ) throws(SessionError) -> UInt64 {
    guard payload.count == 8 else { throw .frame(.malformed(header.type)) }
    return pool.withSpan(payload) { $0.bigEndian64(at: 0) }
  }

  /// Frames of a stream that was cut here cross with our RESET: they are late, not wrong.
  private mutating func known(_ id: StreamID) -> Bool {
    if contains(id) { return true }
    counters.lateFrames += 1
    return false
  }
}
