/// A UDP header (RFC 768). Sizes in bytes.
public struct UDPHeader: Equatable, Sendable, BitwiseCopyable {
  public static let size = 8

  public var sourcePort, destinationPort: UInt16
  /// Bytes of header and payload.
  public var length: UInt16
  /// As on the wire; 0 means that there is none, which only IPv4 allows.
  public var checksum: UInt16

  public init(sourcePort: UInt16, destinationPort: UInt16, length: UInt16, checksum: UInt16 = 0) {
    self.sourcePort = sourcePort
    self.destinationPort = destinationPort
    self.length = length
    self.checksum = checksum
  }

  /// Reads the header; refuses a length field that the bytes can't honour.
  public init(parsing bytes: Span<UInt8>) throws(ParseError) {
    try bytes.require(Self.size, for: .udp)
    sourcePort = bytes.load16(0)
    destinationPort = bytes.load16(2)
    length = bytes.load16(4)
    checksum = bytes.load16(6)
    guard length >= Self.size, length <= bytes.count else { throw ParseError(.udp, .badLength(Int(length))) }
  }

  /// Writes 8 bytes, the checksum as it is. A computed checksum of 0 is sent as 0xFFFF (RFC 768).
  public func write(into bytes: inout MutableSpan<UInt8>) {
    precondition(bytes.count >= Self.size, "no room for the header")
    bytes.store(sourcePort, at: 0)
    bytes.store(destinationPort, at: 2)
    bytes.store(length, at: 4)
    bytes.store(checksum, at: 6)
  }
}

extension UDPHeader: CustomStringConvertible {
  public var description: String {
    "\(sourcePort) > \(destinationPort): UDP, length \(Int(length) - Self.size)"
  }
}
