import Packet
import Primitives
import Testing

@testable import Stack

@Suite struct ConnectionTests {
  private func release(_ events: [StackEvent], _ bench: Bench) -> [UInt8] {
    var bytes: [UInt8] = []
    for case .received(_, let slice) in events {
      bytes += bench.pool.array(slice)
      bench.pool.release(slice)
    }
    return bytes
  }

  // MARK: Receiving

  @Test func acknowledgesABatchOnce() throws {
    let bench = Bench()
    let (flow, next) = try #require(try bench.establish())
    for index in 0..<5 {
      bench.receive(
        Packets.tcp(
          .ack, sequence: UInt32(1000 + 10 * index), acknowledgement: next, payload: .init(repeating: 7, count: 10)))
    }
    let events = bench.events()
    #expect(events.count == 5 && release(events, bench).count == 50)
    let answers = try bench.sentSegments()
    #expect(answers.count == 1 && answers.first?.acknowledgement == 1050)
    // Data carries the acknowledgement, so that no other is needed.
    bench.receive(Packets.tcp(.ack, sequence: 1050, acknowledgement: next, payload: [1]))
    _ = release(bench.events(), bench)
    bench.stack.send(flow, bench.slice([9, 9]), pool: &bench.pool, now: bench.now)
    let data = try bench.sentSegments()
    #expect(data.count == 1 && data.first?.acknowledgement == 1051)
    #expect(bench.leakedSlabs() == 0)
  }

  @Test func takesASuperSegmentWithoutCopying() throws {
    let bench = Bench()
    let (flow, next) = try #require(try bench.establish())
    let payload = Simulation.pattern(60_000, seed: 1)
    let packet = Packets.tcp(.ack, sequence: 1000, acknowledgement: next, payload: payload)
    let slice = bench.slice(packet)
    bench.stack.receive(
      slice, offload: Offload(checksum: .partial(start: 20, offset: 16), segmentation: .tcp4, segmentSize: 1460),
      pool: &bench.pool, now: bench.now)
    guard case .received(flow, let part)? = bench.events().first else {
      Issue.record("nothing received")
      return
    }
    #expect(part.slab == slice.slab && part.count == payload.count)
    #expect(bench.pool.array(part) == payload)
    #expect(bench.stack.counters.superSegmentsIn == 1 && bench.stack.counters.payloadBytesIn == 60_000)
    bench.pool.release(part)
    bench.pool.release(slice)
    #expect(bench.leakedSlabs() == 0)
  }

