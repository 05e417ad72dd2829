import Crypto
import Primitives
import Testing

@testable import Framing

@Suite struct RecordWriterTests {
  static let stream = StreamID(slot: 3, tenant: 9)

  @Test func smallFramesShareARecord() throws {
    var stream = try RecordStream()
    let payload = stream.sendPool.copy([1, 2, 3].span, in: &stream.lane)!
    _ = stream.writer.add(.data, Self.stream, payload: payload, pool: &stream.sendPool)
    _ = stream.writer.add(.window, Self.stream, value: 0x0102_0304_0506_0708, pool: &stream.sendPool)
    _ = stream.writer.add(.goAway, .session, bytes: Array("bye".utf8).span, pool: &stream.sendPool)
    _ = stream.writer.add(.finish, Self.stream, bytes: Span<UInt8>(), pool: &stream.sendPool)
    let bytes = try stream.sealAll()
    _ = try stream.receive(bytes[...])
    #expect(stream.held.count == 1)
    var cursor = FrameCursor(stream.held[0].slice)
    var frames: [(FrameHeader, [UInt8])] = []
    while let (header, payload) = try cursor.next(pool: stream.receivePool) {
      frames.append((header, stream.receivePool.array(payload)))
    }
    #expect(frames.map(\.0.type) == [.data, .window, .goAway, .finish])
    #expect(frames.map(\.0.stream) == [Self.stream, Self.stream, .session, Self.stream])
    #expect(frames.map(\.1) == [[1, 2, 3], [1, 2, 3, 4, 5, 6, 7, 8], Array("bye".utf8), []])
    #expect(stream.close() == 0)
  }

  @Test func payloadIsSealedWhereItLies() throws {
    var stream = try RecordStream()
    let payload = stream.sendPool.copy(RecordStream.pattern(5000, 1).span, in: &stream.lane)!
    _ = stream.writer.add(.data, Self.stream, payload: payload, pool: &stream.sendPool)
    var output = SliceQueue()
    try stream.writer.seal(into: &output, pool: &stream.sendPool, now: RecordStream.start)
    let pieces = (0..<output.count).map { output[$0] }
    #expect(pieces.count == 3)
    #expect(pieces[1] == payload)
    #expect(stream.sendPool.array(payload) != RecordStream.pattern(5000, 1))
    output.removeAll(pool: &stream.sendPool)
    #expect(stream.close() == 0)
  }

  @Test func aRecordIsFullAtItsBound() throws {
    var stream = try RecordStream()
    let room = stream.writer.room
    #expect(room == FrameHeader.maximumPayload)
    let bytes = try stream.seal(RecordStream.pattern(room, 1))
    #expect(bytes.count == RecordHeader.maximumRecord)
    for count in 0..<1000 {
      guard stream.writer.room >= 8 else {
        #expect(count > 10)
        break
      }
      _ = stream.writer.add(.window, Self.stream, value: 1, pool: &stream.sendPool)
    }
    let second = try stream.sealAll()
    _ = try stream.receive((bytes + second)[...])
    #expect(stream.held.count == 2)
    #expect(stream.close() == 0)
  }

  @Test func piecesOfARecordAreBounded() throws {
    var stream = try RecordStream()
    let size = RecordWriter.separateSize
    var count = 0
    // As many pieces as can be: each payload apart, and a small frame before each.
    while stream.writer.room >= size + FrameHeader.size {
      _ = stream.writer.add(.window, Self.stream, value: 1, pool: &stream.sendPool)
      let payload = stream.sendPool.copy(RecordStream.pattern(size, 1).span, in: &stream.lane)!
      _ = stream.writer.add(.data, Self.stream, payload: payload, pool: &stream.sendPool)
      count += 1
    }
    #expect(count == 7)
    var output = SliceQueue()
    try stream.writer.seal(into: &output, pool: &stream.sendPool, now: RecordStream.start)
    let pieces = output.count
    #expect(pieces > 2 * count && pieces <= RecordWriter.maximumPieces)
    output.removeAll(pool: &stream.sendPool)
    #expect(stream.close() == 0)
  }

