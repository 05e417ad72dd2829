/// Why bytes are not the header that they were taken for. The sender's fault, never the reader's.
public struct ParseError: Error, Equatable, Sendable, BitwiseCopyable {
  public enum Header: UInt8, Sendable, BitwiseCopyable {
    case ethernet, vlan, ip, ipv4, ipv6, ipv6Extension, tcp, udp, icmp, icmpv6, virtioNet
  }

  public enum Reason: Equatable, Sendable, BitwiseCopyable {
    /// Fewer bytes than the header says that it has, or than it must have.
    case truncated(needed: Int, have: Int)
    case badVersion(UInt8)
    /// A length field, in bytes, that contradicts the bytes or the header.
    case badLength(Int)
    /// A header length, in bytes, below the minimum.
    case badHeaderLength(Int)
    case badChecksum
    /// A chain of headers that is longer than `IPv6ExtensionHeaders.limit`.
    case tooManyHeaders
    /// A header that must not stand at this place.
    case misplacedHeader(UInt8)
    /// An offload type that is not offered.
    case badOffload(UInt8)
    /// An offset, in bytes, that points out of the packet.
    case badOffset(Int)
    case badSegmentSize(Int)
  }

  public let header: Header
  public let reason: Reason

  public init(_ header: Header, _ reason: Reason) {
    self.header = header
    self.reason = reason
  }
}

extension ParseError: CustomStringConvertible {
  public var description: String {
    let what =
      switch reason {
      case .truncated(let needed, let have): "truncated: \(needed) bytes needed, \(have) there"
      case .badVersion(let version): "bad version \(version)"
      case .badLength(let length): "bad length \(length)"
      case .badHeaderLength(let length): "bad header length \(length)"
      case .badChecksum: "bad checksum"
      case .tooManyHeaders: "too many headers"
      case .misplacedHeader(let number): "header \(number) at the wrong place"
      case .badOffload(let type): "offload type \(type) not offered"
      case .badOffset(let offset): "offset \(offset) outside of the packet"
      case .badSegmentSize(let size): "bad segment size \(size)"
      }
    return "\(header): \(what)"
  }
}

extension Span where Element == UInt8 {
  /// Refuses a span of fewer than `size` bytes.
  @inline(__always) func require(_ size: Int, for header: ParseError.Header) throws(ParseError) {
    guard count >= size else { throw ParseError(header, .truncated(needed: size, have: count)) }
  }
}
