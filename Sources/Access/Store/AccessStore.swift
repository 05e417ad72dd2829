public import Crypto
internal import Foundation
internal import GRDB
internal import Synchronization

/// People, sites, rules and audit in an SQLite database. Safe to use from any thread, and by several processes at once:
/// each looks, before it changes something, whether another has.
///
/// What a call has returned from is on the disk: WAL with synchronous FULL.
public final class AccessStore: Sendable {
  let path: String
  private let pool: DatabasePool
  private let key: PrivateKey
  private let zones: ZoneCatalog
  private let current: Mutex<Current>

  private struct Current {
    var state: AccessState
    /// Of the connection that writes: changes when somebody else's does.
    var version: Int64
    var revision = 0

    mutating func replace(_ state: AccessState) {
      self.state = state
      revision += 1
    }
  }

  /// Opens a store, or makes one.
  /// - Parameter key: signs the audit.
  public init(path: String, key: PrivateKey, zones: ZoneCatalog = .system) throws(AccessStoreError) {
    self.path = path
    self.key = key
    self.zones = zones
    do {
      try Self.makeFile(path)
      pool = try Self.open(path)
      let found = try pool.writeWithoutTransaction { db in
        try Self.atOnce(db) { Current(state: try AccessRows.load(db, zones: zones), version: try Self.dataVersion(db)) }
      }
      current = Mutex(found)
    } catch {
      throw AccessStoreError(error, path: path)
    }
  }

  /// SQLite's own files get the mode of this one: nobody else's business.
  private static func makeFile(_ path: String) throws {
    guard !FileManager.default.fileExists(atPath: path) else { return }
    do throws(CryptoError) {
      try AtomicFile.write([], to: path, permissions: 0o600, replacing: false)
    } catch {
      // Made by somebody else meanwhile.
      guard FileManager.default.fileExists(atPath: path) else { throw error }
    }
  }

  private static var configuration: Configuration {
    var configuration = Configuration()
    configuration.busyMode = .timeout(10)
    // What SQLite sorts stays in memory: a confined service has no directory for temporary files.
    configuration.prepareDatabase { db in try db.execute(sql: "PRAGMA temp_store = MEMORY") }
    return configuration
  }

  private static func open(_ path: String) throws -> DatabasePool {
    var configuration = Self.configuration
    configuration.foreignKeysEnabled = true
    configuration.maximumReaderCount = 3
    let pool = try DatabasePool(path: path, configuration: configuration)
    // GRDB sets NORMAL for WAL, by which a power cut may take back what was committed last.
    try pool.writeWithoutTransaction { db in try db.execute(sql: "PRAGMA synchronous = FULL") }
    let isLater = try pool.read { db in try AccessSchema.migrator.hasBeenSuperseded(db) }
    guard !isLater else { throw AccessStoreError.laterVersion(path: path) }
    try AccessSchema.migrator.migrate(pool)
    return pool
  }

  private static func dataVersion(_ db: Database) throws -> Int64 {
    try Int64.fetchOne(db, sql: "PRAGMA data_version") ?? 0
  }

  /// Reads what belongs together as it is at one moment, whatever others commit meanwhile.
  private static func atOnce<Value>(_ db: Database, _ body: () throws -> Value) throws -> Value {
    var value: Value?
    try db.inTransaction(.deferred) {
      value = try body()
      return .commit
    }
    guard let value else { throw AccessStoreError.failed("no answer") }
    return value
  }

  /// As it was when it was last read or changed by this process.
  public var state: AccessState { current.withLock { $0.state } }

  /// The state, and a number that is higher with each change of it, whoever made it.
  public var snapshot: (state: AccessState, revision: Int) { current.withLock { ($0.state, $0.revision) } }

  /// Reads it again if another process has changed it.
  /// - Returns: whether one has.
  public func refresh() throws(AccessStoreError) -> Bool {
    try guarding {
      try self.pool.writeWithoutTransaction { db in try Self.atOnce(db) { try self.refresh(db) } }
    }
  }

  /// In a transaction: state and version have to be of the same moment.
  @discardableResult private func refresh(_ db: Database) throws -> Bool {
    let version = try Self.dataVersion(db)
    guard version != current.withLock({ $0.version }) else { return false }
    var state = try AccessRows.load(db, zones: zones)
    current.withLock {
      // Whatever was changed: it isn't known here.
      state.decisions = $0.state.decisions + 1
      $0.replace(state)
      $0.version = version
    }
    return true
  }

  /// Decides by the newest state what to change and what to tell of it, and does both or neither.
  ///
  /// - Parameters:
  ///   - time: microseconds since 1970, for the audit.
  ///   - body: gives the changes, the events and an answer. May be called under a lock: it mustn't block.
  public func transaction<Answer: Sendable, Failure: Error>(
    time: Int64, _ body: (AccessState) throws(Failure) -> (changes: [AccessChange], events: [AuditEvent], Answer)
  ) throws(AccessStoreError) -> Result<Answer, Failure> {
    try guarding {
      try self.pool.writeWithoutTransaction { db in
        var result: Result<Answer, Failure>?
        var next: AccessState?
        try db.inTransaction(.immediate) {
          try self.refresh(db)
          let before = self.current.withLock { $0.state }
          let step: (changes: [AccessChange], events: [AuditEvent], Answer)
          do throws(Failure) {
            step = try body(before)
          } catch {
            result = .failure(error)
            return .rollback
          }
          for change in step.changes { try AccessRows.write(change, to: db) }
          try AuditLog.append(step.events.map { AuditLine(event: $0, time: time) }, key: self.key, to: db)
          if !step.changes.isEmpty {
            var after = before
            after.apply(step.changes)
            next = after
          }
          result = .success(step.2)
          return .commit
        }
        // On the connection's own queue: what commits first is seen first.
        if let next { self.current.withLock { $0.replace(next) } }
        guard let result else { throw AccessStoreError.failed("no answer") }
        return result
      }
    }
  }

