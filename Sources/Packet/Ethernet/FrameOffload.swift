import Primitives

extension Offload {
  /// Segments of a super-datagram at most, as many as any kernel makes (UDP_MAX_SEGMENTS), and of a super-segment: each is
  /// a frame on the devices' network.
  static let datagramLimit = 128
  static let segmentLimit = 1024

  /// Whether what is left undone in a frame is what the frame's own headers ask for.
  ///
  /// The one who does it writes where the description says, *after* the frame was judged: a description of the peer's own
  /// making would put another port, address or EtherType into a frame that had none of it. So a checksum is TCP's or UDP's
  /// own, where the frame has it, and segments are of that protocol, not too many, and for one station.
  ///
  /// - Parameters:
  ///   - bytes: the frame's beginning, with all of its headers.
  ///   - count: bytes of the whole frame.
  public func fits(_ bytes: Span<UInt8>, count: Int) -> Bool {
    guard case .partial(let start, let offset) = checksum else { return segmentation == .none }
    guard let frame = try? ParsedFrame(parsing: bytes), frame.type == .ipv4 || frame.type == .ipv6,
      let fields = EthernetFilter.IPFields(parsing: bytes, of: frame), fields.fragment == nil, start == fields.offset
    else { return false }
    let headers: Int
    switch fields.number {
    case IPProtocol.tcp:
      guard offset == 16, bytes.count >= start &+ TCPHeader.minimumSize else { return false }
      headers = start &+ Int(bytes[start &+ 12] >> 4) &* 4
    case IPProtocol.udp:
      guard offset == 6, bytes.count >= start &+ UDPHeader.size else { return false }
      headers = start &+ UDPHeader.size
    default: return false
    }
    let limit: Int
    switch segmentation {
    case .none: return true
    case .tcp4 where fields.number == IPProtocol.tcp && frame.type == .ipv4: limit = Self.segmentLimit
    case .tcp6 where fields.number == IPProtocol.tcp && frame.type == .ipv6: limit = Self.segmentLimit
    case .udp where fields.number == IPProtocol.udp: limit = Self.datagramLimit
    default: return false
    }
    guard segmentSize > 0, headers <= count, !frame.destination.isMulticast else { return false }
    return (count &- headers &+ segmentSize &- 1) / segmentSize <= limit
  }
}
