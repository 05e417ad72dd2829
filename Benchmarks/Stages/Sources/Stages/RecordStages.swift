import Crypto
import Framing
import Primitives

/// Secrets that are the same each time: for figures only.
enum SampleSecret {
  static func make(_ byte: UInt8) throws -> SecretBytes {
    let bytes = [UInt8](repeating: byte, count: RecordSecrets.size)
    return try SecretBytes(copying: bytes.span)
  }
}

/// Seals records of one frame each, where their payload lies.
struct SealStage: Stage, ~Copyable {
  private var pool: SlabPool
  private var writer: RecordWriter
  private var output: SliceQueue
  private let payload: Slice
  private let now: Instant
  private(set) var completed = 0
  private static let stream = StreamID(slot: 1, tenant: 1)

  /// - Parameter size: bytes that are encrypted, the frame's header of 8 included.
  init(size: Int) throws {
    var pool = SlabPool(limit: 8)
    guard let slab = pool.takeSlab() else { throw StageFailure("no memory") }
    let now = Instant(nanoseconds: 1_000_000_000)
    writer = try RecordWriter(secret: SampleSecret.make(1), now: now)
    payload = slab.prefix(size - FrameHeader.size)
    output = SliceQueue()
    self.now = now
    self.pool = pool
  }

  mutating func run(_ operations: Int) throws {
    for _ in 0..<operations {
      try seal()
      if output.byteCount == RecordHeader.size + FrameHeader.size + payload.count + RecordHeader.tagSize {
        completed += 1
      }
      output.removeAll(pool: &pool)
    }
  }

  private mutating func seal() throws {
    pool.retain(payload)
    guard writer.add(.data, Self.stream, payload: payload, pool: &pool) else { throw StageFailure("no memory") }
    try writer.seal(into: &output, pool: &pool, now: now)
  }

  /// Seals records, and hands over their bytes.
  mutating func sealed(_ operations: Int) throws -> [UInt8] {
    var bytes: [UInt8] = []
    for _ in 0..<operations {
      try seal()
      for position in 0..<output.count { bytes += pool.array(output[position]) }
      output.removeAll(pool: &pool)
    }
    return bytes
  }
}

/// Finds records in what arrives and opens them where they lie. The copy that stands for read(2) is measured as well.
struct OpenStage: Stage, ~Copyable {
  private var sealing: SealStage
  private var pool: SlabPool
  private var reader: RecordReader
  private var arriving: [UInt8] = []
  private let size: Int
  private(set) var completed = 0

  /// - Parameter size: bytes that are decrypted, the frame's header of 8 included.
  init(size: Int) throws {
    let sealing = try SealStage(size: size)
    reader = try RecordReader(secret: SampleSecret.make(1))
    pool = SlabPool(limit: 8)
    self.sealing = sealing
    self.size = size
  }

  mutating func prepare(_ operations: Int) throws {
    arriving = try sealing.sealed(operations)
  }

  mutating func run(_ operations: Int) throws {
    var read = 0
    while read < arriving.count {
      guard let target = reader.target(pool: &pool) else { throw StageFailure("no memory") }
      let first = min(target.first.count, arriving.count - read)
      copy(first, from: read, to: target.first)
      var count = first
      if let second = target.second {
        let rest = min(second.count, arriving.count - read - first)
        copy(rest, from: read + first, to: second)
        count += rest
      }
      read += count
      reader.received(count, in: target)
      while let record = try reader.nextRecord(pool: &pool) {
        if record.count == size { completed += 1 }
        pool.release(record)
      }
    }
  }

  private func copy(_ count: Int, from offset: Int, to region: Slice) {
    unsafe arriving.withUnsafeBytes { source in
      guard count > 0, let base = source.baseAddress else { return }
      unsafe pool.pointer(to: region).copyMemory(from: base + offset, byteCount: count)
    }
  }
}
