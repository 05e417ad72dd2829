import Primitives
import Testing

@testable import Tun

@Suite struct PcapngReaderTests {
  /// Blocks in either byte order.
  private struct Writer {
    var bytes: [UInt8] = []
    let isBig: Bool

    mutating func put16(_ value: UInt16) { put(UInt64(value), 2) }
    mutating func put32(_ value: UInt32) { put(UInt64(value), 4) }

    private mutating func put(_ value: UInt64, _ size: Int) {
      let little = (0..<size).map { UInt8(truncatingIfNeeded: value >> UInt64(8 * $0)) }
      bytes += isBig ? little.reversed() : little
    }

    mutating func block(_ type: UInt32, _ body: (inout Writer) -> Void) {
      var inner = Writer(isBig: isBig)
      body(&inner)
      while inner.bytes.count % 4 != 0 { inner.bytes.append(0) }
      put32(type)
      put32(UInt32(inner.bytes.count + 12))
      bytes += inner.bytes
      put32(UInt32(inner.bytes.count + 12))
    }

    mutating func option(_ code: UInt16, _ value: [UInt8]) {
      put16(code)
      put16(UInt16(value.count))
      bytes += value
      while bytes.count % 4 != 0 { bytes.append(0) }
    }

    mutating func section() {
      block(0x0A0D_0D0A) {
        $0.put32(0x1A2B_3C4D)
        $0.put16(1)
        $0.put16(0)
        $0.put32(.max)
        $0.put32(.max)
      }
    }

    mutating func interface(resolution: UInt8?, snap: UInt32 = 0, offset: UInt32? = nil) {
      block(1) { block in
        block.put16(101)
        block.put16(0)
        block.put32(snap)
        if let resolution { block.option(9, [resolution]) }
        if let offset {
          let little = (0..<8).map { UInt8(truncatingIfNeeded: UInt64(offset) >> UInt64(8 * $0)) }
          block.option(14, block.isBig ? little.reversed() : little)
        }
        block.option(2, Array("eth0".utf8))
        block.option(0, [])
      }
    }

    mutating func packet(_ interface: UInt32, _ ticks: UInt64, _ data: [UInt8], original: UInt32? = nil) {
      block(6) {
        $0.put32(interface)
        $0.put32(UInt32(ticks >> 32))
        $0.put32(UInt32(truncatingIfNeeded: ticks))
        $0.put32(UInt32(data.count))
        $0.put32(original ?? UInt32(data.count))
        $0.bytes += data
        while $0.bytes.count % 4 != 0 { $0.bytes.append(0) }
        $0.option(1, Array("why".utf8))
        $0.option(2, $0.isBig ? [0, 0, 0, 2] : [2, 0, 0, 0])
      }
    }

    /// One of each kind.
    static func sample(isBig: Bool) -> [UInt8] {
      var writer = Writer(isBig: isBig)
      writer.section()
      writer.interface(resolution: nil, snap: 4)
      writer.interface(resolution: 9)
      writer.interface(resolution: 0x80 | 10, offset: 1000)
      writer.block(0x4242) { $0.bytes += [1, 2, 3, 4, 5] }
      writer.packet(0, 1_000_001, [1, 2, 3])
      writer.packet(1, 7, [4, 5], original: 99)
      writer.packet(2, 1 << 11, [])
      writer.block(3) {
        $0.put32(9)
        $0.bytes += [7, 7, 7, 7]
      }
      writer.block(2) {
        $0.put16(1)
        $0.put16(0)
        $0.put32(0)
        $0.put32(5)
        $0.put32(1)
        $0.put32(1)
        $0.bytes += [8]
      }
      writer.section()
      writer.interface(resolution: 3)
      writer.packet(0, 2, [9])
      return writer.bytes
    }
  }

  private static func read(_ bytes: [UInt8]) throws -> [PcapngReader.Packet] {
    var reader = PcapngReader()
    var packets: [PcapngReader.Packet] = []
    while let packet = try reader.next(in: bytes.span) { packets.append(packet) }
    return packets
  }

