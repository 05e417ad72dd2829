import FuzzDriver
import Glibc
import Kernel
import Primitives

@testable import Tun

/// Captures: whatever is written can be read by the format's description (draft-ietf-opsawg-pcapng), block by block,
/// with the packets that went in.
@main enum PcapngTarget: FuzzTarget {
  nonisolated(unsafe) private static var pool = SlabPool(slabSize: 128 * 1024, limit: 8)

  /// A file that is nowhere but in memory.
  private static let file: CInt = {
    var path = Array("/dev/shm/fuzz-XXXXXX".utf8CString)
    let file = mkstemp(&path)
    guard file >= 0 else { fatalError("no file") }
    unlink(path)
    return file
  }()

  private struct Packet {
    var bytes: [UInt8]
    var original: Int
    var time: UInt64
    var direction: UInt32
    var comment: [UInt8]
  }

  static func run(_ bytes: UnsafeBufferPointer<UInt8>) {
    var script = Script(bytes)
    let flags = script.byte()
    // Somebody else's capture.
    if flags & 2 != 0 { return readAnything(script.rest().span) }
    let snapLength = 64 + script.choice(200) * 8
    let name = String(decoding: script.take(script.choice(80)), as: UTF8.self)
    check(ftruncate(file, 0) == 0 && lseek(file, 0, SEEK_SET) == 0, "an empty file")
    var expected: [Packet] = []
    var lane = SlabLane()
    do {
      var writer = PcapngWriter(
        to: OwnedDescriptor(owning: dup(file)), linkType: flags & 1 == 0 ? .raw : .ethernet, interface: name,
        snapLength: snapLength,
        bufferSize: 1 << 14)
      while !script.isAtEnd, expected.count < 32 {
        let layout = script.byte()
        let time = Int64(bitPattern: script.quad())
        let comment = layout & 1 == 0 ? "" : String(decoding: script.take(script.choice(64)), as: UTF8.self)
        let head = script.take(script.choice(80))
        let rest = script.take(Int(layout) * 4)
        var slices: [Slice] = []
        for part in [rest.prefix(rest.count / 2), rest.dropFirst(rest.count / 2)] {
          if let slice = pool.copy(UnsafeBufferPointer(rebasing: part), in: &lane) { slices.append(slice) }
        }
        let direction = PacketDirection(rawValue: UInt32(layout >> 1) % 3) ?? .unknown
        writer.write(
          header: head.span, payload: slices.span, pool: pool, at: time, direction: direction, comment: comment)
        if layout & 0x40 != 0 { writer.flush() }
        for slice in slices { pool.release(slice) }
        let whole = [UInt8](head) + [UInt8](rest)
        expected.append(
          Packet(
            bytes: [UInt8](whole.prefix(snapLength)), original: whole.count, time: UInt64(max(0, time)),
            direction: direction.rawValue, comment: [UInt8](comment.utf8.prefix(1024))))
      }
      check(writer.packetsWritten == UInt64(expected.count) && writer.packetsDropped == 0, "all packets are written")
      check(writer.failure == nil, "nothing fails")
    }
    pool.close(&lane)
    check(pool.slabsInUse == 0, "every slab is back")
    let written = contents(file)
    read(written, expected, flags & 1 == 0 ? 101 : 1, snapLength)
    readByProduct(written, expected, flags & 1 == 0 ? 101 : 1)
  }

  /// Whatever the bytes are: each call makes progress or throws, and a packet lies within them.
  private static func readAnything(_ bytes: Span<UInt8>) {
    var reader = PcapngReader()
    var last = 0
    do throws(PcapngError) {
      while let packet = try reader.next(in: bytes) {
        check(reader.position > last && reader.position <= bytes.count, "progress")
        last = reader.position
        check(packet.data.lowerBound >= 0 && packet.data.upperBound <= bytes.count, "a packet within the bytes")
        check(reader.interfaces.indices.contains(packet.interface), "a packet of a known interface")
        check(reader.interfaces.count <= PcapngReader.interfaceLimit, "interfaces within their bound")
        check(packet.comments.count <= PcapngReader.optionLimit, "options within their bound")
        for comment in packet.comments { check(comment.utf8.count <= 3 * PcapngReader.textLimit, "a text's bound") }
      }
      check(reader.position == bytes.count, "the end is the end")
    } catch {
      check(reader.position <= bytes.count, "an error within the bytes")
    }
  }

  /// The product's own reader finds the same.
  private static func readByProduct(_ bytes: [UInt8], _ expected: [Packet], _ linkType: UInt16) {
    var reader = PcapngReader()
    for packet in expected {
      guard let found = try? reader.next(in: bytes.span) else { return check(false, "a packet is missing") }
      check(bytes[found.data].elementsEqual(packet.bytes) && found.originalCount == packet.original, "its bytes")
      // Times beyond what 64 bits of nanoseconds hold aren't made.
      check(found.nanoseconds == Int64(exactly: packet.time), "its time")
      check(found.direction.rawValue == packet.direction, "its direction")
      check(found.comments.isEmpty == packet.comment.isEmpty, "its comment")
      check(reader.interfaces[found.interface].linkType == linkType, "its interface")
    }
    check((try? reader.next(in: bytes.span)) == .some(nil), "nothing behind the last packet")
  }

  private static func contents(_ descriptor: CInt) -> [UInt8] {
    let size = Int(lseek(descriptor, 0, SEEK_END))
    var bytes = [UInt8](repeating: 0, count: size)
    let count = pread(descriptor, &bytes, size, 0)
    check(count == size, "the file can be read")
    return bytes
  }

