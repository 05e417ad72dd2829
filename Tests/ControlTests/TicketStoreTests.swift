import Control
import Crypto
import Primitives
import Testing

@Suite struct TicketStoreTests {
  let session: SessionID
  let key = KeyHash([UInt8](repeating: 1, count: 32))!
  let otherKey = KeyHash([UInt8](repeating: 2, count: 32))!
  let start = Instant(nanoseconds: 5_000_000_000)

  init() throws {
    session = try SessionID.random()
  }

  @Test func ticketsWorkOnce() throws {
    var store = TicketStore()
    let ticket = try store.issue(.siteManager, session: session, keyHash: key, now: start)
    #expect(try store.redeem(ticket, as: .siteManager, keyHash: key, now: start) == session)
    #expect(throws: TicketError.unknown) { try store.redeem(ticket, as: .siteManager, keyHash: key, now: start) }
    #expect(store.count == 0)
  }

  @Test func ticketsAreBoundToRoleAndKeyAndSpentByATry() throws {
    var store = TicketStore()
    let first = try store.issue(.siteManager, session: session, keyHash: key, now: start)
    #expect(throws: TicketError.wrongRole) { try store.redeem(first, as: .linkManager, keyHash: key, now: start) }
    #expect(throws: TicketError.unknown) { try store.redeem(first, as: .siteManager, keyHash: key, now: start) }
    let second = try store.issue(.linkManager, session: session, keyHash: key, now: start)
    #expect(throws: TicketError.wrongKey) { try store.redeem(second, as: .linkManager, keyHash: otherKey, now: start) }
    #expect(throws: TicketError.unknown) { try store.redeem(second, as: .linkManager, keyHash: key, now: start) }
  }

  @Test func ticketsExpire() throws {
    var store = TicketStore()
    let ticket = try store.issue(
      .linkManager, session: session, keyHash: key, lifetime: .seconds(600), now: start)
    #expect(store.nextDeadline == start + .seconds(30))
    #expect(throws: TicketError.expired) {
      try store.redeem(ticket, as: .linkManager, keyHash: key, now: start + .seconds(30))
    }
    let last = try store.issue(.linkManager, session: session, keyHash: key, lifetime: .seconds(2), now: start)
    let redeemed = try store.redeem(
      last, as: .linkManager, keyHash: key, now: start + .seconds(2) - .milliseconds(1))
    #expect(redeemed == session)
  }

  @Test func theStoreIsBoundedAndSwept() throws {
    var store = TicketStore(limit: 3)
    for _ in 0..<3 { _ = try store.issue(.linkManager, session: session, keyHash: key, now: start) }
    #expect(throws: TicketError.tooMany) {
      try store.issue(.linkManager, session: session, keyHash: key, now: start + .seconds(29))
    }
    _ = try store.issue(.linkManager, session: session, keyHash: key, now: start + .seconds(30))
    #expect(store.count == 1)
    store.sweep(now: start + .seconds(60))
    #expect(store.count == 0)
    #expect(store.nextDeadline == nil)
  }

  @Test func sessionsCanBeRevoked() throws {
    var store = TicketStore()
    let ticket = try store.issue(.linkManager, session: session, keyHash: key, now: start)
    let kept = try store.issue(.linkManager, session: SessionID.random(), keyHash: key, now: start)
    store.revoke(session)
    #expect(throws: TicketError.unknown) { try store.redeem(ticket, as: .linkManager, keyHash: key, now: start) }
    _ = try store.redeem(kept, as: .linkManager, keyHash: key, now: start)
  }

  @Test func ticketsDoNotShowThemselves() throws {
    let ticket = try Ticket.random()
    #expect("\(ticket)" == "ticket")
    #expect("\(ControlMessage.attach(ticket))" == "attach(ticket)")
    #expect(Ticket([1, 2]) == nil)
  }
}

func - (instant: Instant, interval: Interval) -> Instant {
  Instant(nanoseconds: instant.nanoseconds - interval.nanoseconds)
}