  @Test(arguments: [false, true])
  func `all kinds of blocks in both byte orders`(isBig: Bool) throws {
    let bytes = Writer.sample(isBig: isBig)
    let packets = try Self.read(bytes)
    #expect(packets.map { Array(bytes[$0.data]) } == [[1, 2, 3], [4, 5], [], [7, 7, 7, 7], [8], [9]])
    #expect(packets.map(\.nanoseconds) == [1_000_001_000, 7, 1_002_000_000_000, nil, 5, 2_000_000])
    #expect(packets.map(\.originalCount) == [3, 99, 0, 9, 1, 1])
    #expect(packets.map(\.interface) == [0, 1, 2, 0, 1, 0])
    #expect(packets[0].comments == ["why"] && packets[0].direction == .outbound)
  }

  @Test func `cut anywhere, what is whole is read, and the rest is an error`() throws {
    let bytes = Writer.sample(isBig: false)
    let whole = try Self.read(bytes).count
    var most = 0
    for count in 0..<bytes.count {
      var reader = PcapngReader()
      let part = Array(bytes[..<count])
      var found = 0
      do throws(PcapngError) {
        while try reader.next(in: part.span) != nil { found += 1 }
        // A cut between blocks is the end of a shorter capture.
        #expect(reader.position == count)
      } catch {
        switch error {
        case .notPcapng, .truncated: break
        default: Issue.record("cut at \(count): \(error)")
        }
      }
      most = max(most, found)
      #expect(found <= whole)
    }
    #expect(most == whole - 1)
  }

  @Test func `random bytes trap nothing, and always come to an end`() {
    var random = SeededRandom(seed: 11)
    for round in 0..<5000 {
      var bytes = Writer.sample(isBig: round % 2 == 0)
      if round % 4 == 0 {
        bytes = (0..<Int.random(in: 0...200, using: &random)).map { _ in UInt8.random(in: 0...255, using: &random) }
      } else {
        for _ in 0..<Int.random(in: 1...6, using: &random) {
          let place = Int.random(in: 0..<bytes.count, using: &random)
          bytes[place] = round % 3 == 0 ? 0xFF : UInt8.random(in: 0...255, using: &random)
        }
      }
      var reader = PcapngReader()
      var last = 0
      while let packet = try? reader.next(in: bytes.span) {
        #expect(reader.position > last && packet.data.upperBound <= bytes.count)
        last = reader.position
      }
    }
  }

  @Test func `errors say what is wrong`() {
    func error(_ change: (inout Writer) -> Void) -> PcapngError? {
      var writer = Writer(isBig: false)
      writer.section()
      change(&writer)
      do {
        _ = try Self.read(writer.bytes)
        return nil
      } catch { return error as? PcapngError }
    }
    #expect(throws: PcapngError.notPcapng) { try Self.read(Array("GIF89a, or any other file".utf8)) }
    #expect(error { $0.packet(0, 0, []) } == .unknownInterface(0, position: 28))
    #expect(error { $0.bytes += [9, 0, 0, 0, 13, 0, 0, 0, 0, 0, 0, 0] } == .badLength(13, position: 28))
    #expect(error { $0.bytes += [9, 0, 0, 0, 12, 0, 0, 0, 16, 0, 0, 0] } == .badLength(12, position: 28))
    #expect(error { $0.bytes += [9, 0, 0, 0, 0, 0, 0, 2, 16, 0, 0, 0] } == .badLength(0x0200_0000, position: 28))
    #expect(
      error { writer in for _ in 0...PcapngReader.interfaceLimit { writer.interface(resolution: nil) } }
        == .tooManyInterfaces)
    var later = Writer(isBig: false)
    later.section()
    later.bytes[12] = 2
    #expect(throws: PcapngError.badVersion(2)) { try Self.read(later.bytes) }
  }
}
