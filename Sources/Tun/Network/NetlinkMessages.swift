/// The messages of one netlink datagram (RFC 3549 section 2.3.2, netlink(7)). Nothing in them can trap.
struct NetlinkMessages {
  /// Of `struct nlmsghdr`.
  static let headerSize = 16

  /// Where the next message starts.
  private var position = 0

  /// The next message's type, and where in the datagram its content stands; `nil` behind the last whole message.
  mutating func next(in bytes: Span<UInt8>) -> (type: Int, body: Range<Int>)? {
    guard bytes.count - position >= Self.headerSize else { return nil }
    let length = Int(bytes.native32(position))
    guard length >= Self.headerSize, length <= bytes.count - position else { return nil }
    let start = position
    // Messages start on multiples of 4 bytes (NLMSG_ALIGN).
    position = min(bytes.count, start + (length + 3) & ~3)
    return (Int(bytes.native16(start + 4)), (start + Self.headerSize)..<(start + length))
  }
}

extension Span where Element == UInt8 {
  // Fields of netlink are in the machine's own order. The caller has seen to it that they are there.

  func native16(_ offset: Int) -> UInt16 {
    let value = UInt16(self[offset]) | UInt16(self[offset + 1]) << 8
    return UInt16(littleEndian: value)
  }

  func native32(_ offset: Int) -> UInt32 {
    var value: UInt32 = 0
    for index in 0..<4 { value |= UInt32(self[offset + index]) << UInt32(8 * index) }
    return UInt32(littleEndian: value)
  }
}

extension [UInt8] {
  mutating func append(native value: some FixedWidthInteger) {
    unsafe Swift.withUnsafeBytes(of: value) { unsafe append(contentsOf: $0) }
  }
}
