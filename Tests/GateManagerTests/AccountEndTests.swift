import Access
import Control
import Testing

@testable import GateManager

struct AccountEndTests {
  @Test func anAccountEndsAfterSoManyDays() {
    #expect(AccountCommand.Add.end(afterDays: 30, now: 1000) == 2_593_000)
    #expect(AccountCommand.Add.end(afterDays: nil, now: 1000) == nil)
  }

  /// Who is cut hears what ended: the account, or the rule's time.
  @Test func whatEndedIsTold() throws {
    let slots = try #require(WeeklySlots.Slot("thu 00:00-01:00").flatMap { WeeklySlots(zone: "UTC", slots: [$0]) })
    let plc = AgentDescription(name: "plc", target: .device(.v4), tcp: [.all])
    for (slots, expires, story) in [
      (nil, 2000, "account ann has ended"), (slots, 2000, "account ann has ended"),
      (slots, 9000, "the time of rule 1 is over"), (slots, nil, "the time of rule 1 is over"),
    ] as [(WeeklySlots?, Int64?, String)] {
      var state = AccessState()
      state.apply([
        .putDomain(Domain(path: .root, created: 0)),
        .putSite(AccessSite(name: "north", domain: .root, created: 0)),
        .putAccount(Account(name: "ann", password: "-", expires: expires, created: 0)),
        .putRule(AccessRule(id: 1, subject: .account("ann"), domain: .root, slots: slots, created: 0)),
      ])
      let allowed = try Authorisation.decide(
        state, account: "ann", site: "north", announced: [plc], wanted: nil, reason: nil, now: 60)
      #expect(allowed.ending(of: "ann") == story && allowed.until == min(expires ?? .max, slots == nil ? .max : 3600))
    }
  }
}
