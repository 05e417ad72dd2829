import Crypto
import Primitives
import Testing

@testable import Framing

@Suite struct RecordReaderTests {
  /// Payload sizes of many kinds of record, the smallest and the largest among them.
  static let sizes =
    [0, 1, 2, 15, 16, 17, 255, 256, 1000, 4096, 8191, 16_375, 16_376, 16_376, 16_376, 16_376]
    + (0..<40).map { ($0 * 997) % 16_377 }

  private func makeStream(
    _ stream: inout RecordStream, sizes: [Int] = sizes
  ) throws -> (bytes: [UInt8], ends: [Int], payloads: [[UInt8]]) {
    var bytes: [UInt8] = []
    var ends: [Int] = []
    let payloads = sizes.enumerated().map { RecordStream.pattern($1, $0) }
    for payload in payloads {
      bytes += try stream.seal(payload)
      ends.append(bytes.count)
    }
    return (bytes, ends, payloads)
  }

  @Test(arguments: 0..<24 as Range<UInt64>)
  func piecesOfAnySizeGiveTheSameRecords(seed: UInt64) throws {
    var stream = try RecordStream()
    var random = SeededRandom(seed: seed)
    let (bytes, _, payloads) = try makeStream(&stream)
    let largest: UInt64 = [3, 40, 1500, 20_000, 65_536, 300_000][Int(seed % 6)]
    // What is held keeps slabs from being used again; what is released lets them.
    let keeps = seed % 2 == 0
    var opened: [[UInt8]] = []
    var position = 0
    while position < bytes.count {
      let count = min(bytes.count - position, 1 + Int(random.next() % largest))
      let taken = try stream.receive(bytes[position..<position + count])
      #expect(taken == count)
      position += count
      if !keeps {
        opened += try stream.payloads()
        stream.releaseAll()
      }
    }
    opened += try stream.payloads()
    #expect(opened == payloads)
    let state = (stream.reader.holdsPartialRecord, stream.reader.recordsOpened, stream.reader.bytesOpened)
    #expect(state == (false, UInt64(payloads.count), UInt64(bytes.count)))
    #expect(stream.close() == 0)
  }

  /// Two pieces, cut at and near each record's ends and the marks at which the reader changes slabs.
  @Test func everySplitNearABoundaryGivesTheSameRecords() throws {
    var source = try RecordStream()
    let (bytes, ends, payloads) = try makeStream(
      &source, sizes: [16_376, 0, 16_000, 3, 16_376, 900, 16_376, 16_376, 1, 0, 0, 5000])
    let mark = 65_536 - RecordHeader.maximumRecord
    var splits: Set<Int> = []
    for place in ends + [mark, 65_536, mark + 65_536] {
      for split in (place - 24)...(place + 24) where (0...bytes.count).contains(split) { splits.insert(split) }
    }
    for split in splits.sorted() {
      var stream = try RecordStream()
      _ = try stream.receive(bytes[..<split])
      let complete = ends.filter { $0 <= split }.count
      #expect(stream.held.count == complete)
      let isPartial = stream.reader.holdsPartialRecord
      #expect(isPartial == (split != 0 && !ends.contains(split)), "split \(split)")
      _ = try stream.receive(bytes[split...])
      if try stream.payloads() != payloads { Issue.record("split \(split)") }
      #expect(stream.close() == 0)
    }
    #expect(source.close() == 0)
  }

  @Test func oneByteAtATime() throws {
    var stream = try RecordStream(slabSize: 20_480)
    let (bytes, _, payloads) = try makeStream(&stream, sizes: [0, 5, 16_376, 1, 3000, 16_376])
    for index in bytes.indices { _ = try stream.receive(bytes[index...index]) }
    #expect(try stream.payloads() == payloads)
    #expect(stream.close() == 0)
  }

  @Test func waitsForMemoryAndGoesOn() throws {
    var stream = try RecordStream(slabs: 3)
    let (bytes, _, payloads) = try makeStream(&stream)
    var opened: [[UInt8]] = []
    var position = 0
    var waits = 0
    while position < bytes.count {
      let taken = try stream.receive(bytes[position...].prefix(50_000))
      position += taken
      if taken < 50_000, position < bytes.count {
        waits += 1
        opened += try stream.payloads()
        stream.releaseAll()
      }
    }
    opened += try stream.payloads()
    #expect(waits > 0)
    #expect(opened == payloads)
    #expect(stream.close() == 0)
  }

  @Test func anIdleReaderStaysInWarmMemory() throws {
    var stream = try RecordStream(slabs: 2)
    for round in 0..<500 {
      let record = try stream.seal(RecordStream.pattern(3000, round))
      _ = try stream.receive(record[...])
      stream.releaseAll()
    }
    #expect(stream.receivePool.peakSlabsInUse == 1)
    #expect(stream.close() == 0)
  }