  /// A record of many small frames is one piece of memory: one call of the cipher, one vector of the gathered write.
  @Test func smallFramesAreOnePiece() throws {
    var stream = try RecordStream()
    var expected: [[UInt8]] = []
    var bytes: [UInt8] = []
    for record in 0..<8 {
      var count = 0
      while stream.writer.room >= 250 {
        let size = [200, 0, 1, 250, 17][expected.count % 5]
        let content = RecordStream.pattern(size, expected.count)
        let payload = stream.sendPool.copy(content.span, in: &stream.lane)!
        _ = stream.writer.add(.datagram, Self.stream, payload: payload, pool: &stream.sendPool)
        // It is not held any longer: what comes next may lie where it was.
        let isFree = stream.sendPool.isSoleReference(payload)
        #expect(isFree)
        expected.append(content)
        count += 1
      }
      #expect(count > 100)
      var output = SliceQueue()
      try stream.writer.seal(into: &output, pool: &stream.sendPool, now: RecordStream.start)
      // Where the scratch memory ends, a record may be in two.
      let pieces = output.count
      #expect(pieces == 1 || (record > 0 && pieces == 2))
      while let slice = output.popFirst() {
        bytes += stream.sendPool.array(slice)
        stream.sendPool.release(slice)
      }
    }
    _ = try stream.receive(bytes[...])
    var received: [[UInt8]] = []
    for (record, _) in stream.held {
      var cursor = FrameCursor(record)
      while let (_, payload) = try cursor.next(pool: stream.receivePool) {
        received.append(stream.receivePool.array(payload))
      }
    }
    #expect(received == expected)
    #expect(stream.close() == 0)
  }

  /// Just below the size from which payload is sealed where it lies, and at it.
  @Test func payloadIsCopiedUpToItsBound() throws {
    for (size, isCopied) in [(RecordWriter.separateSize - 1, true), (RecordWriter.separateSize, false)] {
      var stream = try RecordStream()
      let payload = stream.sendPool.copy(RecordStream.pattern(size, 1).span, in: &stream.lane)!
      _ = stream.writer.add(.data, Self.stream, payload: payload, pool: &stream.sendPool)
      let isFree = stream.sendPool.isSoleReference(payload)
      #expect(isFree == isCopied)
      let bytes = try stream.sealAll()
      _ = try stream.receive(bytes[...])
      #expect(stream.held.count == 1)
      #expect(stream.close() == 0)
    }
  }

  @Test func nothingToSealIsNothing() throws {
    var stream = try RecordStream()
    let bytes = try stream.sealAll()
    let isEmpty = stream.writer.isEmpty
    #expect(bytes.isEmpty && isEmpty)
    #expect(stream.close() == 0)
  }

  /// Memory may end anywhere: what was begun can be sealed, and the rest is taken later.
  @Test func withoutMemoryNothingIsTakenAndNothingLost() throws {
    var stream = try RecordStream()
    var hoard: [Slice] = []
    var refused = 0
    var sent: [UInt64] = []
    // What was sealed waits, so that the writer's memory isn't free for use again.
    var output = SliceQueue()
    for round in 0..<12_000 {
      if round == 500 {
        while let slab = stream.sendPool.takeSlab() { hoard.append(slab) }
      } else if round == 11_000 {
        for slab in hoard { stream.sendPool.release(slab) }
      }
      if stream.writer.add(.window, Self.stream, value: UInt64(round), pool: &stream.sendPool) {
        sent.append(UInt64(round))
      } else {
        refused += 1
      }
      if round % 7 == 0 { try stream.writer.seal(into: &output, pool: &stream.sendPool, now: RecordStream.start) }
    }
    try stream.writer.seal(into: &output, pool: &stream.sendPool, now: RecordStream.start)
    var sealed: [UInt8] = []
    while let slice = output.popFirst() {
      sealed += stream.sendPool.array(slice)
      stream.sendPool.release(slice)
    }
    #expect(refused > 0)
    _ = try stream.receive(sealed[...])
    var received: [UInt64] = []
    for (record, _) in stream.held {
      var cursor = FrameCursor(record)
      while let (_, payload) = try cursor.next(pool: stream.receivePool) {
        received.append(stream.receivePool.withSpan(payload) { $0.bigEndian64(at: 0) })
      }
    }
    #expect(received == sent)
    #expect(stream.close() == 0)
  }

