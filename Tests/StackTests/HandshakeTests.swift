import Packet
import Primitives
import Testing

@testable import Stack

@Suite struct HandshakeTests {
  @Test func sendsNothingBeforeAccept() throws {
    let bench = Bench()
    bench.receive(Packets.tcp(.syn, sequence: 999))
    let events = bench.events()
    guard case .openRequested(let flow, let tuple)? = events.first else {
      Issue.record("no request")
      return
    }
    #expect(events.count == 1)
    #expect(tuple.source == Packets.application && tuple.destination == Packets.device)
    #expect(try bench.sent().isEmpty)
    // The application tries again: still one request, still no answer.
    bench.receive(Packets.tcp(.syn, sequence: 999))
    #expect(bench.events().isEmpty)
    #expect(try bench.advance(.seconds(60)).isEmpty)
    bench.stack.accept(flow, pool: &bench.pool, now: bench.now)
    let answer = try #require(try bench.sentSegments().first)
    #expect(answer.flags == [.syn, .ack])
    #expect(answer.acknowledgement == 1000)
    #expect(bench.leakedSlabs() == 0)
  }

  @Test func answersOffersOnlyWithWhatWasOffered() throws {
    let bench = Bench()
    bench.receive(Packets.tcp(.syn, sequence: 999, options: TCPOptions(maximumSegmentSize: 1460)))
    guard case .openRequested(let flow, _)? = bench.events().first else { return }
    bench.stack.accept(flow, pool: &bench.pool, now: bench.now)
    var answer = try #require(try bench.sentSegments().first)
    #expect(answer.options.maximumSegmentSize == 1460)
    #expect(answer.options.windowScale == nil && !answer.options.sackPermitted && answer.options.timestamps == nil)

    let other = Bench()
    other.receive(
      Packets.tcp(
        .syn, sequence: 999,
        options: TCPOptions(
          maximumSegmentSize: 1460, windowScale: 9, sackPermitted: true, timestamps: .init(value: 7, echo: 0))))
    guard case .openRequested(let full, _)? = other.events().first else { return }
    other.stack.accept(full, pool: &other.pool, now: other.now)
    answer = try #require(try other.sentSegments().first)
    #expect(answer.options.windowScale == 7 && answer.options.sackPermitted)
    #expect(answer.options.timestamps?.echo == 7)
  }

  @Test func repeatsSynAckUntilAcknowledged() throws {
    let bench = Bench()
    bench.receive(Packets.tcp(.syn, sequence: 999))
    guard case .openRequested(let flow, _)? = bench.events().first else { return }
    bench.stack.accept(flow, pool: &bench.pool, now: bench.now)
    let first = try #require(try bench.sentSegments().first)
    let again = try bench.advance(.seconds(8))
    #expect(again.count == 3)
    // A SYN that comes again is answered at once.
    bench.receive(Packets.tcp(.syn, sequence: 999))
    let answer = try #require(try bench.sentSegments().first)
    #expect(answer.sequence == first.sequence && answer.flags == [.syn, .ack])
    // And in the end the connection is given up.
    try bench.advance(.seconds(200))
    #expect(bench.events() == [.reset(flow, .timedOut)])
    #expect(bench.stack.halfOpenCount == 0 && bench.stack.connectionCount == 0)
  }

