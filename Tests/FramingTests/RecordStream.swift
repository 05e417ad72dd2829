import Crypto
import Primitives

@testable import Framing

/// One direction of a connection: a writer and a reader with the same secret, each with memory of its own.
struct RecordStream: ~Copyable {
  static let start = Instant(nanoseconds: 1)

  var sendPool = SlabPool(slabSize: 65_536, limit: 64)
  var receivePool: SlabPool
  var lane = SlabLane()
  var writer: RecordWriter
  var reader: RecordReader
  /// Records that the reader has given out and nobody has released.
  var held: [(slice: Slice, bytes: [UInt8])] = []

  init(policy: RekeyPolicy = RekeyPolicy(), slabSize: Int = 65_536, slabs: Int = 64) throws {
    let secret = try SecretBytes(copying: [UInt8](repeating: 7, count: 32).span)
    let writer = try RecordWriter(secret: secret, policy: policy, now: Self.start)
    let reader = try RecordReader(secret: secret, policy: policy)
    receivePool = SlabPool(slabSize: slabSize, limit: slabs)
    self.writer = writer
    self.reader = reader
  }

  /// The bytes of one record that holds one DATA frame.
  mutating func seal(_ payload: [UInt8], now: Instant = RecordStream.start) throws -> [UInt8] {
    if let slice = sendPool.copy(payload.span, in: &lane) {
      _ = writer.add(.data, StreamID(slot: 1, tenant: 1), payload: slice, pool: &sendPool)
    }
    return try sealAll(now: now)
  }

  mutating func sealAll(now: Instant = RecordStream.start) throws -> [UInt8] {
    var output = SliceQueue()
    try writer.seal(into: &output, pool: &sendPool, now: now)
    var bytes: [UInt8] = []
    while let slice = output.popFirst() {
      bytes += sendPool.array(slice)
      sendPool.release(slice)
    }
    return bytes
  }

  /// Lets bytes arrive as one piece, as far as the reader takes them, and opens what is complete.
  ///
  /// - Returns: how many bytes were taken; fewer than all only if memory has run out.
  mutating func receive(_ bytes: ArraySlice<UInt8>) throws(RecordError) -> Int {
    var taken = 0
    while taken < bytes.count {
      guard let target = reader.target(pool: &receivePool) else { return taken }
      let count = min(bytes.count - taken, target.count)
      let from = bytes.startIndex + taken
      let head = min(count, target.first.count)
      place(bytes[from..<from + head], target.first)
      if let second = target.second { place(bytes[(from + head)..<(from + count)], second) }
      reader.received(count, in: target)
      taken += count
      while let record = try reader.nextRecord(pool: &receivePool) {
        held.append((record, receivePool.array(record)))
      }
    }
    return taken
  }

  private mutating func place(_ bytes: ArraySlice<UInt8>, _ slice: Slice) {
    unsafe bytes.withUnsafeBytes { source in
      if let start = source.baseAddress {
        unsafe receivePool.pointer(to: slice).copyMemory(from: start, byteCount: source.count)
      }
    }
  }

  /// The payload of each record that is held, which must hold one frame; checks that no byte has changed since.
  func payloads() throws -> [[UInt8]] {
    var payloads: [[UInt8]] = []
    for (slice, bytes) in held {
      guard receivePool.array(slice) == bytes else { throw Overwritten() }
      var cursor = FrameCursor(slice)
      guard let frame = try cursor.next(pool: receivePool) else { throw Overwritten() }
      payloads.append(receivePool.array(frame.payload))
    }
    return payloads
  }

  struct Overwritten: Error {}

  mutating func releaseAll() {
    for (slice, _) in held { receivePool.release(slice) }
    held = []
  }

  /// Slabs that are still in use when everything was given back: none.
  mutating func close() -> Int {
    releaseAll()
    reader.close(pool: &receivePool)
    writer.close(pool: &sendPool)
    sendPool.close(&lane)
    return sendPool.slabsInUse + receivePool.slabsInUse
  }

  /// Bytes that follow from their number.
  static func pattern(_ count: Int, _ seed: Int) -> [UInt8] {
    (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ seed &* 101) }
  }
}
