import Framing
import Primitives
import Testing

@testable import Proxy

@Suite struct SessionTests {
  static let web = OpenRequest(agent: "web", transport: .tcp, port: 80)

  @Test func opensCarriesBothWaysAndCloses() throws {
    for seed in 0..<4 as Range<UInt64> {
      var pair = try SessionPair(seed: seed)
      let id = try pair.link.open(Self.web, tag: 7)
      var random = SeededRandom(seed: seed &+ 100)
      let up = (0..<1_000_000).map { _ in UInt8(truncatingIfNeeded: random.next()) }
      let down = up.map { $0 ^ 0x5A }
      var sentUp = 0
      var sentDown = 0
      var gotUp: [UInt8] = []
      var gotDown: [UInt8] = []
      var isOpen = false
      var closed = 0
      for _ in 0..<100_000 where closed < 2 {
        while let event = pair.link.nextEvent() {
          switch event {
          case .opened(id): isOpen = true
          case .data(id, let slice):
            gotDown += pair.pool.array(slice)
            pair.pool.release(slice)
            pair.link.consumed(id, slice.count, now: pair.now)
          case .closed(id): closed += 1
          default: break
          }
        }
        while let event = pair.site.nextEvent() {
          switch event {
          case .openRequested(id):
            #expect(pair.site.request(of: id) == Self.web)
            pair.site.accept(id)
          case .data(id, let slice):
            gotUp += pair.pool.array(slice)
            pair.pool.release(slice)
            pair.site.consumed(id, slice.count, now: pair.now)
          case .closed(id): closed += 1
          default: break
          }
        }
        if isOpen {
          let upCount = min(pair.link.sendCredit(id), up.count - sentUp, 65_160)
          if upCount > 0 {
            try pair.link.send(id, pair.slice(Array(up[sentUp..<sentUp + upCount])), pool: &pair.pool)
            sentUp += upCount
            if sentUp == up.count { pair.link.finish(id) }
          }
          let downCount = min(pair.site.sendCredit(id), down.count - sentDown, 1 + Int(pair.random.next() % 70_000))
          if downCount > 0 {
            try pair.site.send(id, pair.slice(Array(down[sentDown..<sentDown + downCount])), pool: &pair.pool)
            sentDown += downCount
            if sentDown == down.count { pair.site.finish(id) }
          }
        }
        _ = try pair.exchange()
      }
      #expect(gotUp == up, "seed \(seed)")
      #expect(gotDown == down, "seed \(seed)")
      #expect(closed == 2)
      #expect(pair.link.streamCount == 0)
      #expect(pair.site.streamCount == 0)
      #expect(pair.close() == 0)
    }
  }

  @Test func refusalCarriesItsReason() throws {
    var pair = try SessionPair(seed: 1)
    let id = try pair.link.open(Self.web, tag: 3)
    _ = try pair.exchange()
    #expect(pair.site.nextEvent() == .openRequested(id))
    pair.site.refuse(id, Refusal(.portNotPermitted, "agent web permits tcp 443"), pool: &pair.pool)
    _ = try pair.exchange()
    #expect(pair.link.nextEvent() == .refused(id))
    #expect(pair.link.refusal(of: id) == Refusal(.portNotPermitted, "agent web permits tcp 443"))
    #expect(pair.link.tag(of: id) == 3)
    #expect(pair.link.streamCount == 0)
    #expect(pair.site.streamCount == 0)
    #expect(pair.close() == 0)
  }

  @Test func resetOvertakesWhatWaits() throws {
    var pair = try SessionPair(seed: 2)
    let id = try openStream(&pair)
    try pair.link.send(id, pair.slice(Array(repeating: 1, count: 100_000)), pool: &pair.pool)
    pair.link.reset(id, .timedOut, pool: &pair.pool)
    _ = try pair.exchange()
    #expect(pair.site.nextEvent() == .reset(id, .timedOut))
    #expect(pair.close() == 0)
  }

