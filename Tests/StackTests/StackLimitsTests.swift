import Packet
import Primitives
import Testing

@testable import Stack

/// What happens at each bound of `StackLimits`: one more is dropped and counted, and what is there goes on.
@Suite struct StackLimitsTests {
  private func port(_ number: Int) -> Endpoint { Endpoint(Packets.application.address, UInt16(number)) }

  /// Opens a connection from a port; nil if the stack asked nobody.
  private func establish(_ bench: Bench, from port: Int) throws -> (flow: FlowID, next: UInt32)? {
    bench.receive(Packets.tcp(.syn, sequence: 999, from: self.port(port)))
    guard case .openRequested(let flow, _)? = bench.events().first else { return nil }
    bench.stack.accept(flow, pool: &bench.pool, now: bench.now)
    guard let answer = try bench.sentSegments().first else { return nil }
    bench.receive(
      Packets.tcp(.ack, sequence: 1000, acknowledgement: answer.sequence &+ 1, from: self.port(port)))
    _ = bench.events()
    return (flow, answer.sequence &+ 1)
  }

  /// Whether a byte gets through from a port.
  private func isAlive(_ bench: Bench, _ connection: (flow: FlowID, next: UInt32), from port: Int) -> Bool {
    bench.receive(
      Packets.tcp(.ack, sequence: 1000, acknowledgement: connection.next, payload: [1], from: self.port(port)))
    var isAlive = false
    for case .received(connection.flow, let slice) in bench.events() {
      bench.pool.release(slice)
      isAlive = true
    }
    return isAlive
  }

