import Control
import Primitives
import Testing

@testable import GateManager

struct DataPeerTests {
  private let start = Instant(nanoseconds: 1_000_000_000)

  private func waiting() throws -> DataPeer {
    var peer = DataPeer(now: start)
    let ticket = try Ticket.random()
    #expect(peer.receive(.attach(ticket)) == .redeem(ticket))
    peer.redeemed(now: start)
    return peer
  }

  @Test(arguments: [true, false]) func isRawAfterBothCloseNotify(oursFirst: Bool) throws {
    var peer = try waiting()
    #expect(peer.meet(now: start) == .leave && !peer.isRaw)
    #expect((oursFirst ? peer.sentCloseNotify() : peer.receivedCloseNotify()) == nil && !peer.isRaw)
    #expect((oursFirst ? peer.receivedCloseNotify() : peer.sentCloseNotify()) == .raw && peer.isRaw)
  }

  @Test func anythingButATicketEndsIt() {
    var peer = DataPeer(now: start)
    #expect(peer.receive(.list) == .close(.malformed))
  }

  @Test func nothingMayComeBehindTheTicket() throws {
    var early = try waiting()
    #expect(early.receivedCloseNotify() == .close(.disconnected))
    var second = try waiting()
    #expect(second.receive(.attach(try Ticket.random())) == .close(.malformed))
    var late = try waiting()
    _ = late.meet(now: start)
    _ = late.sentCloseNotify()
    #expect(late.receivedStrayData() == .close(.switchFailed))
    #expect(late.receivedCloseNotify() == .close(.disconnected) && !late.isRaw)
  }

  @Test func eachStepHasItsDeadline() throws {
    var ticket = DataPeer(now: start)
    #expect(ticket.handleTimeout(now: start + .seconds(9)) == nil)
    #expect(ticket.handleTimeout(now: start + .seconds(10)) == .close(.noTicket))
    var alone = try waiting()
    #expect(alone.handleTimeout(now: start + .seconds(30)) == .close(.noPeer))
    var half = try waiting()
    _ = half.meet(now: start)
    _ = half.sentCloseNotify()
    #expect(half.handleTimeout(now: start + .seconds(10)) == .close(.switchFailed))
    #expect(half.nextDeadline == nil)
  }
}
