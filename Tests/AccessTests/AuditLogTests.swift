import Crypto
import Foundation
import GRDB
import Testing

@testable import Access

@Suite(.timeLimit(.minutes(1))) struct AuditLogTests {
  private let key = try! PrivateKey.generate()

  private func store(_ directory: TemporaryDirectory, entries: Int = 150) throws -> AccessStore {
    let store = try AccessStore(path: directory.store, key: key)
    var event = AuditEvent(.connect, account: "ann")
    event.reason = "valve"
    // In transactions of one and of several.
    for number in 0..<(entries / 3) {
      try store.append([AuditLine(event: event, time: Int64(number))])
      try store.append(
        [event, AuditEvent(.disconnect, account: "ann")].map { AuditLine(event: $0, time: Int64(number)) })
    }
    return store
  }

  @Test func anUntouchedAuditIsWhole() throws {
    let directory = try TemporaryDirectory()
    let store = try store(directory)
    let head = try #require(try store.auditHead())
    #expect(try store.verifyAudit() == .success(head) && head.number == 150)
    #expect(try store.count("audit_seal") == 1)
    #expect(AuditHead(head.description) == head && AuditHead("x") == nil && AuditHead("5:sha256:00") == nil)
    #expect(try store.verifyAudit(noted: head) == .success(head))
    let page = try store.audit(after: 100, limit: 5)
    #expect(page.map(\.number) == [101, 102, 103, 104, 105] && page[0].event.account == "ann")
    #expect(try store.audit(after: 0, limit: .max).count == 150)
    // Nothing is changed or removed by mistake.
    #expect(throws: (any Error).self) { try store.execute("DELETE FROM audit WHERE number = 7") }
    #expect(throws: (any Error).self) { try store.execute("UPDATE audit SET body = x'00' WHERE number = 7") }
  }

  /// Whoever can write the file can do all this, and is found out.
  @Test func everyKindOfTamperingIsNamed() throws {
    typealias Flaw = AuditFlaw.Kind
    let other = try PrivateKey.generate()
    let body = try AccessJSON.text(AuditEntry(number: 40, time: 0, event: AuditEvent(.login)))!
    let attacks: [(String, Int64, Flaw)] = [
      ("UPDATE audit SET body = replace(body, 'valve', 'nobel') WHERE number = 41", 41, .changed),
      ("UPDATE audit SET body = '\(body)' WHERE number = 40", 40, .changed),
      ("UPDATE audit SET hash = zeroblob(32) WHERE number = 41", 41, .changed),
      ("UPDATE audit SET body = 'garbage' WHERE number = 41", 41, .unreadable),
      ("DELETE FROM audit WHERE number = 41", 41, .missing(next: 42)),
      ("DELETE FROM audit WHERE number < 30", 1, .missing(next: 30)),
      ("DELETE FROM audit WHERE number > 140", 141, .cutOff(last: 150)),
      ("DELETE FROM audit", 1, .cutOff(last: 150)),
      ("DELETE FROM audit; DELETE FROM audit_seal", 1, .cutOff(last: 1)),
      ("DELETE FROM audit WHERE number > 140; DELETE FROM audit_seal WHERE number > 140", 140, .unsealed),
      // Two change places.
      (
        """
        UPDATE audit SET number = -1 WHERE number = 50; UPDATE audit SET number = 50 WHERE number = 53;
        UPDATE audit SET number = 53 WHERE number = -1
        """, 50, .moved(from: 53)
      ),
      ("INSERT INTO audit SELECT 151, body, hash FROM audit WHERE number = 150", 151, .moved(from: 150)),
      // What an earlier version would have kept of it.
      ("DELETE FROM audit WHERE number > 128; DELETE FROM audit_seal WHERE number > 128", 128, .unsealed),
      ("DELETE FROM audit_seal", 150, .unsealed),
      ("UPDATE audit_seal SET signature = zeroblob(70)", 150, .forged),
      ("UPDATE audit_seal SET number = 128; DELETE FROM audit WHERE number > 128", 128, .forged),
    ]
    for (sql, number, kind) in attacks {
      let directory = try TemporaryDirectory()
      let store = try store(directory)
      try store.tamper(sql)
      #expect(try store.verifyAudit() == .failure(AuditFlaw(number: number, kind: kind)), "\(sql)")
    }
    // The chain made anew from an entry on, but without the key.
    let directory = try TemporaryDirectory()
    let store = try store(directory)
    try store.forge(from: 100, key: other)
    #expect(try store.verifyAudit() == .failure(AuditFlaw(number: 150, kind: .forged)))
    // By one who has the key, too: then only what was noted elsewhere tells.
    let second = try TemporaryDirectory()
    let forged = try self.store(second)
    let noted = try #require(try forged.auditHead())
    try forged.forge(from: 100, key: key)
    guard case .success = try forged.verifyAudit() else {
      Issue.record("the chain wasn't made whole")
      return
    }
    #expect(try forged.verifyAudit(noted: noted) == .failure(AuditFlaw(number: 150, kind: .otherThanNoted)))
    let later = AuditHead(number: 500, hash: noted.hash)
    #expect(try forged.verifyAudit(noted: later) == .failure(AuditFlaw(number: 151, kind: .cutOff(last: 500))))
  }

  /// Earlier versions kept a signature of each 64th entry: the last one counts, and goes on alone.
  @Test func olderSignaturesMakeNoDifference() throws {
    let directory = try TemporaryDirectory()
    let store = try store(directory)
    try store.execute("INSERT INTO audit_seal SELECT 64, zeroblob(32), zeroblob(70)")
    #expect(try store.verifyAudit().get().number == 150)
    try store.append([AuditLine(event: AuditEvent(.stopped), time: 0)])
    #expect(try store.verifyAudit().get().number == 151)
    #expect(try store.count("audit_seal") == 1)
  }

  /// Whatever it holds; and a line is so from the beginning.
  @Test func anEntryIsBounded() throws {
    let nasty = String(repeating: "\u{1}", count: 5000)
    var event = AuditEvent(.disconnect, account: nasty)
    (event.pc, event.key, event.address, event.site) = (nasty, nasty, nasty, nasty)
    (event.session, event.reason, event.operation, event.object) = (nasty, nasty, nasty, nasty)
    event.rules = Array(repeating: .max, count: 5000)
    (event.bytesFromLink, event.bytesFromSite, event.milliseconds, event.count) = (.max, .max, .min, .min)
    for name in [nasty, "b", String(repeating: "b", count: 5000), String(repeating: "é\"", count: 100)] {
      event.agents = Array(repeating: name, count: 5000)
      let line = AuditLine(event: event, time: .min)
      let size = try AccessJSON.encode(AuditEntry(number: .max, time: line.time, event: line.event)).count
      #expect(size <= AccessLimits.auditEntryBytes && line.event.agents?.last == "…", "\(size)")
    }
    // What fits is kept as it is.
    event.agents = (0..<256).map { "machine-of-hall-7-\($0)" }
    #expect(AuditLine(event: event, time: 0).event.agents == event.agents)
  }

  @Test func aPageIsBounded() throws {
    let directory = try TemporaryDirectory()
    let store = try AccessStore(path: directory.store, key: key)
    var event = AuditEvent(.connect)
    event.agents = Array(repeating: String(repeating: "b", count: 60), count: 100)
    let line = AuditLine(event: event, time: 0)
    try store.append(Array(repeating: line, count: 900))
    let page = try store.audit(after: 0, limit: .max)
    let size = try page.reduce(0) { $0 + (try AccessJSON.encode($1).count) }
    #expect(page.count < 900 && size <= AccessLimits.auditPageBytes && size > AccessLimits.auditPageBytes / 2)
    #expect(try store.audit(after: Int64(page.count), limit: 1).first?.number == Int64(page.count) + 1)
  }

  @Test func textsOfPeersAreBounded() throws {
    let directory = try TemporaryDirectory()
    let store = try AccessStore(path: directory.store, key: key)
    var event = AuditEvent(.connect, account: String(repeating: "a", count: 5000))
    event.reason = String(repeating: "é", count: 5000)
    event.agents = Array(repeating: String(repeating: "b", count: 5000), count: 5000)
    try store.append([AuditLine(event: event, time: 0)])
    let entry = try #require(try store.audit(after: 0, limit: 1).first)
    #expect(entry.event.reason?.utf8.count == AccessLimits.textBytes && entry.event.account?.count == 256)
    #expect(entry.event.agents?.first?.count == 64)
    #expect(try AccessJSON.encode(entry).count <= AccessLimits.auditEntryBytes)
    _ = try store.verifyAudit().get()
  }
}