  @Test func connectionsAreBoundedAndLiveOnesGoOn() throws {
    let bench = Bench { $0.limits.tcpFlows = 6 }
    var connections: [(flow: FlowID, next: UInt32)] = []
    for number in 1...6 { connections.append(try #require(try establish(bench, from: number))) }
    for number in 7...20 { #expect(try establish(bench, from: number) == nil) }
    #expect(bench.stack.connectionCount == 6 && bench.stack.counters.dropped(.flowLimit) == 14)
    // In silence, so that the application tries again, by when there may be room.
    #expect(try bench.sent().isEmpty)
    #expect(throws: StackError.tooManyFlows) {
      try bench.stack.connect(from: Packets.device, to: Packets.application, now: bench.now)
    }
    for number in 1...6 { #expect(isAlive(bench, connections[number - 1], from: number)) }
    bench.stack.abort(connections[2].flow, pool: &bench.pool, now: bench.now)
    _ = try bench.sent()
    #expect(try establish(bench, from: 7) != nil)
    #expect(bench.leakedSlabs() == 0)
  }

  @Test func ourOwnHalfOpenConnectionsAreBoundedToo() throws {
    let bench = Bench { $0.limits.halfOpen = 4 }
    for number in 1...4 { _ = try bench.stack.connect(from: Packets.device, to: port(number), now: bench.now) }
    #expect(throws: StackError.tooManyFlows) {
      try bench.stack.connect(from: Packets.device, to: port(5), now: bench.now)
    }
    bench.receive(Packets.tcp(.syn, sequence: 5))
    #expect(bench.events().isEmpty && bench.stack.counters.dropped(.halfOpenLimit) == 1)
    // All of them are given up in time.
    try bench.advance(.seconds(131))
    #expect(bench.stack.halfOpenCount == 0 && bench.stack.connectionCount == 0)
    #expect(bench.leakedSlabs() == 0)
  }

  /// The dial at the site is included: an owner who never answers doesn't keep the place.
  @Test func aRequestThatNobodyAnswersIsForgotten() throws {
    let bench = Bench()
    bench.receive(Packets.tcp(.syn, sequence: 999))
    guard case .openRequested(let flow, _)? = bench.events().first else {
      Issue.record("no request")
      return
    }
    try bench.advance(.seconds(129))
    #expect(bench.events().isEmpty && bench.stack.halfOpenCount == 1)
    try bench.advance(.seconds(2))
    #expect(bench.events() == [.reset(flow, .timedOut)] && bench.stack.halfOpenCount == 0)
    #expect(bench.leakedSlabs() == 0)
  }

  @Test func theOldestTimeWaitGoesFirst() throws {
    let bench = Bench { $0.limits.timeWait = 3 }
    var next: [Int: UInt32] = [:]
    for number in 1...5 {
      let connection = try #require(try establish(bench, from: number))
      next[number] = connection.next
      bench.stack.finish(connection.flow, now: bench.now)
      _ = try bench.sent()
      bench.receive(
        Packets.tcp([.fin, .ack], sequence: 1000, acknowledgement: connection.next &+ 1, from: port(number)))
      _ = try bench.sent()
      #expect(bench.events() == [.finished(connection.flow), .closed(connection.flow)])
      #expect(bench.stack.timeWaitCount == min(number, 3))
    }
    #expect(bench.stack.connectionCount == 0)
    // A FIN that comes again: those that are remembered answer as before, the others have a RST for it.
    for number in 1...5 {
      bench.receive(
        Packets.tcp(
          [.fin, .ack], sequence: 1000, acknowledgement: (next[number] ?? 0) &+ 1, from: port(number)))
      let flags = try bench.sentSegments().map(\.flags)
      #expect(flags == [number <= 2 ? .rst : .ack], "\(number)")
    }
    #expect(bench.leakedSlabs() == 0)
  }

  @Test func segmentsOutOfOrderAreBounded() throws {
    let bench = Bench { $0.limits.outOfOrderSegments = 4 }
    let (flow, next) = try #require(
      try bench.establish(options: TCPOptions(maximumSegmentSize: 1460, sackPermitted: true)))
    // Every other byte, so that none joins its neighbour.
    for index in 1...10 {
      bench.receive(
        Packets.tcp(
          .ack, sequence: UInt32(1000 + 2 * index), acknowledgement: next, payload: [UInt8(index)]))
    }
    #expect(bench.stack.counters.dropped(.outOfOrderLimit) == 6)
    #expect(bench.events().isEmpty)
    // What was dropped comes again, since it wasn't acknowledged.
    let all = (0...20).map { (index: Int) -> UInt8 in index % 2 == 0 ? UInt8(index / 2) : 100 }
    var seen: [UInt8] = []
    for (index, byte) in all.enumerated() {
      bench.receive(Packets.tcp(.ack, sequence: UInt32(1000 + index), acknowledgement: next, payload: [byte]))
      for case .received(flow, let slice) in bench.events() {
        seen += bench.pool.array(slice)
        bench.pool.release(slice)
      }
    }
    #expect(seen == all)
    #expect(bench.leakedSlabs() == 0)
  }

  /// When memory is short, what came ahead of its turn is given back, and comes again.
  @Test func whatIsAheadOfItsTurnCanBeLetGo() throws {
    let bench = Bench { _ in }
    let (flow, next) = try #require(
      try bench.establish(options: TCPOptions(maximumSegmentSize: 1460, sackPermitted: true)))
    bench.pool.close(&bench.lane)
    let before = bench.pool.slabsInUse
    let pieces = (0..<5).map { [UInt8](repeating: UInt8($0), count: 1400) }
    for index in 1..<5 {
      bench.receive(
        Packets.tcp(.ack, sequence: UInt32(1000 + 1400 * index), acknowledgement: next, payload: pieces[index]))
    }
    _ = try bench.sentSegments()
    bench.stack.dropUnordered(pool: &bench.pool)
    bench.pool.close(&bench.lane)
    #expect(bench.pool.slabsInUse == before)
    #expect(bench.stack.counters.dropped(.noMemory) == 4)
    // The first alone is delivered, and acknowledged without a word of the others.
    bench.receive(Packets.tcp(.ack, sequence: 1000, acknowledgement: next, payload: pieces[0]))
    let answer = try #require(try bench.sentSegments().last)
    #expect(answer.acknowledgement == 2400 && answer.options.sackBlocks == SACKBlocks())
    for index in 1..<5 {
      bench.receive(
        Packets.tcp(.ack, sequence: UInt32(1000 + 1400 * index), acknowledgement: next, payload: pieces[index]))
    }
    var seen: [UInt8] = []
    for case .received(flow, let slice) in bench.events() {
      seen += bench.pool.array(slice)
      bench.pool.release(slice)
    }
    let isWhole = seen == pieces.flatMap { $0 }
    #expect(isWhole)
    #expect(bench.leakedSlabs() == 0)
  }

