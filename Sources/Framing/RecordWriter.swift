import Crypto
import Primitives

/// Puts frames into records and seals them where they lie.
///
/// Headers, tags and small payload are written to a scratch slab, one behind the other; large payload stays where a
/// system call put it. What leaves is a list of slices for a gathered write: `[header, small frames, frame header]
/// [payload] [tag, header, frame header] …`
public struct RecordWriter: ~Copyable {
  /// Payload below this size is copied behind its header. To cipher and to send another piece of memory takes longer
  /// than to copy so little: many small frames make one piece. Bounds the pieces of a record, too.
  public static let separateSize = 2048
  /// The most pieces of memory in one record: eight frames with separate payload and what stands before each of them,
  /// and once a change of the scratch region.
  static let maximumPieces = 2 * (RecordHeader.maximumPlaintext / separateSize) + 2

  private var schedule: KeySchedule
  private var key: SealingKey
  private let policy: RekeyPolicy
  private var keyedAt: Instant

  private var lane = SlabLane()
  private var scratch: Slice?
  private var scratchUsed = 0

  private var header: Slice?
  private var pieces: [Slice] = []
  private var plaintextCount = 0
  private var mustSeal = false

  /// Records sealed since the start.
  public private(set) var recordsSealed: UInt64 = 0
  /// Bytes of all records sealed, headers and tags included.
  public private(set) var bytesSealed: UInt64 = 0

  /// Two records of small frames.
  private static let scratchSize = 32 * 1024

  public init(secret: SecretBytes, policy: RekeyPolicy = RekeyPolicy(), now: Instant) throws(RecordError) {
    let schedule = try KeySchedule(secret: secret)
    let key = try SealingKey(schedule)
    self.schedule = schedule
    self.key = key
    self.policy = policy
    keyedAt = now
    pieces.reserveCapacity(Self.maximumPieces)
  }

  /// Payload bytes that a further frame of the record being built may carry; may be negative.
  public var room: Int {
    mustSeal ? -1 : RecordHeader.maximumPlaintext - plaintextCount - FrameHeader.size
  }

  /// Whether no frame was added since the last seal.
  public var isEmpty: Bool { plaintextCount == 0 }

  /// Whether the key is due for replacement: add a REKEY frame and seal.
  public func needsRekey(now: Instant) -> Bool {
    schedule.counter + 1 >= policy.records || now - keyedAt >= policy.interval
  }

  /// Adds a frame; takes over the payload's reference. Payload from `separateSize` on is sealed where it lies.
  ///
  /// - Returns: `false`, with nothing taken, if the pool has no room for the header.
  public mutating func add(
    _ type: FrameType, _ stream: StreamID, payload: Slice, isContinued: Bool = false, pool: inout SlabPool
  ) -> Bool {
    precondition(payload.count <= room, "frame larger than the record's room")
    let isCopied = payload.count < Self.separateSize
    guard
      let space = addHeader(
        type, stream, isContinued, count: payload.count, extra: isCopied ? payload.count : 0, pool: &pool)
    else { return false }
    append(space, pool: &pool)
    if isCopied {
      pool.copyBytes(of: payload, to: space.dropping(FrameHeader.size))
      pool.release(payload)
    } else {
      append(payload, pool: &pool)
    }
    plaintextCount += FrameHeader.size + payload.count
    return true
  }

  /// Adds a frame with a small payload that is written here.
  public mutating func add(
    _ type: FrameType, _ stream: StreamID, bytes: Span<UInt8>, pool: inout SlabPool
  ) -> Bool {
    precondition(bytes.count <= room, "frame larger than the record's room")
    guard let space = addHeader(type, stream, count: bytes.count, extra: bytes.count, pool: &pool) else { return false }
    pool.withMutableSpan(space) { target in
      for index in bytes.indices { target[FrameHeader.size + index] = bytes[index] }
    }
    append(space, pool: &pool)
    plaintextCount += FrameHeader.size + bytes.count
    return true
  }

  /// Adds a frame whose payload is a number of 8 bytes.
  public mutating func add(_ type: FrameType, _ stream: StreamID, value: UInt64, pool: inout SlabPool) -> Bool {
    precondition(room >= 8, "frame larger than the record's room")
    guard let space = addHeader(type, stream, count: 8, extra: 8, pool: &pool) else { return false }
    pool.withMutableSpan(space) { $0.store(bigEndian: value, at: FrameHeader.size) }
    append(space, pool: &pool)
    plaintextCount += FrameHeader.size + 8
    return true
  }