  /// The slow reader.
  private static func read(_ bytes: [UInt8], _ expected: [Packet], _ linkType: Int, _ snapLength: Int) {
    let word = { (offset: Int) -> UInt32 in (0..<4).reduce(0) { $0 | UInt32(bytes[offset + $1]) << UInt32(8 * $1) } }
    var (start, blocks, packets) = (0, 0, 0)
    while start < bytes.count {
      check(bytes.count - start >= 12, "a whole block")
      let (type, length) = (word(start), Int(word(start + 4)))
      check(length % 4 == 0 && length >= 12 && start + length <= bytes.count, "a block's length")
      check(Int(word(start + length - 4)) == length, "the same length at its end")
      switch type {
      case 0x0A0D_0D0A:
        check(blocks == 0 && word(start + 8) == 0x1A2B_3C4D && word(start + 12) == 1, "one section, of version 1.0")
        _ = options(bytes, start + 24, start + length - 4)
      case 1:
        check(blocks == 1 && Int(word(start + 8)) == linkType && Int(word(start + 12)) == snapLength, "one interface")
        let options = options(bytes, start + 16, start + length - 4)
        check(options.contains { $0.code == 9 && $0.value == [9] }, "times in nanoseconds")
      case 6:
        check(packets < expected.count, "no packet out of nowhere")
        let packet = expected[packets]
        packets += 1
        let time = UInt64(word(start + 12)) << 32 | UInt64(word(start + 16))
        let captured = Int(word(start + 20))
        check(word(start + 8) == 0 && time == packet.time, "interface and time")
        check(captured == packet.bytes.count && Int(word(start + 24)) == packet.original, "lengths")
        check(bytes[(start + 28)..<(start + 28 + captured)].elementsEqual(packet.bytes), "the packet's bytes")
        let options = options(bytes, start + 28 + (captured + 3) / 4 * 4, start + length - 4)
        check(options.first { $0.code == 2 }.map { UInt32($0.value[0]) } ?? 0 == packet.direction, "its direction")
        check(options.first { $0.code == 1 }?.value ?? [] == packet.comment, "its comment")
      default: check(false, "a block of type \(type)")
      }
      start += length
      blocks += 1
    }
    check(packets == expected.count && blocks == packets + 2, "all that was written")
  }

  private static func options(_ bytes: [UInt8], _ from: Int, _ end: Int) -> [(code: Int, value: [UInt8])] {
    var (options, start) = ([(code: Int, value: [UInt8])](), from)
    while true {
      check(start + 4 <= end, "options end with their end")
      let code = Int(bytes[start]) | Int(bytes[start + 1]) << 8
      let count = Int(bytes[start + 2]) | Int(bytes[start + 3]) << 8
      start += 4
      if code == 0 {
        check(count == 0 && start == end, "nothing stands behind the end of options")
        return options
      }
      check(start + count <= end, "an option within its block")
      options.append((code, [UInt8](bytes[start..<start + count])))
      start += (count + 3) / 4 * 4
    }
  }

  static var seeds: [[UInt8]] {
    let packet: [UInt8] = [3, 0, 0, 0, 1, 2, 3, 4, 5, 4, 65, 66, 67, 68, 20] + [UInt8](repeating: 7, count: 32)
    let name: [UInt8] = [3, 116, 117, 110]
    return [
      [0, 1] + name + packet, [1, 0] + name + packet + [0x42] + packet.dropFirst() + packet,
      [0, 9, 0] + [0xFE] + packet,
    ] + files.map { [2] + $0 }
  }

  /// In both byte orders: a section, an interface with options, a packet of each kind, and a block of another type.
  private static var files: [[UInt8]] {
    [false, true].map { isBig in
      let word = { (value: UInt32) -> [UInt8] in
        (0..<4).map { UInt8(truncatingIfNeeded: value >> UInt32(8 * (isBig ? 3 - $0 : $0))) }
      }
      let pair = { (a: UInt16, b: UInt16) -> [UInt8] in
        isBig
          ? [UInt8(a >> 8), UInt8(a & 255), UInt8(b >> 8), UInt8(b & 255)]
          : [UInt8(a & 255), UInt8(a >> 8), UInt8(b & 255), UInt8(b >> 8)]
      }
      let block = { (type: UInt32, content: [UInt8]) -> [UInt8] in
        let length = word(UInt32(content.count + 12))
        return word(type) + length + content + length
      }
      let section = block(0x0A0D_0D0A, word(0x1A2B_3C4D) + pair(1, 0) + word(.max) + word(.max))
      let interface = block(
        1, pair(1, 0) + word(65535) + pair(2, 4) + Array("eth0".utf8) + pair(9, 1) + [9, 0, 0, 0] + pair(0, 0))
      let packet = block(
        6,
        word(0) + word(1) + word(2) + word(6) + word(9) + [1, 2, 3, 4, 5, 6, 0, 0] + pair(1, 2) + [65, 66, 0, 0]
          + pair(2, 4) + word(1) + pair(0, 0))
      let old = block(2, pair(0, 0) + word(1) + word(2) + word(4) + word(4) + [1, 2, 3, 4])
      return section + interface + packet + old + block(3, word(4) + [1, 2, 3, 4])
        + block(5, word(0) + word(0) + word(0))
    }
  }
}
