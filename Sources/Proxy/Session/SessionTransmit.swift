import Framing
import Primitives

/// The order in which streams get to send: deficit round robin with a list for newcomers (as in RFC 8290 section 4.2).
///
/// A stream that had nothing to send and now has a little is served before those that send in bulk: a PLC
/// poll never waits behind a download.
struct SendTurns {
  private var new = RingQueue<UInt16>(minimumCapacity: 64)
  private var old = RingQueue<UInt16>(minimumCapacity: 64)

  mutating func add(_ slot: Int, _ streams: inout [StreamState]) {
    guard streams[slot].turn == .none else { return }
    streams[slot].turn = .new
    streams[slot].deficit = 0
    new.append(UInt16(slot))
  }

  /// The stream whose turn it is, with its allowance; stays at the front until `pass` or `leave`.
  mutating func next(quantum: Int, _ streams: inout [StreamState]) -> Int? {
    while true {
      let isNew = !new.isEmpty
      guard let slot = (isNew ? new.first : old.first).map(Int.init) else { return nil }
      if streams[slot].deficit <= 0 {
        streams[slot].deficit += quantum
        if isNew { return slot }
      }
      return slot
    }
  }

  /// Its allowance is used up: behind the others.
  mutating func pass(_ slot: Int, _ streams: inout [StreamState]) {
    take(slot, streams[slot].turn)
    streams[slot].turn = .old
    old.append(UInt16(slot))
  }

  /// It has nothing left to send.
  mutating func leave(_ slot: Int, _ streams: inout [StreamState]) {
    take(slot, streams[slot].turn)
    streams[slot].turn = .none
  }

  /// Takes a stream out wherever it stands. Linear: for streams that are cut.
  mutating func remove(_ slot: Int, _ streams: inout [StreamState]) {
    guard streams[slot].turn != .none else { return }
    for position in 0..<new.count where new[position] == UInt16(slot) {
      _ = new.remove(at: position)
      streams[slot].turn = .none
      return
    }
    for position in 0..<old.count where old[position] == UInt16(slot) {
      _ = old.remove(at: position)
      streams[slot].turn = .none
      return
    }
  }

  var isEmpty: Bool { new.isEmpty && old.isEmpty }

  /// Gives memory back that isn't needed any more.
  mutating func trim() -> Bool {
    [new.trim(), old.trim()].contains(true)
  }

  private mutating func take(_ slot: Int, _ turn: StreamState.Turn) {
    if turn == .new { _ = new.popFirst() } else { _ = old.popFirst() }
  }
}

/// The sending half: what waits becomes sealed records, as late as possible, so that small traffic can still
/// overtake.
extension Session {
  /// Whether `fill` would produce anything.
  public var hasOutput: Bool { !controls.isEmpty || !turns.isEmpty || (endQueued && !endSent) }

  /// Payload from this size on starts a record of its own, so that full payload makes full records.
  private static let ownRecordSize = RecordWriter.separateSize

  /// Seals what waits into `output` until it holds `limit` bytes or nothing waits.
  public mutating func fill(
    _ output: inout SliceQueue, limit: Int, pool: inout SlabPool, now: Instant
  ) throws(SessionError) {
    guard !endSent else { return }
    do throws(RecordError) {
      fillControls: while let control = controls.first {
        if writer.room < Self.controlSize { try seal(into: &output, pool: &pool, now: now) }
        guard write(control, pool: &pool) else { break fillControls }
        counters.framesOut += 1
        _ = controls.popFirst()
      }
      while output.byteCount < limit, let slot = turns.next(quantum: limits.quantum, &streams) {
        guard try serve(slot, into: &output, limit: limit, pool: &pool, now: now) else { break }
      }
      if endQueued, controls.isEmpty, turns.isEmpty {
        if writer.room < 0 { try seal(into: &output, pool: &pool, now: now) }
        if writer.add(.end, .session, bytes: Span<UInt8>(), pool: &pool) { endSent = true }
      }
      try seal(into: &output, pool: &pool, now: now)
    } catch {
      throw .record(error)
    }
  }

  private static let controlSize = 256

  private mutating func seal(
    into output: inout SliceQueue, pool: inout SlabPool, now: Instant
  ) throws(RecordError) {
    guard !writer.isEmpty else { return }
    // Nothing follows END, in its record or behind it.
    if !endSent, writer.needsRekey(now: now), writer.room >= 0 { _ = writer.addRekey(pool: &pool) }
    try writer.seal(into: &output, pool: &pool, now: now)
    // Full records have no room for REKEY, and in bulk there are no others: then it has a record of its own.
    guard !endSent, writer.needsRekey(now: now), writer.addRekey(pool: &pool) else { return }
    try writer.seal(into: &output, pool: &pool, now: now)
  }