  /// Adds a REKEY frame; the record must be sealed next, and the one after uses the new key.
  public mutating func addRekey(pool: inout SlabPool) -> Bool {
    guard let space = addHeader(.rekey, .session, count: 0, pool: &pool) else { return false }
    append(space, pool: &pool)
    plaintextCount += FrameHeader.size
    mustSeal = true
    return true
  }

  /// Seals the record in place and hands its pieces to `output`.
  public mutating func seal(into output: inout SliceQueue, pool: inout SlabPool, now: Instant) throws(RecordError) {
    guard let header, plaintextCount > 0 else { return }
    guard schedule.counter < policy.records else { throw .keyExhausted }
    // Whatever was taken before left room for the tag.
    guard let tag = takeScratch(RecordHeader.tagSize, leaving: 0, pool: &pool) else {
      throw .cipher("no memory for the tag")
    }
    let count = plaintextCount
    pool.withMutableSpan(header) { RecordHeader(plaintextCount: count).write(into: &$0) }
    do throws(CryptoError) {
      try unsafe key.begin(
        schedule.nextNonce(), additionalData: pool.pointer(to: header), count: RecordHeader.size)
      for piece in pieces { try unsafe key.update(pool.pointer(to: piece), count: piece.count) }
      try unsafe key.finish(tag: pool.pointer(to: tag))
    } catch {
      throw .cipher("\(error)")
    }
    output.append(header, pool: &pool)
    for piece in pieces { output.append(piece, pool: &pool) }
    output.append(tag, pool: &pool)
    recordsSealed += 1
    bytesSealed += UInt64(RecordHeader.size + count + RecordHeader.tagSize)
    pieces.removeAll(keepingCapacity: true)
    self.header = nil
    plaintextCount = 0
    if mustSeal {
      mustSeal = false
      try schedule.advance()
      key = try SealingKey(schedule)
      keyedAt = now
    }
  }

  /// Gives back what the writer holds of the pool.
  public mutating func close(pool: inout SlabPool) {
    for piece in pieces { pool.release(piece) }
    pieces.removeAll()
    if let header { pool.release(header) }
    if let scratch { pool.release(scratch) }
    header = nil
    scratch = nil
    pool.close(&lane)
  }

  private mutating func addHeader(
    _ type: FrameType, _ stream: StreamID, _ isContinued: Bool = false, count: Int, extra: Int = 0,
    pool: inout SlabPool
  ) -> Slice? {
    if header == nil {
      guard let space = takeScratch(RecordHeader.size, pool: &pool) else { return nil }
      header = space
    }
    guard let space = takeScratch(FrameHeader.size + extra, pool: &pool) else { return nil }
    pool.withMutableSpan(space) {
      FrameHeader(type: type, length: count, stream: stream, isContinued: isContinued).write(into: &$0)
    }
    return space
  }

  private mutating func append(_ piece: Slice, pool: inout SlabPool) {
    if let last = pieces.last, last.isFollowed(by: piece) {
      pieces[pieces.count - 1] = Slice(slab: last.slab, offset: Int(last.offset), count: last.count + piece.count)
      pool.release(piece)
    } else {
      pieces.append(piece)
    }
  }

  /// - Parameter leaving: bytes that must still fit behind: a record that was begun can always be sealed.
  private mutating func takeScratch(
    _ count: Int, leaving: Int = RecordHeader.tagSize, pool: inout SlabPool
  ) -> Slice? {
    if let current = scratch, scratchUsed + count + leaving > current.count, header == nil {
      // Nothing was begun, so that its slab may be free to begin anew.
      pool.release(current)
      scratch = nil
    }
    if scratchUsed + count + leaving > scratch?.count ?? 0 {
      let size = max(Self.scratchSize, count + leaving)
      guard let region = pool.reserve(size, in: &lane) else { return nil }
      // Not before: a record that was begun needs what is left of it for its tag.
      if let scratch { pool.release(scratch) }
      scratch = pool.commit(region, count: size, in: &lane)
      scratchUsed = 0
    }
    guard let scratch else { return nil }
    let slice = scratch.range(from: scratchUsed, count: count)
    scratchUsed += count
    pool.retain(slice)
    return slice
  }
}
