import Packet
import Primitives
import Testing

func randomTCPHeader(_ random: inout SeededRandom) -> TCPHeader {
  var options = TCPOptions()
  if random.chance(0.5) { options.maximumSegmentSize = random16(&random) }
  if random.chance(0.5) { options.windowScale = random8(&random) % 15 }
  options.sackPermitted = random.chance(0.5)
  if random.chance(0.5) { options.timestamps = .init(value: random32(&random), echo: random32(&random)) }
  let room = (40 - options.size - 4) / 8
  for _ in 0..<min(room, Int(random.next() % 5)) {
    options.sackBlocks.append(.init(start: random32(&random), end: random32(&random)))
  }
  return TCPHeader(
    sourcePort: random16(&random), destinationPort: random16(&random), sequence: random32(&random),
    acknowledgement: random32(&random), flags: TCPFlags(rawValue: random8(&random)), window: random16(&random),
    checksum: random16(&random), urgentPointer: random16(&random), options: options)
}

@Suite struct TCPHeaderTests {
  /// A SYN as Linux sends it: mss 1460, SACK permitted, timestamps, NOP, window scale 7.
  let linuxSYN: [UInt8] = [
    0xD4, 0x31, 0x00, 0x50, 0x01, 0x02, 0x03, 0x04, 0, 0, 0, 0, 0xA0, 0x02, 0xFA, 0xF0, 0x12, 0x34, 0, 0, 2, 4, 5, 0xB4,
    4, 2, 8, 10, 0, 0, 0, 9, 0, 0, 0, 0, 1, 3, 3, 7,
  ]

  @Test func knownSYN() throws {
    let header = try TCPHeader(parsing: linuxSYN.span)
    #expect(header.sourcePort == 54_321 && header.destinationPort == 80 && header.sequence == 0x0102_0304)
    #expect(header.flags == .syn && header.window == 64_240 && header.headerLength == 40 && header.checksum == 0x1234)
    #expect(header.options.maximumSegmentSize == 1460 && header.options.windowScale == 7)
    #expect(header.options.sackPermitted && header.options.timestamps == .init(value: 9, echo: 0))
    #expect(
      header.description == "54321 > 80: Flags [S], seq 16909060, win 64240, "
        + "options [mss 1460,wscale 7,sackOK,TS val 9 ecr 0]")
    expectRefusedWhenCut(linuxSYN) { bytes throws(ParseError) in try TCPHeader(parsing: bytes) }
  }

  @Test func roundTrips() throws {
    var random = SeededRandom(seed: 40)
    for _ in 0..<10_000 {
      let header = randomTCPHeader(&random)
      var length = 0
      let bytes = written(TCPHeader.maximumSize) { length = header.write(into: &$0) }
      #expect(length == header.headerLength && length % 4 == 0 && length <= TCPHeader.maximumSize)
      #expect(bytes[length...].allSatisfy { $0 == 0xAA }, "wrote behind the header")
      #expect(try TCPHeader(parsing: bytes.span) == header)
    }
  }

  @Test func badDataOffset() {
    var bytes = linuxSYN
    bytes[12] = 0x40
    #expect(throws: ParseError(.tcp, .badHeaderLength(16))) { try TCPHeader(parsing: bytes.span) }
    bytes[12] = 0xF0
    #expect(throws: ParseError(.tcp, .truncated(needed: 60, have: 40))) { try TCPHeader(parsing: bytes.span) }
  }

  @Test func headerLengthFollowsOptions() {
    var header = TCPHeader(sourcePort: 1, destinationPort: 2, sequence: 3, flags: [.syn, .ack], window: 4)
    #expect(header.headerLength == 20)
    header.options.maximumSegmentSize = 1460
    #expect(header.headerLength == 24)
    #expect(header.flags.description == "S.")
  }

  @Test func randomBytesNeverTrap() {
    feedRandomBytes(seed: 41, upTo: 72) { bytes throws(ParseError) in _ = try TCPHeader(parsing: bytes) }
  }
}

@Suite struct TCPOptionsTests {
  private func parse(_ bytes: [UInt8]) -> TCPOptions { TCPOptions(parsing: bytes.span) }

  @Test func malformedOptionsStopTheReading() {
    #expect(parse([3, 3, 7, 2, 0, 5, 180]) == TCPOptions(windowScale: 7))
    #expect(parse([3, 3, 7, 2, 1, 5, 180]) == TCPOptions(windowScale: 7))
    #expect(parse([3, 3, 7, 2, 4, 5]) == TCPOptions(windowScale: 7))
    #expect(parse([3, 3, 7, 2]) == TCPOptions(windowScale: 7))
  }

  @Test func endAndUnknownOptions() {
    #expect(parse([0, 3, 3, 7]) == TCPOptions())
    #expect(parse([254, 6, 1, 2, 3, 4, 1, 3, 3, 7]) == TCPOptions(windowScale: 7))
    // Known kinds of the wrong length are unknown ones.
    #expect(parse([2, 3, 1, 5, 9, 0, 0, 0, 0, 0, 0, 0, 4, 2]) == TCPOptions(sackPermitted: true))
  }

  @Test func windowScaleIsCapped() {
    #expect(parse([3, 3, 200]).windowScale == 14)
  }

  @Test func blocksBeyondTheRoomAreLeftOut() throws {
    var options = TCPOptions(timestamps: .init(value: 1, echo: 2))
    for index in 0..<4 as Range<UInt32> { options.sackBlocks.append(.init(start: index, end: index + 1)) }
    let full = options.sackBlocks.append(.init(start: 9, end: 10))
    #expect(!full && options.size == 40)
    let header = TCPHeader(
      sourcePort: 1, destinationPort: 2, sequence: 3, flags: .ack, window: 4, options: options)
    let bytes = written(60) { header.write(into: &$0) }
    #expect(try TCPHeader(parsing: bytes.span).options.sackBlocks.count == 3)
  }

  @Test func timestampsHaveTheLayoutOfTheFastPath() {
    let header = TCPHeader(
      sourcePort: 1, destinationPort: 2, sequence: 3, flags: .ack, window: 4,
      options: TCPOptions(timestamps: .init(value: 0x0102_0304, echo: 0x0506_0708)))
    #expect(written(32) { header.write(into: &$0) }[20...] == [1, 1, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8])
  }

  @Test func randomBytesNeverTrap() {
    let kinds: [UInt8] = [0, 1, 2, 3, 4, 5, 8, 99]
    feedRandomBytes(
      seed: 42, upTo: 40, shape: { bytes, random in if !bytes.isEmpty { bytes[0] = kinds[Int(random.next() % 8)] } }
    ) { bytes throws(ParseError) in _ = TCPOptions(parsing: bytes).size }
  }
}
