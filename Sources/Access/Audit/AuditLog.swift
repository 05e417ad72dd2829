internal import Crypto
internal import Foundation
internal import GRDB

/// The audit's tables.
enum AuditLog {
  /// Appends events, in one transaction with whatever they tell of.
  static func append(_ lines: [AuditLine], key: PrivateKey, to db: Database) throws {
    guard !lines.isEmpty else { return }
    var number: Int64 = 0
    var hash = AuditChain.start
    if let last = try Row.fetchOne(db, sql: "SELECT number, hash FROM audit ORDER BY number DESC LIMIT 1") {
      number = last["number"]
      hash = Array(last["hash"] as Data)
    }
    for line in lines {
      number += 1
      let body = try AccessJSON.encode(AuditEntry(number: number, time: line.time, event: line.event))
      hash = try AuditChain.hash(body, after: hash)
      try db.execute(
        sql: "INSERT INTO audit VALUES(?, ?, ?)", arguments: [number, Data(body), Data(hash)])
    }
    // One signature alone: with an older one beside it, the audit could be cut off behind that and would look whole.
    let signature = try key.sign(AuditChain.sealed(number, hash))
    try db.execute(sql: "DELETE FROM audit_seal")
    try db.execute(
      sql: "INSERT INTO audit_seal VALUES(?, ?, ?)", arguments: [number, Data(hash), Data(signature)])
  }

  /// Entries behind one, the oldest first: as many as an answer may hold, and one at least if there is any.
  static func entries(after number: Int64, limit: Int, _ db: Database) throws -> [AuditEntry] {
    let rows = try Row.fetchCursor(
      db, sql: "SELECT body FROM audit WHERE number > ? ORDER BY number LIMIT ?",
      arguments: [number, min(limit, AccessLimits.auditPage)])
    var entries: [AuditEntry] = []
    var size = 0
    while let row = try rows.next() {
      let body = Array(row["body"] as Data)
      size += body.count
      guard entries.isEmpty || size <= AccessLimits.auditPageBytes else { break }
      entries.append(try AccessJSON.decode(AuditEntry.self, from: body))
    }
    return entries
  }

  static func head(_ db: Database) throws -> AuditHead? {
    try Row.fetchOne(db, sql: "SELECT number, hash FROM audit ORDER BY number DESC LIMIT 1").flatMap { row in
      KeyHash(Array(row["hash"] as Data)).map { AuditHead(number: row["number"], hash: $0) }
    }
  }

  /// Reads all of it.
  /// - Returns: where it stands, or the first flaw.
  static func verify(
    _ db: Database, key: PublicKey, noted: AuditHead?
  ) throws -> Result<AuditHead, AuditFlaw> {
    // Earlier versions kept some of the older ones.
    let seal = try Row.fetchOne(
      db, sql: "SELECT number, hash, signature FROM audit_seal ORDER BY number DESC LIMIT 1")
    var sealed: Int64 = 0
    if let seal { sealed = seal["number"] }
    var (number, hash) = (Int64(0), AuditChain.start)
    let rows = try Row.fetchCursor(db, sql: "SELECT number, body, hash FROM audit ORDER BY number")
    while let row = try rows.next() {
      let found: Int64 = row["number"]
      guard found == number + 1 else { return .failure(AuditFlaw(number: number + 1, kind: .missing(next: found))) }
      number = found
      let body = Array(row["body"] as Data)
      let next = try AuditChain.hash(body, after: hash)
      guard let entry = try? AccessJSON.decode(AuditEntry.self, from: body) else {
        return .failure(AuditFlaw(number: number, kind: .unreadable))
      }
      guard entry.number == number else {
        return .failure(AuditFlaw(number: number, kind: .moved(from: entry.number)))
      }
      guard next == Array(row["hash"] as Data) else { return .failure(AuditFlaw(number: number, kind: .changed)) }
      hash = next
      if let seal, number == sealed {
        let signature = Array(seal["signature"] as Data)
        guard Array(seal["hash"] as Data) == hash,
          key.isValid(signature: signature, of: AuditChain.sealed(number, hash))
        else { return .failure(AuditFlaw(number: number, kind: .forged)) }
      }
      if let noted, noted.number == number, noted.hash.bytes != hash {
        return .failure(AuditFlaw(number: number, kind: .otherThanNoted))
      }
    }
    let end = max(sealed, noted?.number ?? 0, 1)
    guard number >= end else { return .failure(AuditFlaw(number: number + 1, kind: .cutOff(last: end))) }
    guard number == sealed, let digest = KeyHash(hash) else {
      return .failure(AuditFlaw(number: number, kind: .unsealed))
    }
    return .success(AuditHead(number: number, hash: digest))
  }
}
