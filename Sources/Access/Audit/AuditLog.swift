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
    let before = number
    for line in lines {
      number += 1
      let body = try AccessJSON.encode(AuditEntry(number: number, time: line.time, event: line.event.bounded()))
      hash = try AuditChain.hash(body, after: hash)
      try db.execute(
        sql: "INSERT INTO audit VALUES(?, ?, ?)", arguments: [number, Data(body), Data(hash)])
      if number % AccessLimits.auditSealInterval == 0 { try seal(number, hash, key, db) }
    }
    if number % AccessLimits.auditSealInterval != 0 { try seal(number, hash, key, db) }
    // The signature that was the last one, unless it is one of those that stay.
    if before % AccessLimits.auditSealInterval != 0 {
      try db.execute(sql: "DELETE FROM audit_seal WHERE number = ?", arguments: [before])
    }
  }

  private static func seal(_ number: Int64, _ hash: [UInt8], _ key: PrivateKey, _ db: Database) throws {
    let signature = try key.sign(AuditChain.sealed(number, hash))
    try db.execute(
      sql: "INSERT INTO audit_seal VALUES(?, ?, ?)", arguments: [number, Data(hash), Data(signature)])
  }

  /// Entries behind one, the oldest first.
  static func entries(after number: Int64, limit: Int, _ db: Database) throws -> [AuditEntry] {
    try Row.fetchAll(
      db, sql: "SELECT body FROM audit WHERE number > ? ORDER BY number LIMIT ?",
      arguments: [number, min(limit, AccessLimits.auditPage)]
    ).map { try AccessJSON.decode(AuditEntry.self, from: Array($0["body"] as Data)) }
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
    var seals: [Int64: (hash: [UInt8], signature: [UInt8])] = [:]
    var lastSeal: Int64 = 0
    for row in try Row.fetchAll(db, sql: "SELECT number, hash, signature FROM audit_seal") {
      let number: Int64 = row["number"]
      seals[number] = (Array(row["hash"] as Data), Array(row["signature"] as Data))
      lastSeal = max(lastSeal, number)
    }
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
      if let seal = seals[number] {
        guard seal.hash == hash, key.isValid(signature: seal.signature, of: AuditChain.sealed(number, hash)) else {
          return .failure(AuditFlaw(number: number, kind: .forged))
        }
      } else if number % AccessLimits.auditSealInterval == 0 {
        return .failure(AuditFlaw(number: number, kind: .forged))
      }
      if let noted, noted.number == number, noted.hash.bytes != hash {
        return .failure(AuditFlaw(number: number, kind: .otherThanNoted))
      }
    }
    let end = max(lastSeal, noted?.number ?? 0, 1)
    guard number >= end else { return .failure(AuditFlaw(number: number + 1, kind: .cutOff(last: end))) }
    guard seals[number] != nil, let digest = KeyHash(hash) else {
      return .failure(AuditFlaw(number: number, kind: .unsealed))
    }
    return .success(AuditHead(number: number, hash: digest))
  }
}
