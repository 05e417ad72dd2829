/// Why bytes aren't a pcapng capture.
public enum PcapngError: Error, Hashable, Sendable {
  /// The first block isn't a section header.
  case notPcapng
  /// A later major version of the format.
  case badVersion(UInt16)
  /// A block's length is no multiple of 4, too small for it, beyond the bound, or differs from its repetition.
  case badLength(UInt32, position: Int)
  /// The last block isn't there in full: what came before it was read.
  case truncated(position: Int)
  /// A packet of an interface that wasn't described.
  case unknownInterface(UInt32, position: Int)
  /// More interfaces in a section than the bound.
  case tooManyInterfaces
}

/// Reads a capture in the pcapng format (draft-ietf-opsawg-pcapng) that lies in memory.
///
/// A core without I/O: positions in the bytes go out, nothing is copied but names and comments. Both byte orders, several
/// sections, and each interface's own resolution of time; blocks and options of other kinds are passed over. Whatever the
/// bytes are, nothing traps, and each call makes progress or throws.
public struct PcapngReader: Sendable {
  public struct Interface: Hashable, Sendable {
    /// As in https://www.tcpdump.org/linktypes.html.
    public var linkType: UInt16
    public var snapLength: UInt32
    public var name = ""
    public var description = ""
    public var comment = ""
    /// In libpcap's language.
    public var filter = ""
    /// As in the option: a negative power of 10, or of 2 with the highest bit.
    public var resolution: UInt8 = 6
    /// Seconds to add to each time.
    public var offset: Int64 = 0
  }

  public struct Packet: Hashable, Sendable {
    /// Index in `interfaces`.
    public var interface: Int
    /// Since 1970; `nil` for a simple packet block, which has no time.
    public var nanoseconds: Int64?
    /// Where its bytes are.
    public var data: Range<Int>
    /// Bytes that it had on the wire.
    public var originalCount: Int
    public var direction = PacketDirection.unknown
    public var comments: [String] = []
  }

  /// Bytes of a block, interfaces of a section, options of a block, and bytes of a text that is kept.
  public static let blockLimit = 1 << 24
  public static let interfaceLimit = 4096
  static let optionLimit = 256
  static let textLimit = 16 << 10

  /// Of the present section.
  public private(set) var interfaces: [Interface] = []
  /// Where the next block begins.
  public private(set) var position = 0
  /// Blocks that were passed over, whatever was in them.
  public private(set) var skippedBlocks = 0
  private var isBigEndian = false
  private var hasSection = false

  public init() {}

  /// The next packet; `nil` at the end. After an error there is none.
  ///
  /// - Parameter bytes: the same ones each time.
  public mutating func next(in bytes: Span<UInt8>) throws(PcapngError) -> Packet? {
    while position < bytes.count {
      let start = position
      let (type, content) = try block(in: bytes)
      switch type {
      case 0x0A0D_0D0A: try readSection(bytes, content)
      case 1: try readInterface(bytes, content, start)
      case 2:
        // The obsolete packet block has 16 bits each for interface and drops.
        guard content.count >= 20 else { throw .badLength(UInt32(content.count), position: start) }
        let number = load16(bytes, content.lowerBound)
        return try packet(bytes, content, interface: UInt32(number), start)
      case 6:
        guard content.count >= 20 else { throw .badLength(UInt32(content.count), position: start) }
        return try packet(bytes, content, interface: load32(bytes, content.lowerBound), start)
      case 3: return try simplePacket(bytes, content, start)
      default: skippedBlocks += 1
      }
    }
    return nil
  }

  // MARK: Blocks

  /// The type of the block at `position`, and where its content is; moves on behind it.
  private mutating func block(in bytes: Span<UInt8>) throws(PcapngError) -> (UInt32, Range<Int>) {
    let start = position
    guard bytes.count - start >= 12 else {
      throw hasSection ? .truncated(position: start) : .notPcapng
    }
    // The type of a section header reads the same in both byte orders; its magic says which one follows.
    if isSectionHeader(bytes, start) {
      switch (bytes[start + 8], bytes[start + 9], bytes[start + 10], bytes[start + 11]) {
      case (0x4D, 0x3C, 0x2B, 0x1A): isBigEndian = false
      case (0x1A, 0x2B, 0x3C, 0x4D): isBigEndian = true
      default: throw .notPcapng
      }
      hasSection = true
    }
    guard hasSection else { throw .notPcapng }
    let length = load32(bytes, start + 4)
    guard length >= 12, length & 3 == 0, length <= UInt32(Self.blockLimit) else {
      throw .badLength(length, position: start)
    }
    let end = start + Int(length)
    guard end <= bytes.count else { throw .truncated(position: start) }
    guard load32(bytes, end - 4) == length else { throw .badLength(length, position: start) }
    position = end
    return (load32(bytes, start), (start + 8)..<(end - 4))
  }

  private func isSectionHeader(_ bytes: Span<UInt8>, _ start: Int) -> Bool {
    bytes[start] == 0x0A && bytes[start + 1] == 0x0D && bytes[start + 2] == 0x0D && bytes[start + 3] == 0x0A
  }

  private mutating func readSection(_ bytes: Span<UInt8>, _ content: Range<Int>) throws(PcapngError) {
    guard content.count >= 16 else {
      throw .badLength(UInt32(content.count), position: content.lowerBound - 8)
    }
    let major = load16(bytes, content.lowerBound + 4)
    guard major == 1 else { throw .badVersion(major) }
    interfaces = []
  }

