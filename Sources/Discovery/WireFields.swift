import Packet
import Primitives

/// Why bytes are not the message that they were taken for. The sender's fault, never the reader's.
public enum DiscoveryParseError: Error, Equatable, Sendable {
  /// Fewer bytes than a field or the message needs.
  case truncated(needed: Int, have: Int)
  /// A length field that contradicts the bytes around it.
  case badLength(Int)
  /// Well formed perhaps, but of another protocol, service or direction.
  case otherMessage
  /// A name whose labels or pointers don't make one.
  case badName
  /// More of something than a message may hold here.
  case tooMany
}

// Field access that refuses what the bytes don't hold. Discovery sees some frames a second: each field is checked alone.

extension Span where Element == UInt8 {
  func require(_ size: Int) throws(DiscoveryParseError) {
    guard count >= size else { throw .truncated(needed: size, have: count) }
  }

  func byte(_ offset: Int) throws(DiscoveryParseError) -> UInt8 {
    try require(offset + 1)
    return self[offset]
  }

  /// Network order.
  func field16(_ offset: Int) throws(DiscoveryParseError) -> UInt16 {
    try require(offset + 2)
    return UInt16(self[offset]) << 8 | UInt16(self[offset + 1])
  }

  /// Network order.
  func field32(_ offset: Int) throws(DiscoveryParseError) -> UInt32 {
    UInt32(try field16(offset)) << 16 | UInt32(try field16(offset + 2))
  }

  /// Little-endian, as CIP has it (CIP volume 1, appendix C-5).
  func little16(_ offset: Int) throws(DiscoveryParseError) -> UInt16 {
    try field16(offset).byteSwapped
  }

  /// Little-endian.
  func little32(_ offset: Int) throws(DiscoveryParseError) -> UInt32 {
    try field32(offset).byteSwapped
  }

  func mac(_ offset: Int) throws(DiscoveryParseError) -> MACAddress {
    MACAddress(UInt64(try field16(offset)) << 32 | UInt64(try field32(offset + 2)))
  }

  func v4(_ offset: Int) throws(DiscoveryParseError) -> IPAddress {
    IPAddress(v4: try field32(offset))
  }

  /// Where `size` bytes from `start` on stand, if they are there.
  func range(_ start: Int, _ size: Int) throws(DiscoveryParseError) -> Range<Int> {
    guard start >= 0, size >= 0 else { throw .badLength(size) }
    try require(start + size)
    return start..<(start + size)
  }

  /// The bytes as text: what isn't UTF-8 is replaced, and zeros and blanks at the end are left out.
  ///
  /// - Parameter limit: bytes at most; the rest is left out.
  func text(limit: Int) -> String {
    var size = Swift.min(count, limit)
    while size > 0, self[size - 1] == 0 || self[size - 1] == 0x20 { size -= 1 }
    return String(decoding: (0..<size).map { self[$0] }, as: UTF8.self)
  }
}

extension [UInt8] {
  mutating func append16(_ value: UInt16) {
    append(UInt8(value >> 8))
    append(UInt8(truncatingIfNeeded: value))
  }

  mutating func append32(_ value: UInt32) {
    append16(UInt16(value >> 16))
    append16(UInt16(truncatingIfNeeded: value))
  }

  mutating func append(_ mac: MACAddress) {
    append16(UInt16(truncatingIfNeeded: mac.value >> 32))
    append32(UInt32(truncatingIfNeeded: mac.value))
  }

  /// Fills a frame up to the least that Ethernet carries (IEEE 802.3 clause 3.2.8), checksum aside.
  mutating func padFrame() {
    if count < 60 { append(contentsOf: repeatElement(0, count: 60 - count)) }
  }
}
