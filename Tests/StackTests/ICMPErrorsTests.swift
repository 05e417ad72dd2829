import Packet
import Primitives
import Testing

@testable import Stack

@Suite struct ICMPErrorsTests {
  @Test(arguments: [false, true]) func answersEcho(isV6: Bool) throws {
    let bench = Bench()
    let (source, destination) =
      isV6
      ? (Packets.application6.address, Packets.device6.address)
      : (Packets.application.address, Packets.device.address)
    let data = Simulation.pattern(56, seed: 1)
    bench.receive(
      Packets.icmp(.echoRequest(identifier: 5, sequence: 6), payload: data, from: source, to: destination))
    guard case .echoRequested(let echo, let slice)? = bench.events().first else {
      Issue.record("no event")
      return
    }
    #expect(bench.pool.array(slice) == data)
    bench.stack.sendEchoReply(echo, slice, pool: &bench.pool, now: bench.now)
    let reply = try #require(try bench.sent().first)
    #expect(reply.packet.transport == .icmp(.echoReply(identifier: 5, sequence: 6)))
    #expect(reply.packet.source == destination && reply.packet.destination == source)
    #expect(Array(reply.bytes[reply.packet.payloadOffset...]) == data)

    bench.stack.sendUnreachable(echo, .host, now: bench.now)
    let error = try #require(try bench.sent().first)
    guard case .icmp(.destinationUnreachable) = error.packet.transport else {
      Issue.record("no error")
      return
    }
    let quote = try QuotedPacket(parsing: error.bytes.span.extracting(error.packet.payloadOffset...))
    #expect(quote.fiveTuple.source.address == source && quote.sequence == 5 << 16 | 6)
    #expect(bench.leakedSlabs() == 0)
  }

  @Test func tellsOfARejectedDatagram() throws {
    let bench = Bench()
    bench.receive(Packets.udp([1]))
    guard case .datagramFlowRequested(let flow, _)? = bench.events().first else { return }
    bench.stack.acceptDatagrams(flow, pool: &bench.pool, now: bench.now)
    for case .datagram(_, let slice) in bench.events() { bench.pool.release(slice) }
    bench.stack.sendDatagram(flow, bench.slice([5]), pool: &bench.pool, now: bench.now)
    let sent = try #require(try bench.sent().first)
    bench.receive(Packets.icmp(.destinationUnreachable(code: 3, mtu: nil), payload: sent.bytes))
    #expect(bench.events() == [.datagramRejected(flow)])
    // A quote of what we never sent tells nothing, and an error is never answered by an error.
    bench.receive(Packets.icmp(.destinationUnreachable(code: 3, mtu: nil), payload: Packets.udp([1])))
    bench.receive(Packets.icmp(.timeExceeded(code: 0), payload: sent.bytes))
    #expect(bench.events().isEmpty)
    #expect(try bench.sent().isEmpty)
    #expect(bench.leakedSlabs() == 0)
  }

  @Test func answersNoGroup() throws {
    let bench = Bench()
    let group = Endpoint(IPAddress(224, 0, 0, 251), 5353)
    bench.receive(Packets.udp([1], to: group))
    guard case .datagramFlowRequested(let flow, _)? = bench.events().first else { return }
    bench.stack.refuse(flow, .unreachable(.port), pool: &bench.pool, now: bench.now)
    #expect(try bench.sent().isEmpty)
    bench.receive(Packets.udp([1], from: group))
    #expect(bench.stack.counters.dropped(.badAddress) == 1)
    #expect(bench.leakedSlabs() == 0)
  }

  @Test func limitsTheQuote() throws {
    let bench = Bench()
    bench.receive(Packets.udp(.init(repeating: 3, count: 1400)))
    guard case .datagramFlowRequested(let flow, _)? = bench.events().first else { return }
    bench.stack.refuse(flow, .reset, pool: &bench.pool, now: bench.now)
    let error = try #require(try bench.sent().first)
    #expect(error.bytes.count == 576)
    #expect(error.packet.transport == .icmp(.destinationUnreachable(code: 3, mtu: nil)))
    #expect(bench.leakedSlabs() == 0)
  }
}
