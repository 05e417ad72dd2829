import Packet
import Primitives
import Testing

@testable import Stack

/// Peers that are asked whether they are still there (RFC 9293 section 3.8.4).
@Suite struct KeepaliveTests {
  private func isGone(_ events: [StackEvent]) -> Bool {
    events.contains { if case .reset(_, .timedOut) = $0 { true } else { false } }
  }

  @Test func asksASilentPeerAndGivesItUp() throws {
    let bench = Bench()
    let (_, next) = try #require(try bench.establish())
    #expect(try bench.advance(.seconds(599)).isEmpty)
    var probes = try bench.advance(.seconds(2))
    // A sequence number that was acknowledged already makes the peer answer.
    guard case .tcp(let probe)? = probes.first?.packet.transport else {
      Issue.record("no probe")
      return
    }
    #expect(probes.count == 1 && probe.sequence == next &- 1)
    bench.receive(Packets.tcp(.ack, sequence: 1000, acknowledgement: next))
    #expect(try bench.advance(.seconds(599)).isEmpty, "the answer begins the time anew")
    // Six questions, 75 seconds apart, and a reset for the peer that comes back later.
    probes = try bench.advance(.seconds(6 * 75))
    #expect(probes.count == 6 && bench.events().isEmpty)
    probes = try bench.advance(.seconds(76))
    #expect(isGone(bench.events()))
    #expect(bench.leakedSlabs() == 0)
  }

  @Test func asksAPeerThatHasFinishedSooner() throws {
    let bench = Bench()
    let (_, next) = try #require(try bench.establish())
    bench.receive(Packets.tcp([.fin, .ack], sequence: 1000, acknowledgement: next))
    _ = bench.events()
    _ = try bench.sent()
    #expect(try bench.advance(.seconds(16)).count == 1)
    // It is there, and waits for an answer: for as long as it likes.
    bench.receive(Packets.tcp(.ack, sequence: 1001, acknowledgement: next))
    #expect(try bench.advance(.seconds(16)).count == 1)
    // Its kernel knows nothing of it any more.
    bench.receive(Packets.tcp(.rst, sequence: 1001))
    #expect(bench.events().contains { if case .reset = $0 { true } else { false } })
    #expect(bench.stack.nextDeadline == nil && bench.leakedSlabs() == 0)
  }

  @Test func aHostThatStoodStillAsksBeforeItJudges() throws {
    let bench = Bench()
    let (_, next) = try #require(try bench.establish())
    bench.now = bench.now + .seconds(3600)
    for _ in 0..<10 {
      bench.stack.handleTimeout(pool: &bench.pool, now: bench.now)
      bench.now = bench.now + .milliseconds(1)
    }
    #expect(try bench.sent().count == 1 && bench.events().isEmpty)
    bench.receive(Packets.tcp(.ack, sequence: 1000, acknowledgement: next))
    #expect(try bench.advance(.seconds(599)).isEmpty && bench.events().isEmpty)
    #expect(bench.leakedSlabs() == 0)
  }
}
