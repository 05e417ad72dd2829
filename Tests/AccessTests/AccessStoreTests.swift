import Control
import Crypto
import Foundation
import GRDB
import Testing

@testable import Access

@Suite(.serialized, .timeLimit(.minutes(2))) struct AccessStoreTests {
  private let key = try! PrivateKey.generate()

  private func filled(_ directory: TemporaryDirectory) throws -> AccessStore {
    let store = try AccessStore(path: directory.store, key: key)
    let changes = Plant.changes(Plant.state())
    _ = try store.transaction(time: 0) { _ throws(Never) in (changes, [AuditEvent(.created)], ()) }
    return store
  }

  @Test func whatIsWrittenIsRead() throws {
    let directory = try TemporaryDirectory()
    var rule = AccessRule(
      id: 40, subject: .group("a-staff"), domain: Plant.path("ROOT.A"), site: "a-north", agents: ["plc"],
      ports: PortLimits(tcp: [.all], icmp: true),
      slots: WeeklySlots(zone: "Europe/Berlin", slots: [WeeklySlots.Slot("mon,sun 06:00-24:00")!]),
      requiresReason: true, isEnabled: false, created: 7)
    let store = try filled(directory)
    var ann = try #require(store.state.accounts["a-ann"])
    ann.joined = [Plant.path("ROOT.B"), Plant.path("ROOT.Empty")]
    ann.expires = 99
    ann.pcs.append(.init(key: key.keyHash, name: "pc \"2\"\n", since: 5))
    var site = try #require(store.state.sites["waiting"])
    site.enrolment = .init(secretHash: String(repeating: "0", count: 64), expires: 4)
    let changes: [AccessChange] = [.putRule(rule), .putAccount(ann), .putSite(site)]
    _ = try store.transaction(time: 0) { _ throws(Never) in (changes, [], ()) }
    let again = try AccessStore(path: directory.store, key: key)
    #expect(again.state == store.state && again.state.rules[40] == rule && again.state.accounts["a-ann"] == ann)
    #expect(again.state.keys == store.state.keys && again.state.codes == store.state.codes)
    // An identifier isn't given again.
    rule.id = 41
    let step: [AccessChange] = [.putRule(rule), .removeRule(41)]
    _ = try again.transaction(time: 0) { _ throws(Never) in (step, [], ()) }
    #expect(try AccessStore(path: directory.store, key: key).state.nextRule == 42)
  }

  /// What goes with an account, a group or a site is the same in the state as in the tables.
  @Test func removingIsTheSameInBoth() throws {
    let directory = try TemporaryDirectory()
    let store = try filled(directory)
    for change in [
      AccessChange.removeAccount("a-ann"), .removeGroup("a-staff"), .removeSite("a-north"),
      .removeAccount("b-linkuser"),
      .removeDomain(Plant.path("ROOT.Empty")),
    ] {
      _ = try store.transaction(time: 0) { _ throws(Never) in ([change], [], ()) }
      #expect(try AccessStore(path: directory.store, key: key).state == store.state, "\(change)")
    }
    #expect(store.state.rules.values.map(\.subject) == [.account("b-ann")])
  }

  @Test func durabilityAndForeignKeysAreOn() throws {
    let directory = try TemporaryDirectory()
    let store = try filled(directory)
    #expect(try store.pragma("synchronous") == "2")
    #expect(try store.pragma("journal_mode") == "wal")
    #expect(try store.pragma("foreign_keys") == "1")
    let mode = try FileManager.default.attributesOfItem(atPath: directory.store)[.posixPermissions] as? Int
    #expect(mode == 0o600)
    // What refers to nothing isn't kept, and nothing of its transaction is.
    let changes: [AccessChange] = [
      .putSite(AccessSite(name: "fine", domain: .root, created: 0)),
      .putSite(AccessSite(name: "lost", domain: Plant.path("ROOT.Nowhere"), created: 0)),
    ]
    #expect(throws: AccessStoreError.self) {
      _ = try store.transaction(time: 0) { _ throws(Never) in (changes, [AuditEvent(.change)], ()) }
    }
    #expect(store.state.sites["fine"] == nil)
    #expect(try AccessStore(path: directory.store, key: key).state == store.state)
    #expect(try store.auditHead()?.number == 1)
  }

  @Test func severalProcessesMayChangeIt() throws {
    let directory = try TemporaryDirectory()
    let one = try filled(directory)
    let other = try AccessStore(path: directory.store, key: key)
    let add = { @Sendable (store: AccessStore, name: String) throws in
      _ = try store.transaction(time: 0) { _ throws(Never) in
        ([.putSite(AccessSite(name: name, domain: .root, created: 0))], [AuditEvent(.change)], ())
      }
    }
    try add(one, "x1")
    #expect(other.state.sites["x1"] == nil)
    #expect(try other.refresh() && other.state.sites["x1"] != nil)
    #expect(try !other.refresh())
    // Without a look first, a change sees what the other has done.
    try add(one, "x2")
    let seen = try other.transaction(time: 0) { state throws(Never) in ([], [], state.sites["x2"] != nil) }
    #expect(seen == .success(true))
    // Both at once.
    let threads = [one, other].enumerated().map { index, store in
      Thread { for number in 0..<40 { try? add(store, "t\(index)-\(number)") } }
    }
    for thread in threads { thread.start() }
    while threads.contains(where: { !$0.isFinished }) { usleep(10_000) }
    _ = try one.refresh()
    #expect(one.state.sites.keys.count { $0.hasPrefix("t") } == 80)
    guard case .success(let head) = try other.verifyAudit() else {
      Issue.record("\(try other.verifyAudit())")
      return
    }
    #expect(head.number == 83)
  }

  @Test func laterVersionsAndDamageAreToldOf() throws {
    let directory = try TemporaryDirectory()
    do {
      let store = try filled(directory)
      try store.execute("INSERT INTO grdb_migrations VALUES('2: something later')")
    }
    #expect(throws: AccessStoreError.laterVersion(path: directory.store)) {
      _ = try AccessStore(path: directory.store, key: key)
    }
    try Data("not a database, but long enough to look like a file of one".utf8).write(
      to: URL(filePath: "\(directory.path)/other"))
    guard
      case .damaged = #expect(
        throws: AccessStoreError.self, performing: { _ = try AccessStore(path: "\(directory.path)/other", key: key) })
    else {
      Issue.record("not damaged")
      return
    }
  }

  @Test func backupAndRestore() throws {
    let directory = try TemporaryDirectory()
    let backup = "\(directory.path)/backup.sqlite"
    let before: AccessState
    do {
      let store = try filled(directory)
      before = store.state
      // While somebody writes.
      let writer = Thread {
        for number in 0..<50 {
          _ = try? store.transaction(time: 0) { _ throws(Never) in
            ([.putSite(AccessSite(name: "w\(number)", domain: .root, created: 0))], [AuditEvent(.change)], ())
          }
        }
      }
      writer.start()
      try store.backUp(to: backup)
      try store.backUp(to: backup)
      while !writer.isFinished { usleep(5000) }
      #expect(store.state.sites["w49"] != nil)
    }
    let mode = try FileManager.default.attributesOfItem(atPath: backup)[.posixPermissions] as? Int
    #expect(mode == 0o600)
    try AccessStore.restore(backup, to: directory.store)
    let restored = try AccessStore(path: directory.store, key: key)
    #expect(restored.state.accounts == before.accounts && restored.state.rules == before.rules)
    guard case .success = try restored.verifyAudit() else {
      Issue.record("\(try restored.verifyAudit())")
      return
    }
    // What isn't a backup isn't put in the place of anything.
    try Data("no".utf8).write(to: URL(filePath: "\(directory.path)/no"))
    for path in ["\(directory.path)/no", "\(directory.path)/none", directory.path] {
      #expect(throws: AccessStoreError.self) { try AccessStore.restore(path, to: directory.store) }
    }
    #expect(try AccessStore(path: directory.store, key: key).state == restored.state)
  }

  /// What the version before has left, in a directory or as a backup, is brought up to date when it is opened.
  @Test func aStoreOfBeforeIsTakenOver() throws {
    let directory = try TemporaryDirectory()
    let backup = "\(directory.path)/backup.sqlite"
    let before = try filled(directory).state
    try DatabaseQueue(path: directory.store).writeWithoutTransaction { db in
      try db.execute(
        sql: """
          DROP TABLE account_totp; DROP TABLE code_rule;
          DELETE FROM grdb_migrations WHERE identifier LIKE '2:%'; VACUUM INTO '\(backup)'
          """)
    }
    for _ in 0..<2 {
      let state = try AccessStore(path: directory.store, key: key).state
      #expect(state.codeRules.isEmpty && state.accounts.values.allSatisfy { $0.oneTimeCode == nil })
      #expect(
        state.rules == before.rules && state.sites == before.sites && state.accounts.count == before.accounts.count)
      try AccessStore.restore(backup, to: directory.store)
    }
  }

  /// What an account's logins need is kept, and goes with the account and the domain.
  @Test func oneTimeCodesAreKept() throws {
    let directory = try TemporaryDirectory()
    let store = try filled(directory)
    var ann = try #require(store.state.accounts["a-ann"])
    #expect(ann.oneTimeCode != nil && !store.state.codeRules.isEmpty)
    ann.oneTimeCode?.used = 59
    let rule = CodeRule(domain: Plant.path("ROOT.Empty"), role: .mobileUser)
    func apply(_ changes: [AccessChange]) throws {
      _ = try store.transaction(time: 0) { _ throws(Never) in (changes, [], ()) }
    }
    try apply([.putAccount(ann), .putCodeRule(rule)])
    #expect(try AccessStore(path: directory.store, key: key).state == store.state)
    #expect(store.state.accounts["a-ann"]?.oneTimeCode?.used == 59 && store.state.codeRules.contains(rule))
    try apply([.removeAccount("a-ann"), .removeDomain(rule.domain)])
    #expect(!store.state.codeRules.contains(rule))
    #expect(try AccessStore(path: directory.store, key: key).state == store.state)
  }

  /// While a change waits for something, or many are made.
  @Test func aBackupDoesNotWaitForWhoWrites() throws {
    let directory = try TemporaryDirectory()
    let store = try filled(directory)
    let backup = "\(directory.path)/backup.sqlite"
    let isDone = DispatchSemaphore(value: 0)
    let thread = Thread {
      if (try? store.backUp(to: backup)) != nil { isDone.signal() }
    }
    let result: Result<Bool, Never> = try store.transaction(time: 0) { _ throws(Never) in
      thread.start()
      return ([], [], isDone.wait(timeout: .now() + 20) == .success)
    }
    #expect(result == .success(true))
    #expect(try AccessStore(path: backup, key: key).state == store.state)
  }

  /// A backup is there for what can't be read any more; and even that is kept, as it was.
  @Test func restoringNeedsNothingOfWhatIsThere() throws {
    let directory = try TemporaryDirectory()
    let backup = "\(directory.path)/backup.sqlite"
    let before: AccessState
    do {
      let store = try filled(directory)
      before = store.state
      try store.backUp(to: backup)
    }
    let kept = directory.store + ".before"
    for sql in ["INSERT INTO grdb_migrations VALUES('2: something later')", "UPDATE account SET role = 'king'"] {
      try DatabaseQueue(path: directory.store).writeWithoutTransaction { try $0.execute(sql: sql) }
      #expect(throws: AccessStoreError.self) { _ = try AccessStore(path: directory.store, key: key) }
      let present = try Data(contentsOf: URL(filePath: directory.store))
      try AccessStore.restore(backup, to: directory.store)
      #expect(try Data(contentsOf: URL(filePath: kept)) == present)
      #expect(try AccessStore(path: directory.store, key: key).state == before)
    }
    // Damaged, with what belongs to it.
    let files = ["", "-wal", "-shm"]
    for suffix in files { try Data("damaged\(suffix)".utf8).write(to: URL(filePath: directory.store + suffix)) }
    try AccessStore.restore(backup, to: directory.store)
    for suffix in files {
      #expect(try Data(contentsOf: URL(filePath: kept + suffix)) == Data("damaged\(suffix)".utf8))
    }
    #expect(!FileManager.default.fileExists(atPath: directory.store + "-wal"))
    #expect(try AccessStore(path: directory.store, key: key).state == before)
    // Nothing there, and nothing kept of before.
    for suffix in files { try? FileManager.default.removeItem(atPath: directory.store + suffix) }
    try AccessStore.restore(backup, to: directory.store)
    #expect(try AccessStore(path: directory.store, key: key).state == before)
    for suffix in files { #expect(!FileManager.default.fileExists(atPath: kept + suffix)) }
  }

  /// What is committed while a store is read is either in the state, or found by the next look.
  @Test func nothingIsMissedByWhoOpens() throws {
    let directory = try TemporaryDirectory()
    let store = try filled(directory)
    let writer = Thread {
      for number in 0..<200 {
        _ = try? store.transaction(time: 0) { _ throws(Never) in
          ([.putSite(AccessSite(name: "w\(number)", domain: .root, created: 0))], [], ())
        }
      }
    }
    writer.start()
    var others: [AccessStore] = []
    while !writer.isFinished, others.count < 100 { others.append(try AccessStore(path: directory.store, key: key)) }
    while !writer.isFinished { usleep(5000) }
    for other in others {
      _ = try other.refresh()
      #expect(other.state == store.state)
    }
  }

  @Test func snapshotsAreNumbered() throws {
    let directory = try TemporaryDirectory()
    let store = try filled(directory)
    let first = store.snapshot
    let changes: [AccessChange] = [.removeSite("waiting")]
    _ = try store.transaction(time: 0) { _ throws(Never) in (changes, [], ()) }
    let second = store.snapshot
    #expect(second.revision > first.revision && first.state != second.state && second.state == store.state)
  }

  @Test func settingUpKeepsWhatUsersHad() throws {
    let directory = try TemporaryDirectory()
    let store = try AccessStore(path: directory.store, key: key)
    let accounts = ["ann", "bob"].map { Account(name: $0, password: "-", created: 3) }
    #expect(
      try store.setUp(
        accounts: accounts, sites: [AccessSite(name: "north", domain: .root, created: 1)], time: 5_000_000))
    #expect(try !store.setUp(accounts: accounts, time: 0))
    for account in ["ann", "bob"] {
      let allowed = try Authorisation.decide(
        store.state, account: account, site: "north", announced: [Plant.plc], wanted: nil, reason: nil, now: 6)
      #expect(allowed.agents.map(\.description) == [Plant.plc])
    }
    #expect(try store.audit(after: 0, limit: 10).map(\.event.kind) == [.created, .imported])
    #expect(try AccessStore(path: directory.store, key: key).state == store.state)
  }

  @Test func settingsAreKept() throws {
    let directory = try TemporaryDirectory()
    let store = try AccessStore(path: directory.store, key: key)
    #expect(try store.setting("syslog.position") == nil)
    try store.set("syslog.position", to: "5")
    try store.set("syslog.position", to: "6")
    #expect(try AccessStore(path: directory.store, key: key).setting("syslog.position") == "6")
  }

  /// 10,000 sites, 1,000 accounts with a rule each: well under a second, if nothing else is done.
  @Test func manyAreReadQuickly() throws {
    let directory = try TemporaryDirectory()
    do {
      let store = try AccessStore(path: directory.store, key: key)
      var changes: [AccessChange] = [.putDomain(Domain(path: .root, created: 0))]
      changes += (0..<10_000).map { .putSite(AccessSite(name: "s\($0)", domain: .root, created: 0)) }
      changes += (0..<1000).map { .putAccount(Account(name: "u\($0)", password: "-", created: 0)) }
      changes += (0..<1000).map {
        .putRule(AccessRule(id: Int64($0 + 1), subject: .account("u\($0)"), domain: .root, created: 0))
      }
      let all = changes
      _ = try store.transaction(time: 0) { _ throws(Never) in (all, [AuditEvent(.created)], ()) }
    }
    var sites = 0
    let took = try ContinuousClock().measure {
      sites = try AccessStore(path: directory.store, key: key).state.sites.count
    }
    print("a store of 10,000 sites and 1,000 accounts opened in \(took)")
    #expect(sites == 10_000 && took < .seconds(10))
  }
}