  @Test func fragmentsOfADatagramAreBounded() throws {
    let bench = Bench { $0.limits.fragmentsPerDatagram = 20 }
    let datagram = Packets.udp(Simulation.pattern(800, seed: 8))
    let many = try Packets.fragments(datagram, size: 8, identification: 1)
    #expect(many.count > 100)
    for fragment in many { bench.receive(fragment) }
    #expect(bench.events().isEmpty)
    // At the bound the datagram is dropped, and what still comes of it.
    #expect(bench.stack.counters.dropped(.fragmentLimit) == 1)
    #expect(bench.stack.reassembly.byteCount == 0)
    for fragment in try Packets.fragments(datagram, size: 48, identification: 2) { bench.receive(fragment) }
    #expect(bench.events().count == 1 && bench.stack.counters.reassembled == 1)
    #expect(bench.leakedSlabs() == 0)
  }

  @Test func packetsWithoutAFlowThatWaitAreBounded() throws {
    let bench = Bench {
      $0.limits.outgoing = 10
      $0.limits.errorsPerSecond = 10_000
    }
    let connection = try #require(try establish(bench, from: 1))
    bench.receive(Packets.udp([1], from: port(2)))
    guard case .datagramFlowRequested(let flow, _)? = bench.events().first else { return }
    bench.stack.acceptDatagrams(flow, pool: &bench.pool, now: bench.now)
    for case .datagram(_, let slice) in bench.events() { bench.pool.release(slice) }
    // RSTs, datagrams and answers to pings all wait in the same queue.
    for index in 0..<20 {
      bench.receive(Packets.tcp(.ack, sequence: 5, acknowledgement: 77, from: port(3000 + index)))
      bench.stack.sendDatagram(flow, bench.slice([UInt8](repeating: 1, count: 600)), pool: &bench.pool, now: bench.now)
    }
    bench.receive(Packets.icmp(.echoRequest(identifier: 5, sequence: 6), payload: [1, 2, 3]))
    for case .echoRequested(let echo, let slice) in bench.events() {
      bench.stack.sendEchoReply(echo, slice, pool: &bench.pool, now: bench.now)
      bench.stack.sendUnreachable(echo, .host, now: bench.now)
    }
    #expect(bench.stack.counters.dropped(.outgoingLimit) == 32)
    #expect(bench.stack.counters.resetsOut == 5 && bench.stack.counters.datagramsOut == 5)
    // Connections don't wait there.
    bench.stack.send(connection.flow, bench.slice([9]), pool: &bench.pool, now: bench.now)
    #expect(try bench.sent().count == 11)
    #expect(isAlive(bench, connection, from: 1))
    #expect(bench.leakedSlabs() == 0)
  }

  @Test func straySegmentsGetSoManyResetsASecond() throws {
    let bench = Bench { $0.limits.errorsPerSecond = 5 }
    for second in 1...3 {
      for index in 0..<50 {
        bench.receive(Packets.tcp(.ack, sequence: 5, acknowledgement: 77, from: port(3000 + index)))
      }
      #expect(try bench.sentSegments().count == 5)
      #expect(bench.stack.counters.dropped(.rateLimit) == UInt64(45 * second))
      try bench.advance(.seconds(1))
    }
  }

