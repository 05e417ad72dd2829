import Crypto
import Primitives

/// Finds records in what arrives and opens them where they lie.
///
/// Reads go straight into slabs. A record that would cross the end of a slab is read to its end behind the
/// mark at which reads otherwise stop, and what follows it goes to a fresh slab by the same
/// scattered read, so that no payload is ever moved.
public struct RecordReader: ~Copyable {
  private var schedule: KeySchedule
  private var key: OpeningKey
  private let policy: RekeyPolicy

  private var current: Slice?
  private var parsed = 0
  private var filled = 0
  private var next: Slice?

  /// Records opened since the start.
  public private(set) var recordsOpened: UInt64 = 0
  /// Bytes of all records opened, headers and tags included.
  public private(set) var bytesOpened: UInt64 = 0

  public init(secret: SecretBytes, policy: RekeyPolicy = RekeyPolicy()) throws(RecordError) {
    let schedule = try KeySchedule(secret: secret)
    let key = try OpeningKey(schedule)
    self.schedule = schedule
    self.key = key
    self.policy = policy
  }

  /// Where the next read should put its bytes: one region, or two for a scattered read.
  public struct Target: Sendable {
    public let first: Slice
    public let second: Slice?

    public var count: Int { first.count + (second?.count ?? 0) }
  }

  /// - Returns: `nil` when the pool is exhausted: stop reading until slices come back.
  public mutating func target(pool: inout SlabPool) -> Target? {
    let mark = pool.slabSize - RecordHeader.maximumRecord
    if let current, filled < mark {
      if parsed == filled, pool.isSoleReference(current) {
        // Nothing in it is needed any more: start over at its front, in warm memory.
        parsed = 0
        filled = 0
      }
      return Target(first: current.range(from: filled, count: mark - filled), second: nil)
    }
    if let current {
      let pending = filled - parsed
      if pending >= RecordHeader.size {
        let total = pool.withSpan(current.range(from: parsed, count: RecordHeader.size)) { bytes in
          RecordHeader.size + (Int(bytes[3]) << 8 | Int(bytes[4]))
        }
        // A bad length or a whole record is `nextRecord`'s to find first; here it must only not lead outside.
        guard total > pending, parsed + total <= current.count, let fresh = nextSlab(pool: &pool) else { return nil }
        return Target(first: current.range(from: filled, count: total - pending), second: fresh.prefix(mark))
      }
      // At most four bytes of a header are left over, or nothing.
      guard let fresh = nextSlab(pool: &pool) else { return nil }
      for index in 0..<min(pending, RecordHeader.size) {
        let byte = pool.withSpan(current.range(from: parsed + index, count: 1)) { $0[0] }
        pool.withMutableSpan(fresh.range(from: index, count: 1)) { $0[0] = byte }
      }
      moveOn(filled: pending, pool: &pool)
      return Target(first: fresh.range(from: pending, count: mark - pending), second: nil)
    }
    current = pool.takeSlab()
    parsed = 0
    filled = 0
    return current.map { Target(first: $0.prefix(mark), second: nil) }
  }

  /// Tells how many bytes a read put into `target`.
  public mutating func received(_ count: Int, in target: Target) {
    filled += min(count, target.first.count)
    overflow = max(0, count - target.first.count)
  }

  private var overflow = 0

  /// The next record's frames, opened in place, or `nil` when it isn't complete.
  ///
  /// The caller owns a reference to what is returned.
  public mutating func nextRecord(pool: inout SlabPool) throws(RecordError) -> Slice? {
    guard let slab = current else { return nil }
    guard filled - parsed >= RecordHeader.size else {
      guard overflow > 0, filled == parsed else { return nil }
      let count = overflow
      overflow = 0
      moveOn(filled: count, pool: &pool)
      return try nextRecord(pool: &pool)
    }
    let headerSlice = slab.range(from: parsed, count: RecordHeader.size)
    let header = try pool.withSpan(headerSlice) { bytes throws(RecordError) in try RecordHeader(parsing: bytes) }
    guard filled - parsed >= RecordHeader.size + header.length else { return nil }
    guard schedule.counter < policy.records else { throw .keyExhausted }
    let count = header.length - RecordHeader.tagSize
    let body = slab.range(from: parsed + RecordHeader.size, count: count)
    let tag = slab.range(from: parsed + RecordHeader.size + count, count: RecordHeader.tagSize)
    do throws(CryptoError) {
      try unsafe key.begin(
        schedule.nextNonce(), additionalData: pool.pointer(to: headerSlice), count: RecordHeader.size)
      try unsafe key.update(pool.pointer(to: body), count: count)
      try unsafe key.finish(verifying: pool.pointer(to: tag))
    } catch {
      throw error.kind == .authentication ? .badTag : .cipher("\(error)")
    }
    parsed += RecordHeader.size + header.length
    recordsOpened += 1
    bytesOpened += UInt64(RecordHeader.size + header.length)
    pool.retain(body)
    return body
  }

  /// After a REKEY frame: the next record was sealed with the next key.
  public mutating func rekey() throws(RecordError) {
    try schedule.advance()
    key = try OpeningKey(schedule)
  }

  /// Whether bytes of an unfinished record have arrived.
  public var holdsPartialRecord: Bool { filled > parsed || overflow > 0 }

  /// Gives back what the reader holds of the pool.
  public mutating func close(pool: inout SlabPool) {
    if let current { pool.release(current) }
    if let next { pool.release(next) }
    current = nil
    next = nil
    filled = 0
    parsed = 0
  }

  private mutating func nextSlab(pool: inout SlabPool) -> Slice? {
    if next == nil { next = pool.takeSlab() }
    return next
  }

  private mutating func moveOn(filled count: Int, pool: inout SlabPool) {
    if let current { pool.release(current) }
    current = next
    next = nil
    parsed = 0
    filled = count
  }
}
