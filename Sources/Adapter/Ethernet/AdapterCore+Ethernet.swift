import Framing
import Primitives
import Proxy

/// What streams of frames have to tell whoever owns their devices. In the order in which it came.
enum EthernetEvent {
  case opened(SlotID)
  /// Takes along the slice's reference.
  case piece(SlotID, Slice, isContinued: Bool)
  case writable(SlotID)
  /// The stream is gone; why, and whether for a loop.
  case ended(SlotID, String, isLoop: Bool)
}

/// Streams of Ethernet frames: the core joins them with the owner's devices, and knows neither.
extension AdapterCore {
  /// Asks the site for a stream.
  ///
  /// - Parameter link: the owner's own name for what stands at this end.
  /// - Returns: the stream's name.
  mutating func openEthernet(_ link: SlotID, _ alias: AgentAlias, now: Instant) throws(Framing.Refusal) -> SlotID {
    let request = OpenRequest(agent: alias.agent.name, protocol: .ethernet)
    return try open(.ethernet(link), alias, request, from: nil, .unspecified, now: now)
  }

  func frameCredit(_ id: SlotID) -> Int {
    bindings.contains(id) ? sites[bindings[id].site].peer.session.sendCredit(bindings[id].stream) : 0
  }

  /// Sends a message; takes over the slice's reference.
  mutating func sendFrame(_ message: Slice, from id: SlotID) {
    guard bindings.contains(id) else {
      pool.release(message)
      return
    }
    let (site, stream) = (bindings[id].site, bindings[id].stream)
    try? sites[site].peer.session.send(stream, message, pool: &pool)
  }

  /// The device has taken so many bytes of the stream.
  mutating func consumedFrame(_ id: SlotID, _ count: Int, now: Instant) {
    guard bindings.contains(id) else { return }
    let (site, stream) = (bindings[id].site, bindings[id].stream)
    sites[site].peer.session.consumed(stream, count, now: now)
  }

  /// Cuts a stream from this end; no event follows.
  mutating func cutEthernet(_ id: SlotID, _ code: ResetCode, _ end: FlowEnd, now: Instant) {
    guard bindings.contains(id) else { return }
    let (site, stream) = (bindings[id].site, bindings[id].stream)
    sites[site].peer.session.reset(stream, code, pool: &pool)
    unbind(id, end, now: now)
  }

  /// Tells of frames that were refused.
  mutating func reportRefusal(_ reason: String, _ id: SlotID, now: Instant) {
    guard bindings.contains(id) else { return }
    report(.denied(reason), bindings[id], now: now)
  }

  mutating func nextEthernetEvent() -> EthernetEvent? { ethernetEvents.popFirst() }

  mutating func dropEthernetEvents() {
    while let event = ethernetEvents.popFirst() {
      if case .piece(_, let slice, isContinued: _) = event { pool.release(slice) }
    }
  }
}
