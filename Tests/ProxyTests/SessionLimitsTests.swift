import Crypto
import Framing
import Primitives
import Testing

@testable import Proxy

/// What happens at each bound of a session: a typed refusal or a drop, a counter, and nothing that grows.
@Suite struct SessionLimitsTests {
  private static let request = OpenRequest(agent: "a", transport: .tcp, port: 1)

  private func open(_ pair: inout SessionPair, _ transport: TransportProtocol = .tcp) throws -> StreamID {
    let id = try pair.link.open(OpenRequest(agent: "a", transport: transport, port: 1), tag: 0)
    _ = try pair.exchange()
    pair.site.accept(id)
    _ = try pair.exchange()
    while pair.site.nextEvent() != nil {}
    while pair.link.nextEvent() != nil {}
    return id
  }

  /// Takes what has arrived at the site for a stream, and drops the rest.
  private func take(_ pair: inout SessionPair, of id: StreamID) -> Int {
    var count = 0
    while let event = pair.site.nextEvent() {
      switch event {
      case .data(let from, let slice), .datagram(let from, let slice), .echo(let from, let slice):
        if from == id { count += slice.count }
        pair.pool.release(slice)
      default: break
      }
    }
    return count
  }

  // MARK: Windows

  @Test func aStreamBeginsWithItsWindowAndNotAByteMore() throws {
    var pair = try SessionPair(seed: 1)
    let (id, other) = (try open(&pair), try open(&pair))
    #expect(throws: SessionError.misuse("more payload than the stream's credit")) {
      try pair.link.send(id, pair.slice([UInt8](repeating: 1, count: 250_000)), pool: &pair.pool)
      try pair.link.send(id, pair.slice([UInt8](repeating: 1, count: 20_000)), pool: &pair.pool)
    }
    for _ in 0..<4 { _ = try pair.exchange() }
    #expect(take(&pair, of: id) == 250_000)
    // The other streams have theirs.
    try pair.link.send(other, pair.slice([7]), pool: &pair.pool)
    _ = try pair.exchange()
    #expect(take(&pair, of: other) == 1)
    // A peer that doesn't keep to it ends its session.
    let rest = pair.slice([UInt8](repeating: 1, count: SessionLimits.initialWindow - 250_000 + 1))
    var left = rest
    while left.count > 0 {
      let part = left.prefix(min(left.count, 10_000))
      pair.pool.retain(part)
      _ = pair.link.writer.add(.data, id, payload: part, pool: &pair.pool)
      try pair.link.writer.seal(into: &pair.linkOutput, pool: &pair.pool, now: pair.now)
      left = left.dropping(part.count)
    }
    pair.pool.release(rest)
    #expect(throws: SessionError.violation(.creditExceeded(id))) { try pair.exchange() }
    #expect(pair.close() == 0)
  }

  /// Windows grow while their readers keep up, to the largest; and all of them together to the session's budget.
  @Test func windowsGrowToTheirBounds() throws {
    var limits = SessionLimits()
    limits.maximumWindow = 1 << 20
    limits.memoryBudget = 3 << 20
    var pair = try SessionPair(seed: 2, limits: limits)
    let ids = try (0..<4).map { _ in try open(&pair) }
    // No time passes: their readers are as fast as can be.
    let now = pair.now
    for _ in 0..<200 {
      pair.now = now
      for id in ids {
        while pair.link.sendCredit(id) > 0, pair.link.queuedBytes(id) < 512 << 10 {
          let count = min(pair.link.sendCredit(id), 65_000)
          try pair.link.send(id, pair.slice([UInt8](repeating: 1, count: count)), pool: &pair.pool)
        }
      }
      _ = try pair.exchange()
      while let event = pair.site.nextEvent() {
        guard case .data(let id, let slice) = event else { continue }
        pair.pool.release(slice)
        pair.site.consumed(id, slice.count, now: pair.now)
      }
      var status = SessionStatus()
      pair.site.describe(into: &status)
      #expect(status.queues.windows <= limits.memoryBudget)
    }
    var windows: [Int] = []
    for id in ids { windows.append(pair.site.status(of: id)?.window ?? 0) }
    #expect(windows.max() == limits.maximumWindow, "\(windows)")
    #expect(windows.reduce(0, +) > limits.memoryBudget - (1 << 20), "\(windows)")
    // What a stream that ends had is there for the others.
    for id in ids.dropFirst() { pair.link.reset(id, .reset, pool: &pair.pool) }
    _ = try pair.exchange()
    var status = SessionStatus()
    pair.site.describe(into: &status)
    #expect(status.queues.windows == windows[0])
    #expect(pair.close() == 0)
  }

  /// A window that holds its stream back grows with the distance; one whose reader is slower stays as it is.
  @Test(arguments: [
    (milliseconds: 40, grows: true), (milliseconds: 70, grows: true), (milliseconds: 100, grows: false),
  ])
  func aWindowGrowsWithTheDistance(round: (milliseconds: Int, grows: Bool)) throws {
    var pair = try SessionPair(seed: 13)
    try pair.settle(distance: .milliseconds(40))
    let id = try open(&pair)
    for _ in 0..<60 {
      let now = pair.now
      while pair.link.sendCredit(id) > 0 {
        let count = min(pair.link.sendCredit(id), 65_000)
        try pair.link.send(id, pair.slice([UInt8](repeating: 1, count: count)), pool: &pair.pool)
      }
      // All that the window allows arrives and is read, once in a round.
      while pair.link.queuedBytes(id) > 0 || pair.link.hasOutput {
        _ = try pair.exchange()
        pair.now = now
        while let event = pair.site.nextEvent() {
          guard case .data(_, let slice) = event else { continue }
          pair.pool.release(slice)
          pair.site.consumed(id, slice.count, now: now)
        }
      }
      _ = try pair.exchange()
      pair.now = now + .milliseconds(Int64(round.milliseconds))
    }
    let window = pair.site.status(of: id)?.window
    #expect(window == (round.grows ? pair.site.limits.maximumWindow : SessionLimits.initialWindow))
    #expect(pair.close() == 0)
  }

  // MARK: Frames that wait

  /// Applications that open and reset while the line stands still: refused from a bound on, and nothing is forgotten.
  @Test func whoOpensFasterThanTheLineTakesIsRefused() throws {
    var limits = SessionLimits()
    limits.controlFrames = 100
    var pair = try SessionPair(seed: 3, limits: limits)
    let live = try open(&pair)
    var refusal: Refusal?
    for _ in 0..<10_000 where refusal == nil {
      do throws(Refusal) {
        let id = try pair.link.open(Self.request, tag: 0)
        pair.link.reset(id, .reset, pool: &pair.pool)
      } catch {
        refusal = error
      }
    }
    #expect(refusal?.reason == .tooMany && refusal?.text.contains("frames wait") == true)
    let waiting = pair.link.controls.count
    #expect(waiting <= limits.controlFrames + 2)
    #expect(pair.link.counters.streamsRefused == 1)
    // Open streams have a frame each besides.
    try pair.link.send(live, pair.slice([1]), pool: &pair.pool)
    _ = try pair.exchange()
    #expect(take(&pair, of: live) == 1)
    let count = pair.site.streamCount
    #expect(count == 1)
    _ = try open(&pair)
    #expect(pair.close() == 0)
  }

  /// A peer that demands answers and takes none.
  @Test func whoMakesUsAnswerFasterThanTheLineTakesIsCutOff() throws {
    var limits = SessionLimits()
    limits.controlFrames = 50
    var pair = try SessionPair(seed: 4, limits: limits)
    try pair.settle()
    func flood(_ pair: inout SessionPair, _ count: Int) throws {
      for number in 0..<count {
        if pair.link.writer.room < 8 {
          try pair.link.writer.seal(into: &pair.linkOutput, pool: &pair.pool, now: pair.now)
        }
        _ = pair.link.writer.add(.ping, .session, value: UInt64(number), pool: &pair.pool)
      }
      try pair.link.writer.seal(into: &pair.linkOutput, pool: &pair.pool, now: pair.now)
    }
    // As many as the bound, and answered: in order.
    try flood(&pair, 50)
    _ = try pair.exchange()
    try flood(&pair, 51)
    #expect(throws: SessionError.violation(.flooding)) { try pair.exchange() }
    let waiting = pair.site.controls.count
    #expect(waiting <= limits.controlFrames)
    #expect(pair.close() == 0)
  }

  @Test func opensBeyondWhatCanBeAnsweredAreRefused() throws {
    var limits = SessionLimits()
    limits.controlFrames = 10
    var pair = try SessionPair(seed: 5, limits: limits, linkLimits: SessionLimits())
    // All arrive before one answer leaves; the site's owner accepts each at once.
    var failure: SessionError?
    for _ in 0..<40 where failure == nil {
      _ = try pair.link.open(Self.request, tag: 0)
      try pair.link.fill(&pair.linkOutput, limit: 256 * 1024, pool: &pair.pool, now: pair.now)
      do throws(SessionError) {
        try SessionPair.deliver(
          bytes(&pair.linkOutput, &pair.pool), to: &pair.site, pool: &pair.pool, now: pair.now)
      } catch {
        failure = error
      }
      while let event = pair.site.nextEvent() {
        if case .openRequested(let id) = event { pair.site.accept(id) }
      }
    }
    // First the streams are refused, and who goes on all the same is cut off.
    #expect(failure == .violation(.flooding))
    let (waiting, refused) = (pair.site.controls.count, pair.site.counters.streamsRefused)
    #expect(waiting <= 2 * limits.controlFrames + 1 && refused >= 10)
    #expect(pair.close() == 0)
  }

  // MARK: Datagrams

  @Test func unsentDatagramsOfAFlowAreBounded() throws {
    var pair = try SessionPair(seed: 6)
    let (id, other) = (try open(&pair, .udp), try open(&pair, .udp))
    let fit = pair.link.limits.datagramQueue / 1000
    let sent = 2 * fit
    for _ in 0..<sent { pair.link.sendDatagram(id, pair.slice([UInt8](repeating: 1, count: 1000)), pool: &pair.pool) }
    let (queued, dropped) = (pair.link.queuedBytes(id), pair.link.counters.datagramsDropped)
    #expect(queued == fit * 1000 && dropped == UInt64(sent - fit))
    // A flow's bound is its own.
    pair.link.sendDatagram(other, pair.slice([1, 2]), pool: &pair.pool)
    var arrived = 0
    var isOther = false
    for _ in 0..<10 {
      _ = try pair.exchange()
      while let event = pair.site.nextEvent() {
        guard case .datagram(let from, let slice) = event else { continue }
        if from == id { arrived += 1 } else { isOther = true }
        pair.pool.release(slice)
      }
    }
    #expect(arrived == fit && isOther)
    #expect(pair.close() == 0)
  }

  @Test func undeliveredDatagramsAreBounded() throws {
    var limits = SessionLimits()
    limits.controlFrames = 20
    var pair = try SessionPair(seed: 7, limits: limits)
    let id = try open(&pair, .udp)
    for _ in 0..<100 { pair.link.sendDatagram(id, pair.slice([1]), pool: &pair.pool) }
    for _ in 0..<4 { _ = try pair.exchange() }
    let dropped = pair.site.counters.datagramsDropped
    #expect(dropped == 80)
    #expect(take(&pair, of: id) == 20)
    // Once they are taken, others come through.
    pair.link.sendDatagram(id, pair.slice([1, 2, 3]), pool: &pair.pool)
    _ = try pair.exchange()
    #expect(take(&pair, of: id) == 3)
    #expect(pair.close() == 0)
  }

  /// Sends one frame of a datagram, by hand.
  private func part(
    _ pair: inout SessionPair, _ id: StreamID, _ count: Int, isContinued: Bool, _ type: FrameType = .datagram
  ) throws {
    let payload = pair.slice([UInt8](repeating: UInt8(truncatingIfNeeded: count), count: count))
    _ = pair.link.writer.add(type, id, payload: payload, isContinued: isContinued, pool: &pair.pool)
    try pair.link.writer.seal(into: &pair.linkOutput, pool: &pair.pool, now: pair.now)
    _ = try pair.exchange()
  }

  @Test func datagramsInPartAreBounded() throws {
    var limits = SessionLimits()
    limits.partialDatagrams = 3
    var pair = try SessionPair(seed: 8, limits: limits)
    let ids = try (0..<4).map { _ in try open(&pair, .udp) }
    for id in ids { try part(&pair, id, 1000, isContinued: true) }
    var dropped = pair.site.counters.datagramsDropped
    #expect(dropped == 1)
    // Parts without end, and without a byte, take no more room.
    let before = pair.pool.slabsInUse
    for _ in 0..<2000 { try part(&pair, ids[0], 0, isContinued: true) }
    #expect(pair.pool.slabsInUse <= before + 1)
    for id in ids { try part(&pair, id, 7, isContinued: false) }
    // The fourth one is gone as a whole: its end is no datagram of its own.
    var arrived: [StreamID: Int] = [:]
    while let event = pair.site.nextEvent() {
      guard case .datagram(let id, let slice) = event else { continue }
      arrived[id] = slice.count
      pair.pool.release(slice)
    }
    #expect(arrived == [ids[0]: 1007, ids[1]: 1007, ids[2]: 1007])
    // There is room again.
    try part(&pair, ids[3], 5, isContinued: true)
    try part(&pair, ids[3], 5, isContinued: false)
    #expect(take(&pair, of: ids[3]) == 10)
    dropped = pair.site.counters.datagramsDropped
    #expect(dropped == 1)
    // A flow that ends in the middle of one gives its room back.
    for id in ids.dropFirst() { try part(&pair, id, 9, isContinued: true) }
    for id in ids { pair.link.reset(id, .reset, pool: &pair.pool) }
    _ = try pair.exchange()
    let left = pair.site.partialDatagrams
    #expect(left == 0)
    #expect(pair.close() == 0)
  }

  @Test func aDatagramThatIsTooLargeIsDroppedAsAWhole() throws {
    var pair = try SessionPair(seed: 9)
    let id = try open(&pair, .udp)
    for _ in 0..<6 { try part(&pair, id, 16_000, isContinued: true) }
    try part(&pair, id, 11, isContinued: false)
    let dropped = pair.site.counters.datagramsDropped
    #expect(dropped == 1)
    #expect(take(&pair, of: id) == 0)
    try part(&pair, id, 12, isContinued: false)
    #expect(take(&pair, of: id) == 12)
    // Nor does one lack what came while nobody took events.
    for _ in 0..<pair.site.limits.controlFrames { pair.link.sendDatagram(id, pair.slice([1]), pool: &pair.pool) }
    for _ in 0..<20 { _ = try pair.exchange() }
    try part(&pair, id, 16_000, isContinued: true)
    _ = take(&pair, of: id)
    try part(&pair, id, 100, isContinued: true)
    try part(&pair, id, 100, isContinued: false)
    #expect(take(&pair, of: id) == 0)
    #expect(pair.close() == 0)
  }

  /// The last part of a long ping may be shorter than what stands at the beginning of each.
  @Test func pingsOfEverySizeGoThrough() throws {
    var pair = try SessionPair(seed: 10)
    let id = try open(&pair, .icmp)
    for size in [4, 60, 16_376, 16_377, 16_378, 16_379, 16_380, 32_753, 65_511] {
      pair.link.sendDatagram(id, pair.slice([UInt8](repeating: 1, count: size)), pool: &pair.pool)
      _ = try pair.exchange()
      #expect(take(&pair, of: id) == size)
    }
    #expect(throws: SessionError.violation(.wrongState(.echo, id))) {
      try part(&pair, id, 3, isContinued: true, .echo)
    }
    #expect(pair.close() == 0)
  }

  // MARK: Turns

  @Test func streamsTakeTurnsOfTheirQuantum() throws {
    var pair = try SessionPair(seed: 11)
    let ids = try (0..<3).map { _ in try open(&pair) }
    for id in ids {
      for _ in 0..<4 { try pair.link.send(id, pair.slice([UInt8](repeating: 1, count: 64_000)), pool: &pair.pool) }
    }
    for _ in 0..<10 { _ = try pair.exchange() }
    var turns: [(id: StreamID, count: Int)] = []
    while let event = pair.site.nextEvent() {
      guard case .data(let id, let slice) = event else { continue }
      pair.pool.release(slice)
      if turns.last?.id == id { turns[turns.count - 1].count += slice.count } else { turns.append((id, slice.count)) }
    }
    let longest = turns.map(\.count).max() ?? 0
    // What is left over of a turn is the next one's: never more than a frame beyond it.
    #expect(longest <= pair.link.limits.quantum + FrameHeader.maximumPayload, "\(turns)")
    #expect(turns.count >= 9, "\(turns)")
    #expect(pair.close() == 0)
  }

  @Test func littleIsSealedAheadOfTheConnection() throws {
    let now = Instant(nanoseconds: 1_000_000_000)
    let (up, down) = (try SecretBytes(random: 32), try SecretBytes(random: 32))
    var peer = BufferedSession(
      try Session(role: .link, secrets: RecordSecrets(send: up, receive: down), now: now))
    var pool = SlabPool(limit: 64)
    var lane = SlabLane()
    var site = try Session(role: .site, secrets: RecordSecrets(send: down, receive: up), now: now)
    var streams: [StreamID] = []
    for _ in 0..<8 { streams.append(try peer.session.open(Self.request, tag: 0)) }
    try peer.seal(pool: &pool, now: now)
    try SessionPair.deliver(bytes(&peer.output, &pool), to: &site, pool: &pool, now: now)
    while let event = site.nextEvent() { if case .openRequested(let id) = event { site.accept(id) } }
    var output = SliceQueue()
    try site.fill(&output, limit: 1 << 20, pool: &pool, now: now)
    try SessionPair.deliver(bytes(&output, &pool), to: &peer.session, pool: &pool, now: now)
    while peer.session.nextEvent() != nil {}
    for id in streams {
      for _ in 0..<4 {
        let slice = pool.copy([UInt8](repeating: 1, count: 60_000).span, in: &lane)!
        try peer.session.send(id, slice, pool: &pool)
      }
    }
    // However often it is asked for: the connection takes nothing, and 1.9 MB wait unsealed, where they can be overtaken.
    for _ in 0..<10 { try peer.seal(pool: &pool, now: now) }
    let unsent = peer.unsentBytes
    #expect(unsent >= 256 * 1024 && unsent <= 256 * 1024 + 2 * RecordHeader.maximumRecord)
    peer.close(pool: &pool)
    site.close(pool: &pool)
    output.removeAll(pool: &pool)
    pool.close(&lane)
    #expect(pool.slabsInUse == 0)
  }

  private func bytes(_ queue: inout SliceQueue, _ pool: inout SlabPool) -> [UInt8] {
    var bytes: [UInt8] = []
    while !queue.isEmpty {
      let slice = queue[0]
      bytes += pool.array(slice)
      queue.drop(slice.count, pool: &pool)
    }
    return bytes
  }
}
