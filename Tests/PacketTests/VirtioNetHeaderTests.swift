import Packet
import Primitives
import Testing

@Suite struct VirtioNetHeaderTests {
  @Test func roundTrips() throws {
    var random = SeededRandom(seed: 80)
    for _ in 0..<2000 {
      let header = VirtioNetHeader(
        flags: .init(rawValue: random8(&random)), segmentationType: random8(&random), headerLength: random16(&random),
        segmentSize: random16(&random), checksumStart: random16(&random), checksumOffset: random16(&random))
      let bytes = written(10) { header.write(into: &$0) }
      #expect(try VirtioNetHeader(parsing: bytes.span) == header)
      expectRefusedWhenCut(bytes) { bytes throws(ParseError) in try VirtioNetHeader(parsing: bytes) }
    }
  }

  /// As a little-endian kernel lays out the header of a TCP/IPv4 super-segment.
  @Test(.enabled(if: 1.littleEndian == 1, "the vector is of a little-endian host")) func knownHeader() throws {
    let bytes: [UInt8] = [1, 0x81, 52, 0, 0xA8, 0x05, 20, 0, 16, 0]
    let header = try VirtioNetHeader(parsing: bytes.span)
    #expect(
      try header.validate(against: 60_000)
        == Offload(checksum: .partial(start: 20, offset: 16), segmentation: .tcp4, segmentSize: 1448, hasECN: true))
  }

  @Test func offloadsRoundTrip() throws {
    for segmentation in [Offload.Segmentation.none, .tcp4, .tcp6, .udp] {
      for checksum in [Offload.ChecksumState.complete, .verified, .partial(start: 40, offset: 16)] {
        for hasECN in [false, true] where !hasECN || segmentation == .tcp4 || segmentation == .tcp6 {
          let offload = Offload(
            checksum: checksum, segmentation: segmentation, segmentSize: segmentation == .none ? 0 : 1400,
            hasECN: hasECN)
          let header = VirtioNetHeader(offload, headerLength: 60)
          #expect(try header.validate(against: 58) == offload)
          #expect(header.headerLength == (segmentation == .none ? 0 : 60))
        }
      }
    }
    #expect(VirtioNetHeader(.none, headerLength: 60) == VirtioNetHeader())
  }

  @Test func refusals() {
    let checksum = VirtioNetHeader(flags: .needsChecksum, checksumStart: 20, checksumOffset: 16)
    #expect(throws: Never.self) { try checksum.validate(against: 38) }
    #expect(throws: ParseError(.virtioNet, .badOffset(38))) { try checksum.validate(against: 37) }
    let farAway = VirtioNetHeader(flags: .needsChecksum, checksumStart: .max, checksumOffset: .max)
    #expect(throws: ParseError(.virtioNet, .badOffset(131_072))) { try farAway.validate(against: 65_535) }
    for type in [1, 4, 5, 0x81, 0x84] as [UInt8] {
      #expect(throws: ParseError(.virtioNet, .badSegmentSize(0))) {
        try VirtioNetHeader(segmentationType: type).validate(against: 1000)
      }
    }
    for type in [2, 3, 6, 0x80, 0x83, 0x85, 0xFF] as [UInt8] {
      #expect(throws: ParseError(.virtioNet, .badOffload(type))) {
        try VirtioNetHeader(segmentationType: type, segmentSize: 100).validate(against: 1000)
      }
    }
  }

  @Test func headerLengthIsNotRelied() throws {
    let header = VirtioNetHeader(segmentationType: 1, headerLength: .max, segmentSize: 100)
    #expect(try header.validate(against: 60) == Offload(segmentation: .tcp4, segmentSize: 100))
  }

  @Test func randomBytesNeverTrap() {
    feedRandomBytes(seed: 81, upTo: 14) { bytes throws(ParseError) in
      _ = try VirtioNetHeader(parsing: bytes).validate(against: bytes.count)
    }
  }
}