  @Test func reordersAndReportsHoles() throws {
    let bench = Bench()
    let (_, next) = try #require(
      try bench.establish(options: TCPOptions(maximumSegmentSize: 1460, sackPermitted: true)))
    let bytes = Simulation.pattern(40, seed: 1)
    func segment(_ range: Range<Int>) {
      bench.receive(
        Packets.tcp(
          .ack, sequence: 1000 + UInt32(range.lowerBound), acknowledgement: next, payload: Array(bytes[range])))
    }
    segment(10..<20)
    segment(30..<40)
    #expect(bench.events().isEmpty)
    let answer = try #require(try bench.sentSegments().last)
    #expect(answer.acknowledgement == 1000)
    #expect(answer.options.sackBlocks.count == 2)
    #expect(answer.options.sackBlocks[0] == .init(start: 1030, end: 1040))
    #expect(answer.options.sackBlocks[1] == .init(start: 1010, end: 1020))
    segment(5..<32)
    segment(0..<15)
    #expect(release(bench.events(), bench) == bytes)
    #expect(bench.leakedSlabs() == 0)
  }

  @Test func closesTheWindowAndOpensItAgain() throws {
    let bench = Bench()
    let (flow, next) = try #require(try bench.establish())
    bench.stack.setReceiveCredit(flow, 100_000, now: bench.now)
    _ = try bench.sent()
    // Advertised 65535 without scaling: credit taken back doesn't shrink that.
    bench.stack.setReceiveCredit(flow, 0, now: bench.now)
    bench.receive(
      Packets.tcp(.ack, sequence: 1000, acknowledgement: next, payload: .init(repeating: 1, count: 60_000)))
    #expect(release(bench.events(), bench).count == 60_000)
    #expect(try bench.sentSegments().first?.window == 0)
    bench.receive(
      Packets.tcp(.ack, sequence: 61_000, acknowledgement: next, payload: .init(repeating: 1, count: 60_000)))
    #expect(release(bench.events(), bench).count == 5535)
    #expect(try bench.sentSegments().first?.window == 0)
    // A probe of the closed window is answered, its payload isn't taken.
    bench.receive(Packets.tcp(.ack, sequence: 66_535, acknowledgement: next, payload: [1]))
    #expect(bench.events().isEmpty)
    #expect(try bench.sentSegments().first?.acknowledgement == 66_535)
    // From zero any credit is told at once, later only when it is worth a segment.
    bench.stack.setReceiveCredit(flow, 10_000, now: bench.now)
    #expect(try bench.sentSegments().first?.window == 10_000)
    bench.stack.setReceiveCredit(flow, 10_500, now: bench.now)
    #expect(try bench.sent().isEmpty)
    bench.stack.setReceiveCredit(flow, 40_000, now: bench.now)
    #expect(try bench.sentSegments().first?.window == 40_000)
  }

  @Test func opensCreditBeyondTheLargestWindowLater() throws {
    let bench = Bench { $0.maximumReceiveWindow = 20_000 }
    let (flow, next) = try #require(try bench.establish())
    bench.stack.setReceiveCredit(flow, 50_000, now: bench.now)
    var windows: [UInt16] = []
    for start in stride(from: 0, to: 50_000, by: 10_000) {
      bench.receive(
        Packets.tcp(
          .ack, sequence: 1000 + UInt32(start), acknowledgement: next, payload: .init(repeating: 1, count: 10_000)))
      _ = release(bench.events(), bench)
      windows += try bench.sentSegments().map(\.window)
    }
    #expect(windows == [20_000, 20_000, 20_000, 10_000, 0])
  }

  @Test func countsCreditFromWhatTheOwnerHasTaken() throws {
    let bench = Bench()
    let (flow, next) = try #require(try bench.establish())
    bench.receive(
      Packets.tcp(.ack, sequence: 1000, acknowledgement: next, payload: .init(repeating: 1, count: 1000)))
    // The event is still untaken: 5000 bytes from there are 4000 from what TCP expects.
    bench.stack.setReceiveCredit(flow, 5000, now: bench.now)
    #expect(try bench.sentSegments().first?.window == 4000)
    _ = release(bench.events(), bench)
  }

  @Test func takesAFinishIntoAFullWindow() throws {
    let bench = Bench()
    let (flow, next) = try #require(try bench.establish())
    bench.stack.setReceiveCredit(flow, 0, now: bench.now)
    bench.receive(
      Packets.tcp(
        [.ack, .fin], sequence: 1000, acknowledgement: next, payload: .init(repeating: 1, count: 65_000)))
    let events = bench.events()
    #expect(events.last == .finished(flow))
    #expect(release(events, bench).count == 65_000)
    #expect(try bench.sentSegments().first?.acknowledgement == 66_001)
  }

  // MARK: Sending

  @Test func mergesSlicesIntoASuperSegment() throws {
    let bench = Bench { $0.segmentationOffload = true }
    let (flow, _) = try #require(try bench.establish())
    let bytes = Simulation.pattern(50_000, seed: 4)
    for start in stride(from: 0, to: bytes.count, by: 5000) {
      bench.stack.send(flow, bench.slice(Array(bytes[start..<(start + 5000)])), pool: &bench.pool, now: bench.now)
    }
    let packets = try bench.sent()
    #expect(packets.count == 1)
    #expect(packets.first.map { Array($0.bytes[$0.packet.payloadOffset...]) } == bytes)
    #expect(bench.stack.unacknowledged(flow) == 50_000)
    #expect(bench.stack.counters.superSegmentsOut == 1)
    #expect(bench.leakedSlabs() == 0)
  }

  @Test func keepsWithinTheWindowAndProbesAClosedOne() throws {
    let bench = Bench()
    let (flow, next) = try #require(try bench.establish())
    bench.receive(Packets.tcp(.ack, sequence: 1000, acknowledgement: next, window: 3000))
    bench.stack.send(flow, bench.slice(.init(repeating: 1, count: 10_000)), pool: &bench.pool, now: bench.now)
    let sent = try bench.sent().reduce(0) { $0 + $1.packet.payloadLength }
    #expect(sent <= 3000 && sent >= 2920)
    bench.receive(Packets.tcp(.ack, sequence: 1000, acknowledgement: next &+ UInt32(sent), window: 0))
    #expect(try bench.sent().isEmpty)
    // The owner learns what went through, and the window is probed for as long as it takes.
    #expect(bench.events() == [.acknowledged(flow, bytes: sent)])
    for _ in 0..<20 {
      let probes = try bench.advance(.seconds(60))
      #expect(!probes.isEmpty)
      for (packet, _) in probes {
        guard case .tcp(let header) = packet.transport else { continue }
        #expect(packet.payloadLength == 0 && header.sequence == next &+ UInt32(sent) &- 1)
        bench.receive(Packets.tcp(.ack, sequence: 1000, acknowledgement: next &+ UInt32(sent), window: 0))
      }
    }
    #expect(bench.events().isEmpty)
    bench.receive(Packets.tcp(.ack, sequence: 1000, acknowledgement: next &+ UInt32(sent), window: 60_000))
    #expect(try bench.sent().reduce(0) { $0 + $1.packet.payloadLength } == 10_000 - sent)
    #expect(bench.leakedSlabs() == 0)
  }

  @Test func retransmitsAndGivesUpInTheEnd() throws {
    let bench = Bench()
    let (flow, next) = try #require(try bench.establish())
    bench.stack.send(flow, bench.slice([1, 2, 3]), pool: &bench.pool, now: bench.now)
    #expect(try bench.sentSegments().count == 1)
    let again = try bench.advance(.seconds(10))
    #expect(again.count >= 3)
    for (packet, bytes) in again {
      guard case .tcp(let header) = packet.transport else { continue }
      #expect(header.sequence == next && Array(bytes[packet.payloadOffset...]) == [1, 2, 3])
    }
    let rest = try bench.advance(.seconds(300))
    #expect(bench.events() == [.reset(flow, .timedOut)])
    guard case .tcp(let last)? = rest.last?.packet.transport else { return }
    #expect(last.flags.contains(.rst))
    #expect(bench.leakedSlabs() == 0)
  }

  @Test func retransmitsTheHoleThatSelectiveAcknowledgementsShow() throws {
    let bench = Bench()
    let (flow, next) = try #require(
      try bench.establish(options: TCPOptions(maximumSegmentSize: 1000, sackPermitted: true)))
    bench.stack.send(flow, bench.slice(.init(repeating: 1, count: 10_000)), pool: &bench.pool, now: bench.now)
    #expect(try bench.sent().count == 10)
    var blocks = SACKBlocks()
    blocks.append(.init(start: next &+ 1000, end: next &+ 5000))
    blocks.append(.init(start: next &+ 6000, end: next &+ 10_000))
    bench.receive(
      Packets.tcp(.ack, sequence: 1000, acknowledgement: next, options: TCPOptions(sackBlocks: blocks)))
    let again = try bench.sentSegments().map { $0.sequence &- next }
    #expect(again == [0, 5000])
    bench.receive(Packets.tcp(.ack, sequence: 1000, acknowledgement: next &+ 10_000))
    #expect(try bench.sent().isEmpty)
    #expect(bench.events() == [.acknowledged(flow, bytes: 10_000)])
  }

  // MARK: The end

  @Test func closesHalfInBothOrders() throws {
    for waits in [false, true] {
      var simulation = Simulation(seed: 9)
      simulation.first.outbox = Simulation.pattern(1000, seed: 1)
      simulation.second.outbox = Simulation.pattern(150_000, seed: 2)
      // One side ends at once, the other goes on sending long after.
      (waits ? simulation.first : simulation.second).waitsForPeer = true
      try simulation.connect()
      simulation.runToClose()
      #expect(simulation.first.inbox == simulation.second.outbox)
      #expect(simulation.second.inbox == simulation.first.outbox)
      #expect(simulation.first.isClosed && simulation.second.isClosed)
      #expect(simulation.first.leakedSlabs() == 0 && simulation.second.leakedSlabs() == 0)
    }
  }

  @Test func survivesASlowReader() throws {
    var simulation = Simulation(seed: 10)
    simulation.first.outbox = Simulation.pattern(200_000, seed: 1)
    simulation.second.buffer = 5000
    simulation.second.readsPerTick = 1500
    try simulation.connect()
    simulation.runToClose()
    #expect(simulation.second.inbox == simulation.first.outbox)
    #expect(simulation.second.unread <= 5000)
    #expect(simulation.first.isClosed && simulation.second.isClosed)
  }

  @Test func tellsOfAReset() throws {
    var simulation = Simulation(seed: 11)
    simulation.first.outbox = Simulation.pattern(100_000, seed: 1)
    simulation.first.finishesWhenSent = false
    simulation.second.finishesWhenSent = false
    try simulation.connect()
    simulation.run { $0.second.inbox.count >= 50_000 }
    let second = simulation.second
    let flow = try #require(second.flow)
    second.stack.abort(flow, pool: &second.pool, now: simulation.now)
    simulation.run(limit: .seconds(5))
    #expect(simulation.first.resetCause == .byApplication)
    #expect(second.resetCause == nil && !second.isClosed)
    #expect(simulation.first.leakedSlabs() == 0 && second.leakedSlabs() == 0)
  }

  @Test func answersLateSegmentsInTimeWaitAndReopens() throws {
    let bench = Bench()
    let (flow, next) = try #require(try bench.establish())
    bench.stack.finish(flow, now: bench.now)
    #expect(try bench.sentSegments().first?.flags == [.fin, .ack])
    let fin = Packets.tcp([.fin, .ack], sequence: 1000, acknowledgement: next &+ 1)
    bench.receive(fin)
    #expect(bench.events() == [.finished(flow), .closed(flow)])
    #expect(try bench.sentSegments().first?.acknowledgement == 1001)
    #expect(bench.stack.timeWaitCount == 1 && bench.stack.connectionCount == 0)
    bench.receive(fin)
    #expect(try bench.sentSegments().first?.acknowledgement == 1001)
    bench.receive(Packets.tcp(.ack, sequence: 1001, acknowledgement: next &+ 1))
    bench.receive(Packets.tcp(.rst, sequence: 1001))
    #expect(try bench.sent().isEmpty)
    bench.receive(Packets.tcp(.syn, sequence: 900))
    #expect(bench.events().isEmpty)
    bench.receive(Packets.tcp(.syn, sequence: 2000))
    #expect(bench.events().count == 1)
    #expect(bench.stack.timeWaitCount == 0)
  }

  @Test func forgetsTimeWaitInTime() throws {
    let bench = Bench { $0.limits.timeWait = 1 }
    let (flow, next) = try #require(try bench.establish())
    bench.stack.finish(flow, now: bench.now)
    _ = try bench.sent()
    bench.receive(Packets.tcp([.fin, .ack], sequence: 1000, acknowledgement: next &+ 1))
    #expect(bench.stack.timeWaitCount == 1)
    try bench.advance(.seconds(11))
    #expect(bench.stack.timeWaitCount == 0)
    #expect(bench.stack.nextDeadline == nil)
  }

  // MARK: Attacks (RFC 5961) and life signs

  @Test func challengesForgedSegments() throws {
    let bench = Bench { $0.limits.challengesPerSecond = 2 }
    let (flow, next) = try #require(try bench.establish())
    // A RST in the window but not at its edge, a SYN, an acknowledgement of what was never sent.
    bench.receive(Packets.tcp(.rst, sequence: 1500))
    #expect(try bench.sentSegments().first?.flags == .ack)
    bench.receive(Packets.tcp(.syn, sequence: 1000))
    #expect(try bench.sentSegments().first?.acknowledgement == 1000)
    bench.receive(Packets.tcp(.ack, sequence: 1000, acknowledgement: next &+ 1_000_000))
    #expect(try bench.sent().isEmpty, "the limit is two in a second")
    bench.receive(Packets.tcp(.rst, sequence: 999))
    #expect(bench.events().isEmpty)
    bench.receive(Packets.tcp(.rst, sequence: 1000))
    #expect(bench.events() == [.reset(flow, .byApplication)])
  }

  @Test func dropsWrappedSegmentsByTimestamp() throws {
    let bench = Bench()
    let options = TCPOptions(maximumSegmentSize: 1460, timestamps: .init(value: 500, echo: 0))
    let (_, next) = try #require(try bench.establish(options: options))
    bench.receive(
      Packets.tcp(
        .ack, sequence: 1000, acknowledgement: next, options: TCPOptions(timestamps: .init(value: 400, echo: 0)),
        payload: [1]))
    #expect(bench.events().isEmpty)
    #expect(try bench.sentSegments().first?.options.timestamps?.echo == 500)
    bench.receive(
      Packets.tcp(
        .ack, sequence: 1000, acknowledgement: next, options: TCPOptions(timestamps: .init(value: 600, echo: 0)),
        payload: [1]))
    #expect(release(bench.events(), bench) == [1])
    #expect(try bench.sentSegments().first?.options.timestamps?.echo == 600)
  }

  @Test func answersKeepaliveAndProbesTheSilent() throws {
    let bench = Bench()
    let (flow, next) = try #require(try bench.establish())
    bench.receive(Packets.tcp(.ack, sequence: 999, acknowledgement: next))
    #expect(try bench.sentSegments().first?.acknowledgement == 1000)
    let probes = try bench.advance(.seconds(601))
    #expect(probes.count == 1)
    bench.receive(Packets.tcp(.ack, sequence: 1000, acknowledgement: next))
    #expect(bench.events().isEmpty)
    // No answer any more.
    try bench.advance(.seconds(1200))
    #expect(bench.events() == [.reset(flow, .timedOut)])
  }

  @Test func ignoresStaleFlows() throws {
    let bench = Bench()
    let (flow, _) = try #require(try bench.establish())
    bench.stack.abort(flow, pool: &bench.pool, now: bench.now)
    bench.stack.send(flow, bench.slice([1]), pool: &bench.pool, now: bench.now)
    bench.stack.finish(flow, now: bench.now)
    bench.stack.accept(flow, pool: &bench.pool, now: bench.now)
    bench.stack.refuse(flow, .reset, pool: &bench.pool, now: bench.now)
    bench.stack.setReceiveCredit(flow, 5, now: bench.now)
    bench.stack.abort(flow, pool: &bench.pool, now: bench.now)
    #expect(bench.stack.unacknowledged(flow) == 0)
    #expect(try bench.sentSegments().count == 1)
    #expect(bench.events().isEmpty)
    #expect(bench.leakedSlabs() == 0)
  }
}
