import Crypto
import FuzzDriver
import Primitives

@testable import Framing

/// The record opener. With real tags: whatever is done to sealed records on the way, what comes out is a prefix of what
/// was sealed, byte by byte. With tags switched off: any bytes in any pieces, beside a reader that has them all at once.
@main enum RecordsTarget: FuzzTarget {
  static let secret: SecretBytes = {
    guard let secret = try? SecretBytes(copying: [UInt8](repeating: 7, count: 32).span) else { fatalError("no secret") }
    return secret
  }()

  static func run(_ bytes: UnsafeBufferPointer<UInt8>) {
    var script = Script(bytes)
    if script.flag() { openTampered(&script) } else { openAnything(&script) }
  }

  // MARK: Real tags

  private static func openTampered(_ script: inout Script) {
    AEAD.isOff = false
    var records = sealed(&script)
    let original = records.map { [UInt8]($0.payload) }
    var isChanged = false
    var steps = 0
    while !script.isAtEnd, steps < 8, !records.isEmpty {
      steps += 1
      isChanged = tamper(&records, &script) || isChanged
    }
    var opener = Opener(script: script)
    let failed = opener.take(records.flatMap(\.bytes))
    let opened = opener.payloads
    check(opened.count <= original.count, "no record out of nowhere")
    for (index, payload) in opened.enumerated() {
      check(payload == original[index], "record \(index) as it was sealed")
    }
    if !isChanged { check(!failed && opened.count == original.count, "what wasn't changed is opened") }
    opener.close()
  }

  private struct Sealed {
    var bytes: [UInt8]
    let payload: [UInt8]
  }

  private static func sealed(_ script: inout Script) -> [Sealed] {
    guard var writer = try? RecordWriter(secret: secret, policy: Opener.policy, now: Instant(nanoseconds: 1)) else {
      fatalError("no writer")
    }
    var pool = SlabPool(slabSize: 65_536, limit: 16)
    var lane = SlabLane()
    var records: [Sealed] = []
    for number in 0..<2 + script.choice(5) {
      var plain: [UInt8] = []
      for _ in 0...script.choice(3) {
        let count = script.flag() ? script.choice(256) : max(0, min(script.choice(256) * 40, writer.room))
        guard count <= writer.room, let region = pool.reserve(count, in: &lane) else { break }
        let slice = pool.commit(region, count: count, in: &lane)
        Pattern.fill(&pool, slice, from: number * 1000, salt: number)
        plain += [4, 0, UInt8(count >> 8), UInt8(truncatingIfNeeded: count), 0, 1, 0, 1] + pool.array(slice)
        if !writer.add(.data, StreamID(slot: 1, tenant: 1), payload: slice, pool: &pool) {
          pool.release(slice)
          check(false, "memory for a frame")
        }
      }
      if writer.needsRekey(now: Instant(nanoseconds: 1)), writer.room >= 0, writer.addRekey(pool: &pool) {
        plain += [14, 0, 0, 0, 0, 0, 0, 0]
      }
      append(seal(&writer, &pool), plain, to: &records)
      // A full record has no room for it.
      if writer.needsRekey(now: Instant(nanoseconds: 1)), writer.addRekey(pool: &pool) {
        append(seal(&writer, &pool), [14, 0, 0, 0, 0, 0, 0, 0], to: &records)
      }
    }
    writer.close(pool: &pool)
    pool.close(&lane)
    check(pool.isQuiet, "the writer keeps nothing")
    return records
  }

  private static func seal(_ writer: inout RecordWriter, _ pool: inout SlabPool) -> [UInt8] {
    var output = SliceQueue()
    do { try writer.seal(into: &output, pool: &pool, now: Instant(nanoseconds: 1)) } catch {
      check(false, "a record can be sealed: \(error)")
    }
    var bytes: [UInt8] = []
    while let slice = output.popFirst() {
      bytes += pool.array(slice)
      pool.release(slice)
    }
    return bytes
  }

  private static func append(_ bytes: [UInt8], _ plain: [UInt8], to records: inout [Sealed]) {
    if !bytes.isEmpty { records.append(Sealed(bytes: bytes, payload: plain)) }
  }

  /// - Returns: whether anything is another than it was.
  private static func tamper(_ records: inout [Sealed], _ script: inout Script) -> Bool {
    let index = script.choice(256) % records.count
    switch script.choice(8) {
    case 0:
      let bit = Int(script.word()) % (records[index].bytes.count * 8)
      records[index].bytes[bit / 8] ^= 1 << UInt8(bit % 8)
      return true
    case 1:
      records.remove(at: index)
      // The last ones may be missing: that is for the session to find, which knows an end.
      return true
    case 2:
      records.insert(records[index], at: script.choice(256) % records.count)
      return true
    case 3:
      let other = script.choice(256) % records.count
      records.swapAt(index, other)
      return index != other
    case 4:
      let count = Int(script.word()) % records[index].bytes.count
      records[index].bytes.removeLast(count)
      return count > 0
    case 5:
      records[index].bytes.insert(script.byte(), at: Int(script.word()) % records[index].bytes.count)
      return true
    default: return false
    }
  }

  // MARK: No tags