  @Test func aSuperSegmentIsAsLargeAsTheHeadersAllow() throws {
    for isV6 in [false, true] {
      let bench = Bench {
        $0.segmentationOffload = true
        $0.checksumOffload = true
      }
      let (source, destination) = isV6 ? (Packets.application6, Packets.device6) : (Packets.application, Packets.device)
      bench.receive(
        Packets.tcp(
          .syn, sequence: 999, options: TCPOptions(maximumSegmentSize: 1440, windowScale: 7), from: source,
          to: destination))
      guard case .openRequested(let flow, _)? = bench.events().first else { return }
      bench.stack.accept(flow, pool: &bench.pool, now: bench.now)
      let answer = try #require(try bench.sentSegments().first)
      bench.receive(
        Packets.tcp(
          .ack, sequence: 1000, acknowledgement: answer.sequence &+ 1, window: 8000, from: source, to: destination))
      for _ in 0..<2 {
        bench.stack.send(
          flow, bench.slice([UInt8](repeating: 1, count: 200_000)), pool: &bench.pool, now: bench.now)
      }
      var sizes: [Int] = []
      while bench.stack.nextTransmit(into: &bench.transmit, pool: &bench.pool, now: bench.now) {
        sizes.append(bench.transmit.count)
        #expect(bench.transmit.payloadCount <= StackConfiguration().maximumSuperSegment)
        bench.transmit.clear(pool: &bench.pool)
      }
      #expect(sizes.allSatisfy { $0 <= 65_535 } && sizes.count >= 6 && (sizes.first ?? 0) > 64_000, "\(sizes)")
      #expect(bench.leakedSlabs() == 0)
    }
  }

  @Test func aSuperSegmentHasSoManySlices() throws {
    let bench = Bench {
      $0.segmentationOffload = true
      $0.checksumOffload = true
    }
    let (flow, next) = try #require(try bench.establish())
    bench.receive(Packets.tcp(.ack, sequence: 1000, acknowledgement: next, window: 65_000))
    // From two lanes in turn, so that neighbours don't join.
    var other = SlabLane()
    for index in 0..<200 {
      if index % 2 == 0 {
        bench.stack.send(flow, bench.slice([UInt8](repeating: 1, count: 100)), pool: &bench.pool, now: bench.now)
      } else if let slice = bench.pool.copy([UInt8](repeating: 1, count: 100).span, in: &other) {
        bench.stack.send(flow, slice, pool: &bench.pool, now: bench.now)
      }
    }
    bench.pool.close(&other)
    var slices: [Int] = []
    var bytes = 0
    while bench.stack.nextTransmit(into: &bench.transmit, pool: &bench.pool, now: bench.now) {
      slices.append(bench.transmit.payload.count)
      bytes += bench.transmit.payloadCount
      bench.transmit.clear(pool: &bench.pool)
    }
    #expect(slices.max() == StackConfiguration().maximumSlices && bytes == 20_000, "\(slices)")
    #expect(bench.leakedSlabs() == 0)
  }

  @Test func aSuperDatagramHoldsSoMany() {
    let bench = Bench()
    let offload = { (size: Int) in
      Offload(checksum: .partial(start: 20, offset: 6), segmentation: .udp, segmentSize: size)
    }
    bench.receive(Packets.udp([UInt8](repeating: 1, count: 1280)), offload: offload(10))
    guard case .datagramFlowRequested(let flow, _)? = bench.events().first else {
      Issue.record("no request")
      return
    }
    bench.stack.acceptDatagrams(flow, pool: &bench.pool, now: bench.now)
    for size in [10, 9, 1] {
      bench.receive(Packets.udp([UInt8](repeating: 1, count: 1280)), offload: offload(size))
    }
    let slices = bench.events().compactMap { if case .datagram(_, let slice) = $0 { slice } else { nil } }
    #expect(slices.count == 256 && bench.stack.counters.dropped(.malformed) == 2)
    for slice in slices { bench.pool.release(slice) }
    #expect(bench.leakedSlabs() == 0)
  }

  /// When memory is short, packets are lost and counted, as on a wire.
  @Test func withoutMemoryNothingIsHeld() throws {
    let bench = Bench()
    var held: [Slice] = []
    let fragments = try Packets.fragments(
      Packets.udp(Simulation.pattern(4000, seed: 8)), size: 1000, identification: 7)
    let packet = bench.slice(fragments[0])
    while let slab = bench.pool.takeSlab() { held.append(slab) }
    bench.stack.receive(packet, offload: .none, pool: &bench.pool, now: bench.now)
    #expect(bench.stack.counters.dropped(.noMemory) == 1)
    bench.pool.release(packet)
    for slab in held { bench.pool.release(slab) }
    #expect(bench.leakedSlabs() == 0)
  }
}
