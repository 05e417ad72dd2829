import Framing
import Primitives

/// What gives way when memory is short: the slowest reader's stream, and not the whole session; and what is given back
/// once it isn't needed any more.
///
/// Payload that nobody reads holds slabs. A session that stopped reading for their sake would stop every stream, and
/// miss the answers to its pings as well.
extension Session {
  /// The stream with the most bytes that were received and not consumed; `nil` if none holds any. Linear.
  public var slowestReader: StreamID? {
    var slowest: Int?
    for slot in streams.indices where streams[slot].phase != .free && streams[slot].receive.held > 0 {
      if slowest.map({ streams[slot].receive.held > streams[$0].receive.held }) ?? true { slowest = slot }
    }
    return slowest.map { StreamID(slot: $0, tenant: streams[$0].tenant) }
  }

  /// Resets `slowestReader`, if there is one. Linear: for when memory is pressed.
  ///
  /// - Returns: whether a stream was cut; its `reset` event follows.
  public mutating func resetSlowestReader(pool: inout SlabPool) -> Bool {
    guard let id = slowestReader else { return false }
    resetSlowReader(id, pool: &pool)
    return true
  }

  /// Cuts a stream whose reader holds too much. The peer is told, and this end's owner by a `reset` event with
  /// `ResetCode.limit`, which is to drop what it holds.
  public mutating func resetSlowReader(_ id: StreamID, pool: inout SlabPool) {
    guard contains(id) else { return }
    reset(id, .limit, pool: &pool)
    counters.slowReadersReset += 1
    events.append(.reset(id, .limit))
  }

  /// Gives back the memory of many streams once most have ended. For a timer.
  ///
  /// - Returns: whether there was any.
  public mutating func trim() -> Bool {
    let isQueueTrimmed = [events.trim(), controls.trim(), turns.trim()].contains(true)
    // Slot 0 is the session's own.
    let used = max(1, Trimming.count(openCount + 1, of: streams.count) { streams[$0].phase == .free })
    guard used < streams.count else { return isQueueTrimmed }
    if role == .link {
      while pastTenants.count < streams.count { pastTenants.append(0) }
      for slot in used..<streams.count { pastTenants[slot] = streams[slot].tenant }
      freeSlots = freeSlots.filter { Int($0) < used }
    }
    streams = Trimming.copy(streams, used)
    return true
  }
}
