import Control
import Testing

@testable import Access

/// Role × operation × own or foreign object, for every operation there is.
@Suite struct OperationMatrixTests {
  /// What a row says of an operation: the right that it needs, and how it is asked of what belongs to a company.
  private struct Row: Sendable {
    let needs: AccessRight
    /// With the letter and the domain of a company.
    let make: @Sendable (String, DomainPath) -> Operation
    /// Lists have no object: they leave out what is foreign.
    var isList = false
  }

  private static let rows: [Operation.Kind: Row] = [
    .listDomains: Row(needs: .view, make: { _, _ in .listDomains }, isList: true),
    .addDomain: Row(needs: .administer) { _, domain in .addDomain(domain.child("New")!) },
    .removeDomain: Row(needs: .administer) { _, domain in .removeDomain(domain.child("Empty")!) },
    .listAccounts: Row(needs: .view, make: { _, _ in .listAccounts }, isList: true),
    .addAccount: Row(needs: .operate) { _, domain in
      .addAccount(.init(name: "new", domain: domain, password: "Correct-Horse-7"))
    },
    .removeAccount: Row(needs: .operate) { letter, _ in .removeAccount("\(letter)-ann") },
    .enableAccount: Row(needs: .operate) { letter, _ in .enableAccount("\(letter)-ann", false) },
    .setRole: Row(needs: .administer) { letter, _ in .setRole("\(letter)-ann", .domainAdministrator) },
    .setPassword: Row(needs: .operate) { letter, _ in .setPassword("\(letter)-ann", password: "Correct-Horse-8") },
    .enrolOneTimeCode: Row(needs: .operate) { letter, _ in .enrolOneTimeCode("\(letter)-ann") },
    .removeOneTimeCode: Row(needs: .operate) { letter, _ in .removeOneTimeCode("\(letter)-ann") },
    .requireOneTimeCode: Row(needs: .administer) { _, domain in .requireOneTimeCode(domain, .linkUser, true) },
    .joinDomain: Row(needs: .administer) { letter, domain in .joinDomain(account: "\(letter)-ann", domain) },
    .leaveDomain: Row(needs: .administer) { letter, domain in .leaveDomain(account: "\(letter)-ann", domain) },
    .removePC: Row(needs: .operate) { letter, _ in .removePC(account: "\(letter)-ann", name: "laptop") },
    .listGroups: Row(needs: .view, make: { _, _ in .listGroups }, isList: true),
    .addGroup: Row(needs: .administer) { _, domain in .addGroup("new", domain) },
    .removeGroup: Row(needs: .administer) { letter, _ in .removeGroup("\(letter)-staff") },
    .addMember: Row(needs: .administer) { letter, _ in .addMember(group: "\(letter)-staff", account: "\(letter)-ann") },
    .removeMember: Row(needs: .administer) { letter, _ in
      .removeMember(group: "\(letter)-staff", account: "\(letter)-linkuser")
    },
    .listSites: Row(needs: .view, make: { _, _ in .listSites }, isList: true),
    .addSite: Row(needs: .operate) { _, domain in .addSite("new", domain, hours: 1) },
    .renewSite: Row(needs: .operate) { letter, _ in .renewSite("\(letter)-north", hours: 1) },
    .attachSite: Row(needs: .administer) { letter, domain in .attachSite("\(letter)-north", domain) },
    .detachSite: Row(needs: .administer) { letter, _ in .detachSite("\(letter)-north") },
    .removeSite: Row(needs: .administer) { letter, _ in .removeSite("\(letter)-north") },
    .listRules: Row(needs: .view, make: { _, _ in .listRules }, isList: true),
    .addRule: Row(needs: .administer) { letter, domain in
      .addRule(AccessRule(subject: .account("\(letter)-ann"), domain: domain, created: 0))
    },
    .removeRule: Row(needs: .administer) { letter, _ in .removeRule(letter == "a" ? 1 : 2) },
    .enableRule: Row(needs: .administer) { letter, _ in .enableRule(letter == "a" ? 1 : 2, false) },
    .explain: Row(needs: .view) { letter, _ in
      .explain(account: "\(letter)-ann", site: "\(letter)-north", agent: "plc", hasReason: false)
    },
    .listAudit: Row(needs: .view, make: { _, _ in .listAudit(after: 0, limit: 10) }, isList: true),
    .verifyAudit: Row(needs: .host) { _, _ in .verifyAudit(noted: nil) },
    .backUp: Row(needs: .host) { _, _ in .backUp(to: "/tmp/x") },
  ]

