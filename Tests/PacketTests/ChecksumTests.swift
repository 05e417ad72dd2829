import Packet
import Primitives
import Testing

/// RFC 1071 as it stands on paper.
func naiveChecksum(_ bytes: [UInt8]) -> UInt16 {
  var sum = 0
  for (index, byte) in bytes.enumerated() {
    sum += index % 2 == 0 ? Int(byte) << 8 : Int(byte)
    if sum > 0xFFFF { sum = (sum & 0xFFFF) + 1 }
  }
  return ~UInt16(sum)
}

@Suite struct ChecksumTests {
  @Test func exampleOfRFC1071() {
    let bytes: [UInt8] = [0x00, 0x01, 0xF2, 0x03, 0xF4, 0xF5, 0xF6, 0xF7]
    #expect(Checksum.fold(Checksum.sum(bytes.span)) == 0xDDF2)
    #expect(Checksum.of(bytes.span) == ~0xDDF2)
  }

  @Test func agreesWithTheNaiveOneAtEveryLengthAndAlignment() {
    var random = SeededRandom(seed: 1)
    for length in 0..<300 {
      let bytes = randomBytes(length + 8, &random)
      for start in 0..<8 {
        let expected = naiveChecksum(Array(bytes[start..<start + length]))
        #expect(Checksum.of(bytes.span.extracting(start..<start + length)) == expected)
      }
    }
    for length in [1500, 9000, 65_535, 65_536] {
      let bytes = randomBytes(length, &random)
      #expect(Checksum.of(bytes.span) == naiveChecksum(bytes))
    }
  }

  @Test func extremeBytes() {
    for length in [0, 1, 2, 3, 31, 32, 33, 65_535] {
      for byte in [UInt8(0), 0xFF] {
        let bytes = [UInt8](repeating: byte, count: length)
        #expect(Checksum.of(bytes.span) == naiveChecksum(bytes))
      }
    }
  }

  @Test func piecesOfAnyLengthAddUp() {
    var random = SeededRandom(seed: 2)
    for _ in 0..<2000 {
      let bytes = randomBytes(Int.random(in: 0..<200, using: &random), &random)
      var checksum = Checksum()
      var offset = 0
      while offset < bytes.count {
        let size = Int.random(in: 0...min(17, bytes.count - offset), using: &random)
        checksum.add(bytes.span.extracting(offset..<offset + size))
        offset += size
      }
      #expect(checksum.value == naiveChecksum(bytes))
    }
  }

  @Test func pseudoHeaders() {
    var random = SeededRandom(seed: 3)
    for _ in 0..<500 {
      for family in [IPAddress.Family.v4, .v6] {
        let (source, destination) = (randomAddress(family, &random), randomAddress(family, &random))
        let length = Int.random(in: 0...65_535, using: &random)
        let tail: [UInt8] =
          family == .v4
          ? [0, 6, UInt8(length >> 8), UInt8(length & 255)]
          : [0, 0, UInt8(length >> 8), UInt8(length & 255), 0, 0, 0, 6]
        let partial = Checksum.pseudoHeader(source: source, destination: destination, protocol: 6, length: length)
        #expect(~Checksum.fold(partial) == naiveChecksum(source.bytes + destination.bytes + tail))
      }
    }
  }

  @Test func updateEqualsComputingAnew() {
    var random = SeededRandom(seed: 4)
    for _ in 0..<2000 {
      var bytes = randomBytes(40, &random)
      let old = Checksum.of(bytes.span)
      let word = UInt16.random(in: 0...0xFFFF, using: &random)
      let address = UInt32.random(in: 0...UInt32.max, using: &random)
      let oldWord = UInt16(bytes[6]) << 8 | UInt16(bytes[7])
      let oldAddress = bytes[12..<16].reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
      (bytes[6], bytes[7]) = (UInt8(word >> 8), UInt8(word & 255))
      for index in 0..<4 { bytes[12 + index] = UInt8(truncatingIfNeeded: address >> (24 - 8 * UInt32(index))) }
      let changed = Checksum.update(old, replacing: oldWord, with: word)
      #expect(Checksum.update(changed, replacing: oldAddress, with: address) == Checksum.of(bytes.span))
    }
  }
}