  private mutating func readInterface(
    _ bytes: Span<UInt8>, _ content: Range<Int>, _ start: Int
  ) throws(PcapngError) {
    guard content.count >= 8 else { throw .badLength(UInt32(content.count), position: start) }
    guard interfaces.count < Self.interfaceLimit else { throw .tooManyInterfaces }
    var found = Interface(
      linkType: load16(bytes, content.lowerBound), snapLength: load32(bytes, content.lowerBound + 4))
    forEachOption(bytes, (content.lowerBound + 8)..<content.upperBound) { code, value in
      switch code {
      case 1: found.comment = text(bytes, value)
      case 2: found.name = text(bytes, value)
      case 3: found.description = text(bytes, value)
      case 9 where value.count == 1: found.resolution = bytes[value.lowerBound]
      case 11 where !value.isEmpty && bytes[value.lowerBound] == 0:
        found.filter = text(bytes, value.dropFirst())
      case 14 where value.count == 8:
        let words = (load32(bytes, value.lowerBound), load32(bytes, value.lowerBound + 4))
        let (high, low) = isBigEndian ? words : (words.1, words.0)
        found.offset = Int64(bitPattern: UInt64(high) << 32 | UInt64(low))
      default: break
      }
    }
    interfaces.append(found)
  }

  /// An enhanced packet block, or an obsolete packet block, which has the same layout but for its first word.
  private func packet(
    _ bytes: Span<UInt8>, _ content: Range<Int>, interface: UInt32, _ start: Int
  ) throws(PcapngError) -> Packet {
    guard Int(interface) < interfaces.count else { throw .unknownInterface(interface, position: start) }
    let first = content.lowerBound
    let captured = Int(load32(bytes, first + 12))
    guard captured <= content.count - 20 else { throw .badLength(UInt32(content.count), position: start) }
    let data = (first + 20)..<(first + 20 + captured)
    let ticks = UInt64(load32(bytes, first + 4)) << 32 | UInt64(load32(bytes, first + 8))
    var packet = Packet(
      interface: Int(interface), nanoseconds: nanoseconds(ticks, of: interfaces[Int(interface)]), data: data,
      originalCount: Int(load32(bytes, first + 16)))
    let options = min(content.upperBound, first + 20 + (captured + 3) & ~3)..<content.upperBound
    forEachOption(bytes, options) { code, value in
      switch code {
      case 1: packet.comments.append(text(bytes, value))
      case 2 where value.count == 4:
        packet.direction = PacketDirection(rawValue: load32(bytes, value.lowerBound) & 3) ?? .unknown
      default: break
      }
    }
    return packet
  }

  /// A simple packet block belongs to the first interface, and is as long as its snap length allows.
  private func simplePacket(_ bytes: Span<UInt8>, _ content: Range<Int>, _ start: Int) throws(PcapngError) -> Packet {
    guard content.count >= 4 else { throw .badLength(UInt32(content.count), position: start) }
    guard let interface = interfaces.first else { throw .unknownInterface(0, position: start) }
    let original = Int(load32(bytes, content.lowerBound))
    let bound = interface.snapLength == 0 ? original : min(original, Int(interface.snapLength))
    guard bound <= content.count - 4 else { throw .badLength(UInt32(content.count), position: start) }
    let first = content.lowerBound + 4
    return Packet(interface: 0, nanoseconds: nil, data: first..<(first + bound), originalCount: original)
  }

  // MARK: Parts

  private func forEachOption(_ bytes: Span<UInt8>, _ range: Range<Int>, _ body: (UInt16, Range<Int>) -> Void) {
    var place = range.lowerBound
    for _ in 0..<Self.optionLimit {
      guard range.upperBound - place >= 4 else { return }
      let code = load16(bytes, place)
      let count = Int(load16(bytes, place + 2))
      guard code != 0, range.upperBound - place - 4 >= count else { return }
      body(code, (place + 4)..<(place + 4 + count))
      place += 4 + (count + 3) & ~3
    }
  }

  /// Bytes that aren't UTF-8 are replaced.
  private func text(_ bytes: Span<UInt8>, _ range: Range<Int>) -> String {
    String(decoding: range.prefix(Self.textLimit).map { bytes[$0] }, as: UTF8.self)
  }

  /// Times beyond what 64 bits of nanoseconds hold are the last that they do.
  private func nanoseconds(_ ticks: UInt64, of interface: Interface) -> Int64 {
    let power = Int(interface.resolution & 0x7F)
    var time: UInt128
    if interface.resolution & 0x80 != 0 {
      time = power < 64 ? (UInt128(ticks) * 1_000_000_000) >> UInt128(power) : 0
    } else if power <= 9 {
      time = (power..<9).reduce(UInt128(ticks)) { value, _ in value * 10 }
    } else {
      time = (9..<min(power, 30)).reduce(UInt128(ticks)) { value, _ in value / 10 }
    }
    time = min(time, UInt128(Int64.max))
    let (shift, hasOverflown) = interface.offset.multipliedReportingOverflow(by: 1_000_000_000)
    let (sum, isBeyond) = Int64(time).addingReportingOverflow(hasOverflown ? 0 : shift)
    return isBeyond ? Int64(time) : sum
  }

  private func load16(_ bytes: Span<UInt8>, _ place: Int) -> UInt16 {
    let (first, second) = (UInt16(bytes[place]), UInt16(bytes[place + 1]))
    return isBigEndian ? first << 8 | second : second << 8 | first
  }

  private func load32(_ bytes: Span<UInt8>, _ place: Int) -> UInt32 {
    let (first, second) = (UInt32(load16(bytes, place)), UInt32(load16(bytes, place + 2)))
    return isBigEndian ? first << 16 | second : second << 16 | first
  }
}