  @Test func refusesToUseAKeyBeyondItsBound() throws {
    var stream = try RecordStream(policy: RekeyPolicy(records: 3))
    for index in 0..<3 {
      let needsRekey = stream.writer.needsRekey(now: RecordStream.start)
      #expect(needsRekey == (index == 2))
      _ = try stream.seal([1])
    }
    #expect(throws: RecordError.keyExhausted) { try stream.seal([1]) }
    #expect(stream.close() == 0)
  }

  @Test func keysAgeByTime() throws {
    var stream = try RecordStream(policy: RekeyPolicy(records: 100, interval: .seconds(10)))
    let (early, late) = (RecordStream.start + .seconds(9), RecordStream.start + .seconds(10))
    var needs = (stream.writer.needsRekey(now: early), stream.writer.needsRekey(now: late))
    #expect(needs == (false, true))
    _ = stream.writer.addRekey(pool: &stream.sendPool)
    let room = stream.writer.room
    #expect(room < 0, "nothing may follow REKEY in its record")
    _ = try stream.sealAll(now: late)
    needs = (stream.writer.needsRekey(now: late), stream.writer.needsRekey(now: late + .seconds(10)))
    #expect(needs == (false, true))
    #expect(stream.close() == 0)
  }

  @Test func thePolicyCantExceedWhatTheCipherIsGoodFor() {
    #expect(RekeyPolicy(records: .max).records == 1 << 23)
  }

  /// The same plaintext over many keys: with a nonce used twice under one key, two records would be equal.
  @Test func noTwoRecordsAreEqual() throws {
    var stream = try RecordStream(policy: RekeyPolicy(records: 5))
    var seen: Set<[UInt8]> = []
    var count = 0
    for _ in 0..<400 {
      if stream.writer.needsRekey(now: RecordStream.start) {
        _ = stream.writer.addRekey(pool: &stream.sendPool)
        let bytes = try stream.sealAll()
        _ = try stream.receive(bytes[...])
        try stream.reader.rekey()
      }
      let record = try stream.seal([UInt8](repeating: 0, count: 64))
      seen.insert(Array(record.dropFirst(RecordHeader.size)))
      count += 1
      _ = try stream.receive(record[...])
    }
    #expect(seen.count == count)
    #expect(stream.close() == 0)
  }

  @Test func keysAndNoncesDifferInEveryEpoch() throws {
    var schedule = try KeySchedule(secret: SecretBytes(copying: [UInt8](repeating: 1, count: 32).span))
    var keys: Set<[UInt8]> = []
    var nonces: Set<AEADNonce> = []
    for _ in 0..<50 {
      keys.insert(try schedule.makeKey().withSpan { bytes in (0..<bytes.count).map { bytes[$0] } })
      #expect(schedule.counter == 0)
      for _ in 0..<20 { nonces.insert(schedule.nextNonce()) }
      try schedule.advance()
    }
    #expect(keys.count == 50)
    #expect(nonces.count == 1000)
  }

  @Test func aRecordInTheMakingIsGivenBack() throws {
    var stream = try RecordStream()
    let payload = stream.sendPool.copy([1, 2, 3].span, in: &stream.lane)!
    _ = stream.writer.add(.data, Self.stream, payload: payload, pool: &stream.sendPool)
    #expect(stream.close() == 0)
  }
}