  @Test(arguments: [
    Refusal.reset, .unreachable(.host), .unreachable(.network), .unreachable(.port), .unreachable(.adminProhibited),
    .silent,
  ])
  func refusesAsTold(_ refusal: Refusal) throws {
    for isV6 in [false, true] {
      let bench = Bench()
      let (source, destination) =
        isV6 ? (Packets.application6, Packets.device6) : (Packets.application, Packets.device)
      let syn = Packets.tcp(.syn, sequence: 999, from: source, to: destination)
      bench.receive(syn)
      guard case .openRequested(let flow, _)? = bench.events().first else {
        Issue.record("no request")
        return
      }
      bench.stack.refuse(flow, refusal, pool: &bench.pool, now: bench.now)
      let sent = try bench.sent()
      switch refusal {
      case .silent: #expect(sent.isEmpty)
      case .reset:
        guard case .tcp(let header)? = sent.first?.packet.transport else {
          Issue.record("no RST")
          return
        }
        #expect(header.flags == [.rst, .ack] && header.acknowledgement == 1000 && header.sequence == 0)
      case .unreachable(let what):
        let packet = try #require(sent.first)
        #expect(packet.packet.destination == source.address)
        #expect(
          packet.packet.transport
            == .icmp(.destinationUnreachable(code: what.code(source.address.family), mtu: nil)))
        #expect(Array(packet.bytes[packet.packet.payloadOffset...]) == syn)
        let quoted = try QuotedPacket(parsing: packet.bytes.span.extracting(packet.packet.payloadOffset...))
        #expect(quoted.fiveTuple.source == source)
      }
      #expect(bench.stack.connectionCount == 0 && bench.stack.halfOpenCount == 0)
      #expect(bench.leakedSlabs() == 0)
    }
  }

  @Test func boundsHalfOpenConnectionsAndKeepsLiveOnes() throws {
    let bench = Bench { $0.limits.halfOpen = 8 }
    let (flow, next) = try #require(try bench.establish())
    for port in UInt16(1)...100 {
      bench.receive(Packets.tcp(.syn, sequence: 5, from: Endpoint(Packets.application.address, port)))
    }
    #expect(bench.events().count == 8)
    #expect(bench.stack.halfOpenCount == 8)
    #expect(bench.stack.counters.dropped(.halfOpenLimit) == 92)
    bench.receive(Packets.tcp(.ack, sequence: 1000, acknowledgement: next, payload: [1, 2, 3]))
    guard case .received(flow, let slice)? = bench.events().first else {
      Issue.record("the live flow suffered")
      return
    }
    bench.pool.release(slice)
    #expect(bench.leakedSlabs() == 0)
  }

  @Test func opensActivelyAndHearsRefusal() throws {
    let bench = Bench()
    let flow = try bench.stack.connect(from: Packets.device, to: Packets.application, now: bench.now)
    let syn = try #require(try bench.sentSegments().first)
    #expect(syn.flags == .syn && syn.options.maximumSegmentSize == 1460 && syn.options.windowScale == 7)
    // A RST with a wrong number is ignored.
    bench.receive(Packets.tcp([.rst, .ack], sequence: 0, acknowledgement: syn.sequence))
    #expect(bench.events().isEmpty)
    bench.receive(Packets.tcp([.rst, .ack], sequence: 0, acknowledgement: syn.sequence &+ 1))
    #expect(bench.events() == [.reset(flow, .refused)])
    #expect(throws: StackError.badEndpoint) {
      try bench.stack.connect(from: Packets.device6, to: Packets.application, now: bench.now)
    }
  }

  @Test func opensSimultaneously() throws {
    var simulation = Simulation(seed: 3)
    try simulation.connect()
    simulation.second.flow = try simulation.second.stack.connect(
      from: Simulation.secondEnd, to: Simulation.firstEnd, now: simulation.now)
    simulation.first.outbox = Simulation.pattern(5000, seed: 1)
    simulation.second.outbox = Simulation.pattern(7000, seed: 2)
    simulation.runToClose()
    #expect(simulation.first.inbox == simulation.second.outbox)
    #expect(simulation.second.inbox == simulation.first.outbox)
    #expect(simulation.first.isClosed && simulation.second.isClosed)
  }

  @Test func resetsSegmentsWithoutConnection() throws {
    let bench = Bench()
    bench.receive(Packets.tcp(.ack, sequence: 5, acknowledgement: 77))
    let reset = try #require(try bench.sentSegments().first)
    #expect(reset.flags == .rst && reset.sequence == 77)
    bench.receive(Packets.tcp(.rst, sequence: 5))
    bench.receive(Packets.tcp([.syn, .fin], sequence: 5, from: Endpoint(IPAddress(224, 0, 0, 1), 4)))
    #expect(try bench.sent().isEmpty)
  }
}
