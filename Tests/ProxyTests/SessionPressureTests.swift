import Framing
import Primitives
import Testing

@testable import Proxy

@Suite struct SessionPressureTests {
  @Test func theSlowestReaderIsCutAndTheOthersGoOn() throws {
    var pair = try SessionPair(seed: 41)
    let ids = try (0..<4).map { _ in try open(&pair) }
    var none = pair.site.resetSlowestReader(pool: &pair.pool)
    #expect(!none, "nobody holds anything")
    var held: [StreamID: [Slice]] = [:]
    for (index, id) in ids.enumerated() {
      let bytes = [UInt8](repeating: 1, count: [1000, 90_000, 50_000, 0][index])
      try pair.link.send(id, pair.slice(bytes), pool: &pair.pool)
    }
    for _ in 0..<10 { _ = try pair.exchange() }
    while let event = pair.site.nextEvent() {
      if case .data(let id, let slice) = event { held[id, default: []].append(slice) }
    }
    // The second reader has taken most of its bytes: what counts is what is left.
    pair.site.consumed(ids[1], 60_000, now: pair.now)
    for expected in [ids[2], ids[1], ids[0]] {
      let slowest = pair.site.slowestReader
      #expect(slowest == expected)
      let hasCut = pair.site.resetSlowestReader(pool: &pair.pool)
      #expect(hasCut)
      #expect(pair.site.nextEvent() == .reset(expected, .limit))
      for slice in held[expected] ?? [] { pair.pool.release(slice) }
    }
    none = pair.site.resetSlowestReader(pool: &pair.pool)
    #expect(!none)
    #expect(pair.site.counters.slowReadersReset == 3)
    _ = try pair.exchange()
    var resets: [StreamID] = []
    while let event = pair.link.nextEvent() {
      if case .reset(let id, .limit) = event { resets.append(id) }
    }
    #expect(resets == [ids[2], ids[1], ids[0]])
    #expect(pair.site.contains(ids[3]) == true)
    #expect(pair.close() == 0)
  }

  /// Opens streams until `count` are open, accepted by the site, with all events taken.
  private func flood(_ pair: inout SessionPair, _ count: Int) throws -> [StreamID] {
    var ids: [StreamID] = []
    for _ in 0..<count {
      ids.append(try pair.link.open(OpenRequest(agent: "x", transport: .udp, port: 1), tag: 7))
    }
    _ = try pair.exchange()
    while let event = pair.site.nextEvent() {
      if case .openRequested(let id) = event { pair.site.accept(id) }
    }
    _ = try pair.exchange()
    while pair.link.nextEvent() != nil {}
    return ids
  }

  @Test func aFloodThatHasDrainedLeavesNoMemoryAndNoNames() throws {
    var pair = try SessionPair(seed: 44)
    let first = try flood(&pair, 3000)
    #expect(Set(first).count == 3000)
    var gaveBack = [pair.link.trim(), pair.site.trim()]
    #expect(gaveBack == [false, false], "all are open")
    for id in first.dropFirst(10) { pair.link.reset(id, .limit, pool: &pair.pool) }
    _ = try pair.exchange()
    while pair.site.nextEvent() != nil {}
    gaveBack = [pair.link.trim(), pair.site.trim()]
    #expect(gaveBack == [true, true])
    gaveBack = [pair.link.trim(), pair.site.trim()]
    #expect(gaveBack == [false, false], "nothing is left to give")
    let slots = [pair.link.streams.count, pair.site.streams.count]
    #expect(slots == [11, 11])
    // Late words about streams of the first flood mean none of the second's, which are in their places.
    let second = try flood(&pair, 2990)
    #expect(Set(second).isDisjoint(with: first))
    #expect(Set(second.map(\.slot)) == Set(first.dropFirst(10).map(\.slot)))
    for id in first.prefix(10) + second {
      guard pair.link.contains(id), pair.site.contains(id) else {
        Issue.record("\(id) isn't open")
        break
      }
    }
    let count = pair.link.streamCount
    #expect(count == 3000)
    #expect(pair.close() == 0)
  }

  @Test func tooManyStreamsAreRefusedAndFarSlotsEndTheSession() throws {
    var pair = try SessionPair(seed: 45)
    _ = try flood(&pair, pair.link.limits.streams)
    #expect(throws: Refusal.self) {
      _ = try pair.link.open(OpenRequest(agent: "x", transport: .tcp, port: 1), tag: 0)
    }
    _ = pair.close()
    // A peer with more streams than this end has room for.
    var small = SessionLimits()
    small.streams = 10
    var other = try SessionPair(seed: 46, limits: small, linkLimits: SessionLimits())
    for _ in 0..<12 { _ = try other.link.open(OpenRequest(agent: "x", transport: .tcp, port: 1), tag: 0) }
    _ = try other.exchange()
    _ = try other.exchange()
    var refused = 0
    while let event = other.link.nextEvent() {
      if case .refused(let id) = event, other.link.refusal(of: id)?.reason == .tooMany { refused += 1 }
    }
    #expect(refused == 2)
    // And one that names slots which nobody can have come to.
    let far = StreamID(slot: SessionLimits.slots, tenant: 1)
    let request = OpenRequest(agent: "x", transport: .tcp, port: 1).bytes
    _ = other.link.writer.add(.open, far, bytes: request.span, pool: &other.pool)
    try other.link.writer.seal(into: &other.linkOutput, pool: &other.pool, now: other.now)
    #expect(throws: SessionError.violation(.flooding)) { try other.exchange() }
    _ = other.close()
  }

  @Test func anEthernetFrameIsAlwaysAViolation() throws {
    for transport in TransportProtocol.allCases {
      var pair = try SessionPair(seed: 42)
      let id = try pair.link.open(OpenRequest(agent: "x", transport: transport, port: 1), tag: 0)
      _ = try pair.exchange()
      pair.site.accept(id)
      _ = pair.link.writer.add(.ethernet, id, bytes: [1, 2, 3, 4, 5].span, pool: &pair.pool)
      try pair.link.writer.seal(into: &pair.linkOutput, pool: &pair.pool, now: pair.now)
      #expect(throws: SessionError.violation(.wrongState(.ethernet, id))) { try pair.exchange() }
      _ = pair.close()
    }
  }

  @Test func aDatagramFlowHasNoEnd() throws {
    var pair = try SessionPair(seed: 43)
    let id = try pair.link.open(OpenRequest(agent: "x", transport: .udp, port: 1), tag: 0)
    _ = try pair.exchange()
    pair.site.accept(id)
    pair.link.finish(id)
    #expect(throws: SessionError.violation(.wrongState(.finish, id))) {
      for _ in 0..<3 { _ = try pair.exchange() }
    }
    _ = pair.close()
  }

  private func open(_ pair: inout SessionPair) throws -> StreamID {
    let id = try pair.link.open(OpenRequest(agent: "a", transport: .tcp, port: 1), tag: 0)
    _ = try pair.exchange()
    pair.site.accept(id)
    _ = try pair.exchange()
    while pair.site.nextEvent() != nil {}
    while pair.link.nextEvent() != nil {}
    return id
  }
}