  @Test func smallTrafficOvertakesBulk() throws {
    var pair = try SessionPair(seed: 3)
    let bulk = try openStream(&pair)
    let poll = try openStream(&pair)
    for _ in 0..<4 {
      try pair.link.send(bulk, pair.slice(Array(repeating: 1, count: 65_000)), pool: &pair.pool)
    }
    try pair.link.fill(&pair.linkOutput, limit: 64 * 1024, pool: &pair.pool, now: pair.now)
    try pair.link.send(poll, pair.slice(Array(repeating: 2, count: 12)), pool: &pair.pool)
    _ = try pair.exchange()
    var before = 0
    while let event = pair.site.nextEvent() {
      if case .data(let id, let slice) = event {
        pair.pool.release(slice)
        if id == poll { break }
        before += slice.count
      }
    }
    #expect(before <= 140_000)
    #expect(pair.close() == 0)
  }

  @Test func moreThanTheCreditIsAViolation() throws {
    var pair = try SessionPair(seed: 4)
    let id = try openStream(&pair)
    #expect(pair.link.sendCredit(id) == SessionLimits.initialWindow)
    #expect(throws: SessionError.misuse("more payload than the stream's credit")) {
      try pair.link.send(id, pair.slice(Array(repeating: 0, count: 200_000)), pool: &pair.pool)
      try pair.link.send(id, pair.slice(Array(repeating: 0, count: 200_000)), pool: &pair.pool)
    }
    _ = pair.close()
  }

  @Test func datagramsOfAnySizeArriveWhole() throws {
    var pair = try SessionPair(seed: 5)
    let id = try pair.link.open(OpenRequest(agent: "dns", transport: .udp, port: 53), tag: 0)
    for size in [1, 512, 16_376, 16_377, 65_507] {
      let bytes = (0..<size).map { UInt8(truncatingIfNeeded: $0) }
      pair.link.sendDatagram(id, pair.slice(bytes), pool: &pair.pool)
      _ = try pair.exchange()
      while let event = pair.site.nextEvent() {
        guard case .datagram(id, let slice) = event else { continue }
        #expect(pair.pool.array(slice) == bytes)
        pair.pool.release(slice)
      }
    }
    #expect(pair.close() == 0)
  }

  @Test func keysChangeUnderway() throws {
    var limits = SessionLimits()
    limits.rekey = RekeyPolicy(records: 5)
    var pair = try SessionPair(seed: 6, limits: limits)
    let id = try openStream(&pair)
    for round in 0..<60 {
      let bytes = Array(repeating: UInt8(round), count: 1000)
      try pair.link.send(id, pair.slice(bytes), pool: &pair.pool)
      _ = try pair.exchange()
      var got: [UInt8] = []
      while let event = pair.site.nextEvent() {
        guard case .data(id, let slice) = event else { continue }
        got += pair.pool.array(slice)
        pair.pool.release(slice)
      }
      #expect(got == bytes)
    }
    #expect(pair.link.recordsSealed > 60)
    #expect(pair.close() == 0)
  }

  /// In bulk each record is full and has no room for REKEY behind its payload.
  @Test(arguments: [2, 3, 5] as [UInt64]) func keysChangeBetweenFullRecords(records: UInt64) throws {
    var limits = SessionLimits()
    limits.rekey = RekeyPolicy(records: records)
    var pair = try SessionPair(seed: 11, limits: limits)
    let id = try openStream(&pair)
    let bytes = (0..<FrameHeader.maximumPayload * 15).map { UInt8(truncatingIfNeeded: $0 / 7) }
    try pair.link.send(id, pair.slice(bytes), pool: &pair.pool)
    _ = try pair.exchange()
    var got: [UInt8] = []
    while let event = pair.site.nextEvent() {
      guard case .data(id, let slice) = event else { continue }
      got += pair.pool.array(slice)
      pair.pool.release(slice)
    }
    #expect(got == bytes)
    #expect(pair.close() == 0)
  }

  /// END is the last of all, also where the key is due for replacement just then.
  @Test(arguments: 2..<12 as Range<UInt64>) func noKeyChangesBehindTheEnd(records: UInt64) throws {
    var limits = SessionLimits()
    limits.rekey = RekeyPolicy(records: records)
    var pair = try SessionPair(seed: records, limits: limits)
    let id = try openStream(&pair)
    try pair.link.send(id, pair.slice([UInt8](repeating: 1, count: 100)), pool: &pair.pool)
    pair.link.end("done")
    pair.site.end("done")
    for _ in 0..<5 { _ = try pair.exchange() }
    let isFinished = (pair.link.isFinished, pair.site.isFinished)
    #expect(isFinished == (true, true))
    while let event = pair.site.nextEvent() {
      if case .data(_, let slice) = event { pair.pool.release(slice) }
    }
    #expect(pair.close() == 0)
  }

  @Test func everyChangedByteEndsTheSession() throws {
    for position in [0, 1, 3, 4, 5, 12, 20, 40] {
      var pair = try SessionPair(seed: 7)
      _ = try pair.link.open(Self.web, tag: 0)
      pair.tamper = { bytes in
        if position < bytes.count { bytes[position] ^= 0x40 }
      }
      var failure: SessionError?
      do throws(SessionError) {
        for _ in 0..<4 { _ = try pair.exchange() }
      } catch {
        failure = error
      }
      // A changed length may leave the reader waiting for more, which the missing end then tells.
      let wasCut = pair.site.wasCut
      #expect(failure != nil || wasCut, "position \(position)")
      _ = pair.close()
    }
  }

  @Test func nothingFollowsRekeyInItsRecord() throws {
    var pair = try SessionPair(seed: 10)
    _ = pair.link.writer.add(.rekey, .session, bytes: Span<UInt8>(), pool: &pair.pool)
    _ = pair.link.writer.add(.ping, .session, value: 1, pool: &pair.pool)
    try pair.link.writer.seal(into: &pair.linkOutput, pool: &pair.pool, now: pair.now)
    #expect(throws: SessionError.violation(.afterEnd)) { _ = try pair.exchange() }
    _ = pair.close()
  }

  @Test func silenceIsNoticedAndAnsweredPingsAreNot() throws {
    var pair = try SessionPair(seed: 8)
    for _ in 0..<10 {
      pair.now = pair.now + .seconds(5)
      try pair.link.handleTimeout(now: pair.now)
      try pair.site.handleTimeout(now: pair.now)
      _ = try pair.exchange()
      _ = try pair.exchange()
    }
    #expect(pair.link.roundTrip != nil)
    // Pings go out, and nothing comes back.
    #expect(throws: SessionError.peerSilent(.seconds(15))) {
      for _ in 0..<100 {
        guard let deadline = pair.link.nextDeadline else { return }
        try pair.link.handleTimeout(now: deadline)
      }
    }
    _ = pair.close()
  }

  @Test func theEndIsAuthenticated() throws {
    var pair = try SessionPair(seed: 9)
    pair.link.end("done")
    _ = try pair.exchange()
    var events: [SessionEvent] = []
    while let event = pair.site.nextEvent() { events.append(event) }
    #expect(events == [.goingAway, .ended])
    #expect(pair.site.peerGoodbye == "done")
    let cuts = (pair.site.wasCut, pair.link.wasCut)
    #expect(cuts == (false, true))
    #expect(pair.close() == 0)
  }

  private func openStream(_ pair: inout SessionPair) throws -> StreamID {
    let id = try pair.link.open(Self.web, tag: 0)
    _ = try pair.exchange()
    while let event = pair.site.nextEvent() {
      if case .openRequested(let id) = event { pair.site.accept(id) }
    }
    _ = try pair.exchange()
    while let event = pair.link.nextEvent() {
      if event == .opened(id) { return id }
    }
    Issue.record("not opened")
    return id
  }
}