  /// The input's first bytes are the pieces, the rest what arrives in them: bytes as they are, or whole records by
  /// their length, so that few bytes of input reach across slabs.
  private static func openAnything(_ script: inout Script) {
    AEAD.isOff = true
    let pieces = Script(script.take(24))
    var opener = Opener(script: pieces)
    var bytes: [UInt8] = []
    while !script.isAtEnd, bytes.count < 200_000 {
      let token = script.byte()
      if token < 0xE0 {
        bytes += script.take(1 + Int(token))
      } else {
        let length = Int(script.word())
        bytes += [0x17, 3, 3, UInt8(length >> 8), UInt8(length & 255)]
        bytes += [UInt8](repeating: token, count: min(length, 16_400) - Int(token == 0xE0 ? 1 : 0) * min(length, 1))
      }
    }
    let failed = opener.take(bytes)
    let (expected, isGood) = slowly(bytes)
    check(opener.payloads == expected, "\(opener.payloads.count) records instead of \(expected.count)")
    check(failed == !isGood, "both find fault, or neither")
    opener.close()
  }

  /// The records of bytes that are all there, up to the first that isn't one.
  private static func slowly(_ bytes: [UInt8]) -> (records: [[UInt8]], isGood: Bool) {
    var (records, start) = ([[UInt8]](), 0)
    while bytes.count - start >= 5 {
      let length = Int(bytes[start + 3]) << 8 | Int(bytes[start + 4])
      guard bytes[start..<start + 3].elementsEqual([0x17, 3, 3]), (17...16_400).contains(length) else {
        return (records, false)
      }
      guard bytes.count - start - 5 >= length else { break }
      records.append([UInt8](bytes[(start + 5)..<(start + 5 + length - 16)]))
      start += 5 + length
    }
    return (records, true)
  }

  static var seeds: [[UInt8]] {
    let pieces = [UInt8](repeating: 5, count: 24)
    let record = { (count: Int) -> [UInt8] in [0xE1, UInt8((count + 16) >> 8), UInt8((count + 16) & 255)] }
    let records = { (counts: [Int]) -> [UInt8] in counts.flatMap(record) }
    let wide = [UInt8](repeating: 0xFF, count: 24)
    var seeds: [[UInt8]] = [
      [0] + pieces + records([1, 100, 3]), [0] + pieces + record(0), [0] + pieces + record(16_384),
      [0] + pieces + record(16_385), [0] + pieces + [4, 0x16, 3, 3, 0, 40], [0] + pieces + [0xE0, 0, 40],
      [0] + pieces + [21, 0x17, 3, 3, 0, 17] + [UInt8](repeating: 9, count: 17),
      [0] + wide + records([16_384, 16_384, 16_384, 16_000]),
      [0] + [UInt8](repeating: 0, count: 24) + records([16_000, 16_380, 16_384, 9]),
      [0] + wide + records([16_384, 16_384, 16_342, 16_384, 16_384, 16_384, 16_341, 7, 16_384]),
    ]
    for how in UInt8(0)..<7 {
      seeds.append([1, 4, 2, 1, 40, 0, 200, 1, 7, 0, 1, 9, 1, 1, 3, 0, 0, 0, 1, 255, 1, how, 0, 99, 2, 6])
    }
    return seeds
  }
}

/// A reader whose bytes arrive in pieces, and that keeps some of what it has opened.
struct Opener: ~Copyable {
  static let policy = RekeyPolicy(records: 3)

  private var reader: RecordReader
  private var pool = SlabPool(slabSize: 65_536, limit: 40)
  private var script: Script
  private var held: [(slice: Slice, bytes: [UInt8])] = []
  private(set) var payloads: [[UInt8]] = []

  init(script: Script) {
    // With tags off nothing counts the records but the key's own limit.
    guard let reader = try? RecordReader(secret: RecordsTarget.secret, policy: AEAD.isOff ? RekeyPolicy() : Self.policy)
    else { fatalError("no reader") }
    self.reader = reader
    self.script = script
  }

  /// - Returns: whether the reader found fault.
  mutating func take(_ bytes: [UInt8]) -> Bool {
    var rest = bytes[...]
    while !rest.isEmpty {
      guard let target = reader.target(pool: &pool) else {
        check(!held.isEmpty, "memory is held by somebody")
        releaseOldest()
        continue
      }
      let size = script.byte()
      let wanted = script.isAtEnd ? 1 + Int(size) + 5000 : size < 0xC0 ? 1 + Int(size) : Int(size - 0xBF) * 1500
      let count = min(rest.count, min(wanted, target.count))
      let head = min(count, target.first.count)
      rest.prefix(head).withUnsafeBufferPointer { pool.put($0, at: target.first) }
      if let second = target.second {
        rest.dropFirst(head).prefix(count - head).withUnsafeBufferPointer { pool.put($0, at: second) }
      }
      reader.received(count, in: target)
      rest = rest.dropFirst(count)
      do throws(RecordError) {
        while let record = try reader.nextRecord(pool: &pool) {
          let payload = pool.array(record)
          payloads.append(payload)
          held.append((record, payload))
          if payload.suffix(8).elementsEqual([14, 0, 0, 0, 0, 0, 0, 0]), !AEAD.isOff { try reader.rekey() }
        }
      } catch {
        return true
      }
      if script.byte() & 1 == 0 { releaseOldest() }
    }
    return false
  }

  private mutating func releaseOldest() {
    guard !held.isEmpty else { return }
    let (slice, bytes) = held.removeFirst()
    check(pool.array(slice) == bytes, "what was opened stays as it was while it is held")
    pool.release(slice)
  }

  mutating func close() {
    while !held.isEmpty { releaseOldest() }
    reader.close(pool: &pool)
    check(pool.isQuiet, "every slab is back")
  }
}
