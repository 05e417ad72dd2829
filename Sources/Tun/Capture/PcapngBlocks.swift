/// Blocks of the pcapng format (draft-ietf-opsawg-pcapng), put together in memory. Little-endian.
struct PcapngBlocks {
  private(set) var bytes: [UInt8] = []
  private var start = 0

  /// Option codes that all blocks have, and those of the blocks that are written.
  private enum Option {
    static let end: UInt16 = 0
    static let comment: UInt16 = 1
    static let sectionApplication: UInt16 = 4
    static let interfaceName: UInt16 = 2
    static let interfaceDescription: UInt16 = 3
    static let timeResolution: UInt16 = 9
    static let filter: UInt16 = 11
    static let packetFlags: UInt16 = 2
    static let received: UInt16 = 4
    static let dropped: UInt16 = 5
    static let accepted: UInt16 = 6
  }

  mutating func reserveCapacity(_ count: Int) {
    bytes.reserveCapacity(count)
  }

  mutating func removeAll() {
    bytes.removeAll(keepingCapacity: true)
  }

  /// What has been written.
  mutating func removeFirst(_ count: Int) {
    if count == bytes.count { removeAll() } else { bytes.removeFirst(count) }
  }

  mutating func section() {
    begin(0x0A0D_0D0A)
    // The magic tells readers the byte order; version 1.0; a section of unknown length.
    put(0x1A2B_3C4D)
    put(0x0000_0001)
    put(.max)
    put(.max)
    option(Option.sectionApplication, "RelayVPN", limit: 64)
    endBlock()
  }

  mutating func interface(_ interface: CaptureInterface, snapLength: Int, filter: String) {
    begin(1)
    put(UInt32(interface.linkType.rawValue))
    put(UInt32(truncatingIfNeeded: snapLength))
    if !interface.comment.isEmpty, interface.comment.utf8.count <= 8192 {
      option(Option.comment, interface.comment, limit: 8192)
    }
    if !interface.name.isEmpty { option(Option.interfaceName, interface.name, limit: 200) }
    if !interface.description.isEmpty { option(Option.interfaceDescription, interface.description, limit: 1024) }
    // 10⁻⁹ seconds.
    option(Option.timeResolution, [9])
    // The first byte says that the text is of libpcap's language.
    if !filter.isEmpty { option(Option.filter, [0] + Array(filter.utf8.prefix(CaptureFilter.sizeLimit))) }
    endBlock()
  }

  /// An enhanced packet block.
  mutating func packet(
    interface: Int, nanoseconds: Int64, originalCount: Int, direction: PacketDirection, comment: [UInt8],
    _ packet: Span<UInt8>
  ) {
    beginPacket(
      interface: interface, nanoseconds: nanoseconds, capturedCount: packet.count, originalCount: originalCount)
    putPacket(packet)
    endPacket(direction, comment: comment)
  }

  /// The same in parts: `capturedCount` bytes have to follow.
  mutating func beginPacket(interface: Int, nanoseconds: Int64, capturedCount: Int, originalCount: Int) {
    begin(6)
    put(UInt32(truncatingIfNeeded: interface))
    let time = UInt64(max(0, nanoseconds))
    put(UInt32(truncatingIfNeeded: time >> 32))
    put(UInt32(truncatingIfNeeded: time))
    put(UInt32(truncatingIfNeeded: capturedCount))
    put(UInt32(truncatingIfNeeded: originalCount))
  }

  mutating func putPacket(_ part: Span<UInt8>) {
    unsafe part.withUnsafeBufferPointer { unsafe bytes.append(contentsOf: $0) }
  }

  mutating func endPacket(_ direction: PacketDirection, comment: [UInt8]) {
    pad()
    if direction != .unknown {
      option(Option.packetFlags, (0..<4).map { UInt8(truncatingIfNeeded: direction.rawValue >> UInt32(8 * $0)) })
    }
    if !comment.isEmpty { option(Option.comment, comment) }
    endBlock()
  }

  /// An interface statistics block: what its counters came to.
  mutating func statistics(interface: Int, nanoseconds: Int64, _ counters: CaptureCounters) {
    begin(5)
    put(UInt32(truncatingIfNeeded: interface))
    let time = UInt64(max(0, nanoseconds))
    put(UInt32(truncatingIfNeeded: time >> 32))
    put(UInt32(truncatingIfNeeded: time))
    for (code, value) in [
      (Option.received, counters.seen), (Option.dropped, counters.dropped),
      (Option.accepted, counters.captured &+ counters.dropped),
    ] {
      option(code, (0..<8).map { UInt8(truncatingIfNeeded: value >> UInt64(8 * $0)) })
    }
    endBlock()
  }

  // MARK: Parts

  private mutating func begin(_ type: UInt32) {
    start = bytes.count
    put(type)
    put(0)
  }

  private mutating func endBlock() {
    option(Option.end, [])
    let length = UInt32(truncatingIfNeeded: bytes.count - start + 4)
    put(length)
    for index in 0..<4 { bytes[start + 4 + index] = UInt8(truncatingIfNeeded: length >> UInt32(8 * index)) }
  }

  private mutating func option(_ code: UInt16, _ text: String, limit: Int) {
    var cut = text[...]
    while cut.utf8.count > limit { cut.removeLast() }
    option(code, Array(cut.utf8))
  }

  private mutating func option(_ code: UInt16, _ value: [UInt8]) {
    put(UInt32(code) | UInt32(truncatingIfNeeded: value.count) << 16)
    bytes.append(contentsOf: value)
    pad()
  }

  private mutating func put(_ value: UInt32) {
    for index in 0..<4 { bytes.append(UInt8(truncatingIfNeeded: value >> UInt32(8 * index))) }
  }

  /// Up to the next multiple of 4 bytes of the block.
  private mutating func pad() {
    while (bytes.count - start) & 3 != 0 { bytes.append(0) }
  }
}