  /// Operations that need more than others of their kind.
  private static let special: [Operation.Kind: Row] = [
    .addAccount: Row(needs: .administer) { _, domain in
      .addAccount(.init(name: "new", domain: domain, password: "Correct-Horse-7", reachesAll: true))
    }
  ]

  @Test func everyOperationIsInIt() {
    #expect(Set(Self.rows.keys) == Set(Operation.Kind.allCases))
    for (kind, row) in Self.rows { #expect(row.make("a", .root).kind == kind) }
  }

  private func refusal(_ operation: Operation, _ actor: Actor, _ state: AccessState) -> OperationError? {
    do throws(OperationError) {
      try OperationPermission.check(operation, by: actor, state, now: Plant.now)
      // What is permitted can be done, too.
      let prepared = OperationPlan.Preparation(
        passwordHash: "-", code: ("code", String(repeating: "0", count: 64)),
        oneTimeSecret: OneTimeSecret([UInt8](repeating: 7, count: 20)))
      _ = try OperationPlan.make(operation, prepared, state, now: Plant.now)
      return nil
    } catch {
      return error
    }
  }

  @Test(arguments: Operation.Kind.allCases) func roleByOperationByObject(_ kind: Operation.Kind) throws {
    try examine(#require(Self.rows[kind], "\(kind) isn't in the matrix"), kind)
    if let row = Self.special[kind] { try examine(row, kind) }
  }

  private func examine(_ row: Row, _ kind: Operation.Kind) throws {
    let state = Plant.state()
    for (letter, domain) in [("a", Plant.path("ROOT.A")), ("b", Plant.path("ROOT.B"))] {
      #expect(refusal(row.make(letter, domain), .host, state) == nil)
      for role in AccountRole.allCases {
        let actor = Actor.account("a-\(role.rawValue.lowercased())")
        let found = refusal(row.make(letter, domain), actor, state)
        let comment = Comment(rawValue: "\(role) \(kind) \(domain): \(found.map { "\($0)" } ?? "done")")
        if row.needs == .host {
          #expect(found == .notPermitted(needs: .host), comment)
        } else if row.isList {
          #expect((found == nil) == (role.right >= row.needs), comment)
        } else if letter == "b" {
          guard case .unknown = found else {
            Issue.record(comment)
            continue
          }
        } else if role.right >= row.needs {
          #expect(found == nil, comment)
        } else if role.right == .nothing {
          guard case .unknown = found else {
            Issue.record(comment)
            continue
          }
        } else {
          #expect(found == .notPermitted(needs: row.needs), comment)
        }
      }
      // Nobody, and somebody who may not be used any more.
      var disabled = try #require(state.accounts["a-domainadministrator"])
      disabled.isEnabled = false
      let without = Plant.state([.putAccount(disabled)])
      let last = refusal(row.make(letter, domain), .account(disabled.name), without)
      #expect(row.needs == .host || last == .noAccount(disabled.name))
      #expect(refusal(row.make(letter, domain), .account("nobody"), state) == .noAccount("nobody"))
    }
  }

  /// Lists show what is one's own, and nothing else.
  @Test func listsEndAtTheDomain() throws {
    var state = Plant.state()
    // Somebody of both companies, and somebody of one in a group of the other.
    var ann = try #require(state.accounts["a-ann"])
    ann.joined = [Plant.path("ROOT.B")]
    var own = try #require(state.groups["a-staff"])
    own.members = ["a-linkuser", "b-ann"]
    var other = try #require(state.groups["b-staff"])
    other.members = ["a-ann", "b-linkuser"]
    state.apply([.putAccount(ann), .putGroup(own), .putGroup(other)])
    for actor in [Actor.account("a-domainobserver"), .account("a-domainadministrator"), .host] {
      let answers = [Operation.listDomains, .listAccounts, .listGroups, .listSites, .listRules].compactMap {
        OperationLists.answer($0, by: actor, state, announced: { _ in nil }, now: Plant.now)
      }
      #expect(answers.count == 5)
      for answer in answers {
        let text = "\(answer)"
        #expect(text.contains("a-") || text.contains("ROOT.A"))
        #expect(
          (text.contains("b-") || text.contains("ROOT.B") || text.contains("waiting")) == (actor == .host), "\(text)")
      }
    }
    let ours = AuditEntry(number: 1, time: 0, event: AuditEvent(.login, account: "a-ann"))
    let foreign = AuditEntry(number: 2, time: 0, event: AuditEvent(.login, account: "b-ann"))
    let observer = Actor.account("a-domainobserver")
    #expect(OperationLists.sees(ours, observer, state) && !OperationLists.sees(foreign, observer, state))
    #expect(OperationLists.sees(foreign, .host, state))
  }

  /// Nobody can give away, or get at, more than they have.
  @Test func rightsDoNotGrow() {
    let state = Plant.state()
    let basic = Actor.account("a-basicadministrator")
    let administrator = Actor.account("a-domainadministrator")
    let foreign = Plant.path("ROOT.B")
    let own = Plant.path("ROOT.A")
    func new(_ role: AccountRole) -> Operation {
      .addAccount(.init(name: "new", domain: own, role: role, password: "Correct-Horse-7"))
    }
    #expect(refusal(new(.basicAdministrator), basic, state) == .notPermitted(needs: .administer))
    #expect(refusal(new(.domainAdministrator), administrator, state) == nil)
    for operation in [
      Operation.setPassword("a-domainadministrator", password: "Correct-Horse-7"),
      .enrolOneTimeCode("a-domainadministrator"), .removeOneTimeCode("a-domainadministrator"),
      .removeAccount("a-domainobserver"),
      .enableAccount("a-basicadministrator", false),
    ] {
      #expect(refusal(operation, basic, state) == .notPermitted(needs: .administer))
    }
    #expect(
      refusal(.setRole("a-domainadministrator", .linkUser), administrator, state)
        == .invalid("that is your own account"))
    for operation in [
      Operation.joinDomain(account: "a-ann", foreign), .attachSite("a-north", foreign), .attachSite("a-north", .root),
      .attachSite("waiting", own), .addRule(AccessRule(subject: .account("b-ann"), domain: own, created: 0)),
      .addRule(AccessRule(subject: .account("a-ann"), domain: .root, created: 0)),
      .addRule(AccessRule(subject: .account("a-ann"), domain: own, site: "b-north", created: 0)),
      .addMember(group: "a-staff", account: "b-ann"), .addMember(group: "b-staff", account: "a-ann"),
      .addSite("new", nil, hours: 1),
    ] {
      guard case .unknown = refusal(operation, administrator, state) else {
        Issue.record("\(operation)")
        continue
      }
    }
    // Everybody may ask about themselves, and nobody else.
    let about = { (name: String) in Operation.explain(account: name, site: "a-north", agent: "plc", hasReason: false) }
    #expect(refusal(about("a-linkuser"), .account("a-linkuser"), state) == nil)
    #expect(refusal(about("a-ann"), .account("a-linkuser"), state) == .unknown("account", "a-ann"))
  }
}