  /// Serves one stream up to its allowance. `false` when the pool is exhausted.
  private mutating func serve(
    _ slot: Int, into output: inout SliceQueue, limit: Int, pool: inout SlabPool, now: Instant
  ) throws(RecordError) -> Bool {
    let id = StreamID(slot: slot, tenant: streams[slot].tenant)
    // Payload waits for OPENED; datagrams don't.
    guard streams[slot].isOpen || !streams[slot].kind.isByteStream else {
      turns.leave(slot, &streams)
      return true
    }
    let type: FrameType =
      switch streams[slot].kind {
      case .tcp, .discovery, .capture: .data
      case .udp: .datagram
      case .icmp: .echo
      case .ethernet: .ethernet
      }
    while let slice = streams[slot].queue.first {
      guard streams[slot].deficit > 0 else {
        turns.pass(slot, &streams)
        return true
      }
      guard output.byteCount < limit else { return true }
      let isWhole = type != .data && slice.count <= FrameHeader.maximumPayload
      var count = min(slice.count, FrameHeader.maximumPayload)
      if count > writer.room || (count >= Self.ownRecordSize && !writer.isEmpty) {
        // A piece that fills up a record is fine unless it must stay whole or deserves its own.
        if isWhole || count >= Self.ownRecordSize || writer.room <= 0 {
          try seal(into: &output, pool: &pool, now: now)
        }
        count = min(count, writer.room)
      }
      let part = slice.prefix(count)
      let isLast = count == slice.count
      if !isLast { pool.retain(part) }
      guard writer.add(type, id, payload: part, isContinued: type != .data && !isLast, pool: &pool) else {
        if !isLast { pool.release(part) }
        return false
      }
      if isLast {
        _ = streams[slot].queue.popFirst()
      } else {
        streams[slot].queue[0] = slice.dropping(count)
      }
      streams[slot].queuedBytes -= count
      streams[slot].deficit -= count + FrameHeader.size
      counters.framesOut += 1
      counters.dataFramesOut += 1
      counters.dataBytesOut += UInt64(count)
    }
    if streams[slot].finishQueued, !streams[slot].finishSent {
      if writer.room < 0 { try seal(into: &output, pool: &pool, now: now) }
      guard writer.add(.finish, id, bytes: Span<UInt8>(), pool: &pool) else { return false }
      counters.framesOut += 1
      streams[slot].finishSent = true
    }
    turns.leave(slot, &streams)
    closeIfFinished(id, pool: &pool)
    return true
  }

  /// `false` when the pool is exhausted. A frame of a stream that is gone is skipped.
  private mutating func write(_ control: ControlFrame, pool: inout SlabPool) -> Bool {
    switch control {
    case .open(let id):
      guard contains(id), let request = streams[id.slot].request else { return true }
      return writer.add(.open, id, bytes: request.bytes.span, pool: &pool)
    case .listen(let id):
      guard contains(id), let request = streams[id.slot].listenRequest else { return true }
      return writer.add(.listen, id, bytes: request.bytes.span, pool: &pool)
    case .listening(let id):
      guard contains(id), let answer = streams[id.slot].listenAnswer else { return true }
      return writer.add(.listening, id, bytes: answer.bytes.span, pool: &pool)
    case .opened(let id):
      return !contains(id) || writer.add(.opened, id, bytes: Span<UInt8>(), pool: &pool)
    case .refused(let id):
      guard contains(id) else { return true }
      let refusal = streams[id.slot].refusal ?? Refusal(.siteError)
      guard writer.add(.refused, id, bytes: refusal.bytes.span, pool: &pool) else { return false }
      free(id.slot, pool: &pool)
      return true
    case .window(let id):
      guard contains(id) else { return true }
      streams[id.slot].windowQueued = false
      return writer.add(.window, id, value: streams[id.slot].receive.announce(), pool: &pool)
    case .reset(let id, let code):
      let byte = [code.rawValue]
      return writer.add(.reset, id, bytes: byte.span, pool: &pool)
    case .ping(let value): return writer.add(.ping, .session, value: value, pool: &pool)
    case .pong(let value): return writer.add(.pong, .session, value: value, pool: &pool)
    case .goAway:
      let text = Array(goAwayText.utf8.prefix(200))
      return writer.add(.goAway, .session, bytes: text.span, pool: &pool)
    }
  }
}