/// What isn't part of the store's interface, and is done to it from outside.
extension AccessStore {
  private func outside<Value>(_ body: (Database) throws -> Value) throws -> Value {
    try DatabaseQueue(path: path).writeWithoutTransaction(body)
  }

  func execute(_ sql: String) throws { try outside { try $0.execute(sql: sql) } }

  func count(_ table: String) throws -> Int? {
    try outside { try Int.fetchOne($0, sql: "SELECT count(*) FROM \(table)") }
  }

  func tamper(_ sql: String) throws {
    try execute("DROP TRIGGER audit_is_kept; DROP TRIGGER audit_stays; \(sql)")
  }

  /// Changes an entry, and all hashes and signatures behind it.
  func forge(from start: Int64, key: PrivateKey) throws {
    try outside { db in
      try db.execute(sql: "DROP TRIGGER audit_is_kept; DROP TRIGGER audit_stays")
      var hash = Array(try Data.fetchOne(db, sql: "SELECT hash FROM audit WHERE number = ?", arguments: [start - 1])!)
      for row in try Row.fetchAll(db, sql: "SELECT number, body FROM audit WHERE number >= ?", arguments: [start]) {
        let number: Int64 = row["number"]
        var body = Array(row["body"] as Data)
        if number == start {
          body = Array(String(decoding: body, as: UTF8.self).replacing("ann", with: "eve").utf8)
        }
        hash = try AuditChain.hash(body, after: hash)
        try db.execute(
          sql: "UPDATE audit SET body = ?, hash = ? WHERE number = ?", arguments: [Data(body), Data(hash), number])
        let signature = try key.sign(AuditChain.sealed(number, hash))
        try db.execute(
          sql: "UPDATE audit_seal SET hash = ?, signature = ? WHERE number = ?",
          arguments: [Data(hash), Data(signature), number])
      }
    }
  }
}