  @Test func everyLengthIsJudged() {
    for length in 0...65_535 {
      let bytes: [UInt8] = [0x17, 3, 3, UInt8(length >> 8), UInt8(length & 0xFF)]
      let header = try? RecordHeader(parsing: bytes.span)
      // At least one byte of frames, at most 2¹⁴, and the tag.
      if (header != nil) != (17...16_400).contains(length) { Issue.record("length \(length)") }
      if let header, header.length != length { Issue.record("length \(length)") }
    }
    #expect(throws: RecordError.badLength(16)) { try RecordHeader(parsing: [0x17, 3, 3, 0, 16].span) }
    #expect(throws: RecordError.truncated) { try RecordHeader(parsing: [0x17, 3, 3, 0].span) }
  }

  @Test func aHeaderSurvivesTheWire() throws {
    var bytes = [UInt8](repeating: 0, count: 5)
    var span = bytes.mutableSpan
    RecordHeader(plaintextCount: 16_384).write(into: &span)
    #expect(bytes == [0x17, 3, 3, 0x40, 0x10])
    #expect(try RecordHeader(parsing: bytes.span).length == 16_400)
  }

  @Test(arguments: [0, 1, 2], [0 as UInt8, 0x14, 0x15, 0x16, 0x18, 0xFF])
  func foreignBytesAreNoRecord(position: Int, byte: UInt8) throws {
    var stream = try RecordStream()
    var record = try stream.seal([1, 2, 3])
    guard record[position] != byte else { return }
    record[position] = byte
    #expect(throws: RecordError.notARecord) { try stream.receive(record[...]) }
    #expect(stream.close() == 0)
  }

  /// Any lengths on the wire, in any place: refused, or waited for; never a trap or a leak.
  @Test func wrongLengthsEndTheStream() throws {
    var random = SeededRandom(seed: 4)
    for _ in 0..<400 {
      var stream = try RecordStream()
      let (bytes, ends, _) = try makeStream(&stream, sizes: [16_376, 16_376, 16_376, 0, 20])
      var changed = bytes
      let start = ([0] + ends.dropLast())[Int(random.next() % 5)]
      changed[start + 3] = UInt8(truncatingIfNeeded: random.next())
      changed[start + 4] = UInt8(truncatingIfNeeded: random.next())
      guard changed != bytes else { continue }
      var position = 0
      var failed = false
      while position < changed.count, !failed {
        let count = min(changed.count - position, 1 + Int(random.next() % 40_000))
        do throws(RecordError) { _ = try stream.receive(changed[position..<position + count]) } catch {
          failed = true
          #expect(error != .truncated)
        }
        position += count
      }
      let isPartial = stream.reader.holdsPartialRecord
      #expect(failed || isPartial)
      #expect(stream.close() == 0)
    }
  }

  /// One bit of each byte of a record; the changed length aside, the tag tells.
  @Test func everyChangedBitIsNoticed() throws {
    var source = try RecordStream()
    let record = try source.seal(RecordStream.pattern(60, 1))
    for position in record.indices where position < 3 || position > 4 {
      for bit in [0, 3, 7] as [UInt8] {
        var stream = try RecordStream()
        var changed = record
        changed[position] ^= 1 << bit
        #expect(throws: position < 3 ? RecordError.notARecord : .badTag) { try stream.receive(changed[...]) }
        #expect(stream.close() == 0)
      }
    }
  }

  @Test(arguments: ["lost", "repeated", "swapped", "of another connection"])
  func whatHappenedToARecordIsNoticed(what: String) throws {
    var stream = try RecordStream()
    let records = try (0..<4).map { try stream.seal(RecordStream.pattern(100, $0)) }
    let bytes: [UInt8]
    switch what {
    case "lost": bytes = records[0] + records[2]
    case "repeated": bytes = records[0] + records[0]
    case "swapped": bytes = records[1] + records[0]
    default:
      let secret = try SecretBytes(copying: [UInt8](repeating: 8, count: 32).span)
      stream.writer.close(pool: &stream.sendPool)
      stream.writer = try RecordWriter(secret: secret, now: RecordStream.start)
      bytes = try stream.seal([1])
    }
    #expect(throws: RecordError.badTag) { try stream.receive(bytes[...]) }
    #expect(stream.close() == 0)
  }

  @Test func aKeyIsUsedForItsBoundAndNoMore() throws {
    var stream = try RecordStream(policy: RekeyPolicy(records: 4))
    let secret = try SecretBytes(copying: [UInt8](repeating: 7, count: 32).span)
    stream.writer.close(pool: &stream.sendPool)
    // A peer that doesn't keep to the bound.
    stream.writer = try RecordWriter(secret: secret, policy: RekeyPolicy(records: 100), now: RecordStream.start)
    for _ in 0..<4 {
      let record = try stream.seal([1])
      _ = try stream.receive(record[...])
    }
    let record = try stream.seal([1])
    #expect(throws: RecordError.keyExhausted) { try stream.receive(record[...]) }
    #expect(stream.close() == 0)
  }
}