  // MARK: Audit

  /// Appends in one transaction.
  public func append(_ lines: [AuditLine]) throws(AccessStoreError) {
    try guarding { try self.pool.write { db in try AuditLog.append(lines, key: self.key, to: db) } }
  }

  /// Entries behind a number, the oldest first; `AccessLimits.auditPage` at most.
  public func audit(after number: Int64, limit: Int) throws(AccessStoreError) -> [AuditEntry] {
    try guarding { try self.pool.read { db in try AuditLog.entries(after: number, limit: limit, db) } }
  }

  public func auditHead() throws(AccessStoreError) -> AuditHead? {
    try guarding { try self.pool.read { db in try AuditLog.head(db) } }
  }

  /// Reads the whole audit, beside whatever is written meanwhile.
  /// - Parameter noted: a head that was noted before, elsewhere.
  public func verifyAudit(noted: AuditHead? = nil) throws(AccessStoreError) -> Result<AuditHead, AuditFlaw> {
    try guarding {
      try self.pool.read { db in try AuditLog.verify(db, key: self.key.publicKey, noted: noted) }
    }
  }

  // MARK: Settings

  public func setting(_ name: String) throws(AccessStoreError) -> String? {
    try guarding {
      try self.pool.read { db in
        try String.fetchOne(db, sql: "SELECT value FROM setting WHERE name = ?", arguments: [name])
      }
    }
  }

  public func set(_ name: String, to value: String) throws(AccessStoreError) {
    try guarding {
      try self.pool.write { db in
        try db.execute(
          sql: "INSERT INTO setting VALUES(?, ?) ON CONFLICT(name) DO UPDATE SET value = excluded.value",
          arguments: [name, value])
      }
    }
  }

  /// A setting of SQLite's connection that writes.
  func pragma(_ name: String) throws(AccessStoreError) -> String? {
    try guarding {
      try self.pool.writeWithoutTransaction { db in try String.fetchOne(db, sql: "PRAGMA \(name)") }
    }
  }

  // MARK: Backup

  /// Copies the store as it is at one moment, while it is used. A file that is there is replaced, when the copy is whole.
  public func backUp(to destination: String) throws(AccessStoreError) {
    let partial = destination + ".part"
    try guarding {
      try? FileManager.default.removeItem(atPath: partial)
      try Self.makeFile(partial)
      // Beside the pool, whose one connection that writes would be taken as long as the copy lasts.
      let reader = try DatabaseQueue(path: self.path, configuration: Self.configuration)
      try reader.writeWithoutTransaction { db in
        try db.execute(sql: "VACUUM INTO ?", arguments: [partial])
      }
      try reader.close()
      try Self.check(partial)
      try AtomicFile.place(partial, at: destination)
    }
  }

  /// Puts a backup in a store's place, whatever is there; that is kept as `PATH.before`, with its `-wal` and `-shm`. No
  /// process may use the store meanwhile.
  public static func restore(_ backup: String, to path: String) throws(AccessStoreError) {
    do {
      try check(backup)
      let partial = path + ".part"
      try? FileManager.default.removeItem(atPath: partial)
      try makeFile(partial)
      let bytes = try Data(contentsOf: URL(fileURLWithPath: backup), options: .alwaysMapped)
      let file = try FileHandle(forWritingTo: URL(fileURLWithPath: partial))
      try file.write(contentsOf: bytes)
      try file.close()
      try keep(path)
      // What they hold belongs to the file that goes.
      for suffix in ["-wal", "-shm"] { try? FileManager.default.removeItem(atPath: path + suffix) }
      try AtomicFile.place(partial, at: path)
    } catch {
      throw AccessStoreError(error, path: backup)
    }
  }

  /// Gives a store a second name, under which it can be opened as it was. Its files aren't read: they may be damaged, or of
  /// a later version.
  private static func keep(_ path: String) throws {
    for suffix in ["", "-wal", "-shm"] {
      let kept = path + ".before" + suffix
      try? FileManager.default.removeItem(atPath: kept)
      guard FileManager.default.fileExists(atPath: path + suffix) else { continue }
      try FileManager.default.linkItem(atPath: path + suffix, toPath: kept)
    }
  }

  /// Whether a file is a store, whole and of a version that is known.
  private static func check(_ path: String) throws {
    var configuration = Self.configuration
    configuration.readonly = true
    let queue = try DatabaseQueue(path: path, configuration: configuration)
    try queue.read { db in
      let verdict = try String.fetchOne(db, sql: "PRAGMA integrity_check") ?? ""
      guard verdict == "ok" else { throw AccessStoreError.damaged(path: path, reason: verdict) }
      // One of an earlier version is brought up to date when it is opened.
      guard try !AccessSchema.migrator.appliedIdentifiers(db).isEmpty else {
        throw AccessStoreError.damaged(path: path, reason: "it isn't a store")
      }
      guard try !AccessSchema.migrator.hasBeenSuperseded(db) else { throw AccessStoreError.laterVersion(path: path) }
    }
    try queue.close()
  }

  private func guarding<Value>(_ body: () throws -> Value) throws(AccessStoreError) -> Value {
    do { return try body() } catch { throw AccessStoreError(error, path: path) }
  }
}
