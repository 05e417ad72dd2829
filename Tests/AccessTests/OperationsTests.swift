import Control
import Crypto
import Testing

@testable import Access

@Suite(.serialized, .timeLimit(.minutes(1))) struct OperationsTests {
  private final class World {
    let directory: TemporaryDirectory
    let operations: Operations
    private var time: Int64 = Plant.now * 1_000_000

    init() throws {
      directory = try TemporaryDirectory()
      let key = try PrivateKey.generate()
      let store = try AccessStore(path: directory.store, key: key)
      #expect(try store.setUp(time: time))
      operations = Operations(store: store, gateKey: key.keyHash)
    }

    @discardableResult func perform(_ operation: Operation, by actor: Actor = .host) throws(OperationError)
      -> OperationAnswer
    {
      time += 1_000_000
      return try operations.perform(operation, by: actor, time: time)
    }

    func error(_ operation: Operation, by actor: Actor = .host) -> OperationError? {
      do throws(OperationError) {
        try perform(operation, by: actor)
        return nil
      } catch {
        return error
      }
    }
  }

  private let password = "Correct-Horse-7"

  @Test func theWholeStory() throws {
    let world = try World()
    let acme = Plant.path("ROOT.Acme")
    try world.perform(.addDomain(acme))
    try world.perform(.addDomain(acme.child("Line1")!))
    try world.perform(.addAccount(.init(name: "boss", domain: acme, role: .domainAdministrator, password: password)))
    let boss = Actor.account("boss")
    try world.perform(.addAccount(.init(name: "ann", domain: acme, password: password)), by: boss)
    guard
      case .code(let text, let expires) = try world.perform(.addSite("north", acme.child("Line1"), hours: 2), by: boss)
    else {
      Issue.record("no code")
      return
    }
    let code = try EnrolmentCode(text)
    let hash = Hex.encode(try EnrolmentCode.hash(secret: code.secret).bytes)
    #expect(world.operations.store.state.codes[hash] == "north" && expires > Plant.now)
    let ask = Operation.explain(account: "ann", site: "north", agent: "plc", hasReason: true)
    guard case .explanation(false, let why) = try world.perform(ask, by: .account("ann")) else {
      Issue.record("allowed without a rule")
      return
    }
    #expect(
      why == "no rule lets ann reach site north in ROOT.Acme.Line1: an administrator of ROOT.Acme.Line1 can make one")
    let rule = AccessRule(subject: .account("ann"), domain: acme, agents: ["plc"], requiresReason: true, created: 0)
    #expect(try world.perform(.addRule(rule), by: boss) == .rule(1))
    #expect(
      try world.perform(ask, by: .account("ann"))
        == .explanation(isAllowed: true, text: "allowed by rule 1; the site isn't connected"))
    try world.perform(.addAccount(.init(name: "old", domain: .root, password: password, reachesAll: true)))
    #expect(world.operations.store.state.rules[2]?.subject == .account("old"))
    let told = try world.operations.store.audit(after: 0, limit: 100).last?.event
    #expect(told?.operation == "addAccount" && told?.rules == [2])
    try world.perform(.removeRule(1), by: boss)
    #expect(world.error(.verifyAudit(noted: nil), by: boss) == .notPermitted(needs: .host))
    guard case .verified(let head) = try world.perform(.verifyAudit(noted: nil)),
      case .audit(let entries) = try world.perform(.listAudit(after: 0, limit: 100))
    else {
      Issue.record("no audit")
      return
    }
    #expect(head.number == Int64(entries.count))
    #expect(entries.map(\.event.operation).suffix(3) == ["addAccount", "removeRule", "verifyAudit"])
    #expect(entries.last?.event.kind == .refusal && entries.last?.event.account == "boss")
    #expect(entries.contains { $0.event.object == "account ann × ROOT.Acme, agents plc, with a reason" })
    #expect(!"\(entries)".contains(password))
    let backup = "\(world.directory.path)/backup"
    #expect(try world.perform(.backUp(to: backup)) == .done)
    let last = try world.operations.store.audit(after: head.number, limit: 100)
    #expect(last.map(\.event.operation) == ["backUp"] && last[0].event.object == backup)
    #expect(last[0].event.account == "host")
    #expect(try AccessStore(path: backup, key: PrivateKey.generate()).state == world.operations.store.state)
  }

  @Test func whatCannotBeIsRefused() throws {
    let world = try World()
    try world.perform(.addDomain(Plant.path("ROOT.Acme")))
    #expect(world.error(.addDomain(Plant.path("ROOT.ACME"))) == .exists("domain", "ROOT.Acme"))
    #expect(world.error(.addDomain(.root)) == .exists("domain", "ROOT"))
    #expect(world.error(.addDomain(Plant.path("ROOT.None.New"))) == .unknown("domain", "ROOT.None"))
    #expect(world.error(.removeDomain(.root)) == .invalid("ROOT can't be removed"))
    let account = { (name: String, password: String) in
      Operation.addAccount(.init(name: name, domain: Plant.path("ROOT.Acme"), password: password))
    }
    try world.perform(account("ann", password))
    #expect(world.error(account("ann", password)) == .exists("account", "ann"))
    guard case .invalid = world.error(account("bob", "short")), case .invalid = world.error(account("Bob", password))
    else {
      Issue.record("a bad name or password")
      return
    }
    #expect(world.error(.removeDomain(Plant.path("ROOT.Acme"))) == .notEmpty("ROOT.Acme"))
    try world.perform(.addSite("north", nil, hours: 1))
    #expect(world.error(.addSite("south", .root, hours: 0)) == .invalid("a code is good for 1 to 8760 hours"))
    var rule = AccessRule(subject: .account("ann"), domain: Plant.path("ROOT.Acme"), site: "north", created: 0)
    #expect(world.error(.addRule(rule)) == .invalid("site north isn't in ROOT.Acme"))
    rule.site = nil
    rule.ports = PortLimits()
    #expect(world.error(.addRule(rule)) == .invalid("a rule without any port allows nothing"))
    rule.ports = nil
    rule.slots = WeeklySlots(zone: "Europe/Atlantis", slots: [WeeklySlots.Slot("mon 06:00-07:00")!])
    #expect(world.error(.addRule(rule)) == .invalid("this host doesn't know the time zone Europe/Atlantis"))
    rule.slots = nil
    rule.agents = Array(repeating: "a", count: AccessLimits.ruleAgents + 1)
    #expect(world.error(.addRule(rule)) != nil)
    rule.agents = ["a b"]
    #expect(world.error(.addRule(rule)) != nil)
    #expect(world.error(.enableRule(7, true)) == .unknown("rule", "7"))
    #expect(world.error(.removePC(account: "ann", name: "x")) == .unknown("PC", "x"))
  }

  @Test func numbersAreBounded() throws {
    var state = Plant.state()
    let own = Plant.path("ROOT.A")
    let plan = { (operation: Operation, state: AccessState) -> OperationError? in
      do throws(OperationError) {
        let prepared = OperationPlan.Preparation(passwordHash: "-", code: ("c", "h"))
        _ = try OperationPlan.make(operation, prepared, state, now: 0)
        return nil
      } catch {
        return error
      }
    }
    for number in 0..<AccessLimits.groupsPerAccount {
      state.apply(.putGroup(AccountGroup(name: "g\(number)", domain: own, members: ["a-ann"])))
    }
    #expect(plan(.addMember(group: "a-staff", account: "a-ann"), state) == .tooMany("group of one account", 64))
    state.apply(
      .putGroup(AccountGroup(name: "full", domain: own, members: (0..<AccessLimits.groupMembers).map { "m\($0)" })))
    #expect(plan(.addMember(group: "full", account: "b-ann"), state) == .tooMany("member", 1000))
    for _ in 0..<AccessLimits.rulesPerSubjectAndDomain {
      state.apply(.putRule(AccessRule(id: state.nextRule, subject: .account("a-linkuser"), domain: own, created: 0)))
    }
    let rule = AccessRule(subject: .account("a-linkuser"), domain: own, created: 0)
    #expect(plan(.addRule(rule), state) == .tooMany("rule of one subject and domain", 256))
    var ann = try #require(state.accounts["a-ann"])
    ann.joined = Array(repeating: own, count: AccessLimits.joinedDomains)
    state.apply(.putAccount(ann))
    #expect(plan(.joinDomain(account: "a-ann", own), state) == .tooMany("joined domain", 64))
    for number in 0..<AccessLimits.records {
      state.apply(.putSite(AccessSite(name: "s\(number)", domain: own, created: 0)))
      state.apply(.putAccount(Account(name: "u\(number)", domain: own, password: "-", created: 0)))
    }
    #expect(plan(.addSite("new", own, hours: 1), state) == .tooMany("site", 10_000))
    let account = Operation.addAccount(.init(name: "new", domain: own, password: ""))
    #expect(plan(account, state) == .tooMany("account", 10_000))
  }
}
