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
