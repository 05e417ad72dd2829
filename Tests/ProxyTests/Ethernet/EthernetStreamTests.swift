import Framing
import Packet
import Primitives
import Testing
import Tun

@testable import Proxy

/// Messages with frames through two sessions whose bytes are cut anywhere.
struct EthernetStreamTests {
  private func opened(_ pair: inout SessionPair) throws -> StreamID {
    let id = try pair.link.open(OpenRequest(agent: "cell", protocol: .ethernet), tag: 7)
    while try pair.exchange() > 0 {}
    while let event = pair.site.nextEvent() {
      if case .openRequested(let asked) = event {
        #expect(pair.site.request(of: asked)?.protocol == .ethernet)
        pair.site.accept(asked)
      }
    }
    while try pair.exchange() > 0 {}
    while pair.link.nextEvent() != nil {}
    return id
  }

  @Test func `messages of any size arrive whole and in order, within credit`() throws {
    var pair = try SessionPair(seed: 4)
    let id = try opened(&pair)
    var random = SeededRandom(seed: 9)
    var sent: [[UInt8]] = []
    var received: [[UInt8]] = []
    var open: [UInt8] = []
    var stalls = 0
    while received.count < 300 {
      while sent.count < 300, pair.link.sendCredit(id) >= EthernetMessage.wantedCredit {
        let size = random.chance(0.3) ? EthernetMessage.sizeLimit : 1 + Int(random.next() % 3000)
        let bytes = [UInt8](repeating: UInt8(truncatingIfNeeded: sent.count), count: size)
        try pair.link.send(id, pair.slice(bytes), pool: &pair.pool)
        sent.append(bytes)
      }
      if sent.count < 300 { stalls += 1 }
      _ = try pair.exchange()
      while let event = pair.site.nextEvent() {
        guard case .ethernet(id, let slice, let isContinued) = event else { continue }
        open += pair.pool.array(slice)
        pair.pool.release(slice)
        pair.site.consumed(id, slice.count, now: pair.now)
        if !isContinued {
          received.append(open)
          open = []
        }
      }
      while pair.link.nextEvent() != nil {}
    }
    #expect(received == sent)
    #expect(stalls > 5)
    #expect(pair.link.status(of: id)?.bytesOut == UInt64(sent.reduce(0) { $0 + $1.count }))
    let left = pair.close()
    #expect(left == 0)
  }

  /// Each piece may hold a slab for as long as its message isn't whole.
  @Test func `a message in many small pieces ends the session`() throws {
    var pair = try SessionPair(seed: 6)
    let id = try opened(&pair)
    for piece in 0...EthernetMessage.pieceLimit {
      let slice = pair.slice([UInt8(piece)])
      let isAdded = pair.link.writer.add(.ethernet, id, payload: slice, isContinued: true, pool: &pair.pool)
      #expect(isAdded)
    }
    try pair.link.writer.seal(into: &pair.linkOutput, pool: &pair.pool, now: pair.now)
    #expect(throws: SessionError.violation(.wrongState(.ethernet, id))) { while try pair.exchange() > 0 {} }
    while let event = pair.site.nextEvent() {
      if case .ethernet(_, let slice, isContinued: _) = event { pair.pool.release(slice) }
    }
    let left = pair.close()
    #expect(left == 0)
  }

  @Test func `the end of both directions closes the stream`() throws {
    var pair = try SessionPair(seed: 5)
    let id = try opened(&pair)
    pair.link.finish(id)
    while try pair.exchange() > 0 {}
    #expect(pair.site.nextEvent() == .finished(id))
    pair.site.finish(id)
    while try pair.exchange() > 0 {}
    #expect(pair.site.nextEvent() == .closed(id))
    var events: [SessionEvent] = []
    while let event = pair.link.nextEvent() { events.append(event) }
    #expect(events == [.finished(id), .closed(id)])
    let left = pair.close()
    #expect(left == 0)
  }

  @Test func `frames on a stream of another kind, empty ones and messages without end are violations`() throws {
    for count in [0, EthernetMessage.sizeLimit + 1] {
      var pair = try SessionPair(seed: 6)
      let id = try opened(&pair)
      if count > 0 {
        // Longer than any message, though within credit.
        try pair.link.send(id, pair.slice([UInt8](repeating: 1, count: count)), pool: &pair.pool)
        #expect(throws: SessionError.violation(.wrongState(.ethernet, id))) { while try pair.exchange() > 0 {} }
      } else {
        try pair.link.send(id, pair.slice([]), pool: &pair.pool)
        #expect(throws: SessionError.violation(.wrongState(.ethernet, id))) { while try pair.exchange() > 0 {} }
      }
      _ = pair.close()
    }
  }
}
