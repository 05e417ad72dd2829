import Primitives

/// An IP packet, read in one pass: what is needed to route it to a flow. Holds no bytes.
///
/// All offsets are in bytes from the packet's first byte, and lie within the bytes that were parsed.
public struct ParsedPacket: Equatable, Sendable, BitwiseCopyable {
  public enum Transport: Equatable, Sendable, BitwiseCopyable {
    case tcp(TCPHeader)
    case udp(UDPHeader)
    case icmp(ICMPMessage)
    /// A piece of a datagram, the first one included: see `fragment`.
    case fragment
    /// Any other protocol, or an extension header that isn't understood.
    case other(UInt8)
  }

  /// Where a piece belongs.
  public struct Fragment: Equatable, Sendable, BitwiseCopyable {
    /// 16 bits wide in IPv4.
    public var identification: UInt32
    /// Bytes from the start of what was fragmented; a multiple of 8.
    public var offset: Int
    public var moreFragments: Bool
    /// What the reassembled payload begins with: a transport protocol or, in IPv6, perhaps an extension header.
    public var protocolNumber: UInt8

    public init(identification: UInt32, offset: Int, moreFragments: Bool, protocolNumber: UInt8) {
      self.identification = identification
      self.offset = offset
      self.moreFragments = moreFragments
      self.protocolNumber = protocolNumber
    }
  }

  public private(set) var source: IPAddress
  public private(set) var destination: IPAddress
  /// What the IP headers lead to, by its IANA number.
  public private(set) var protocolNumber: UInt8
  /// TTL or hop limit.
  public private(set) var timeToLive: UInt8
  /// DSCP in the upper six bits, ECN in the lower two.
  public private(set) var trafficClass: UInt8
  /// Bytes of all that stands before the transport header, IPv6 extension headers included. In a fragment, before
  /// the fragment's data.
  public private(set) var ipHeaderLength: Int
  /// Bytes of the transport header, options included; 0 for fragments and other protocols.
  public private(set) var transportHeaderLength = 0
  /// Bytes of the packet by its own account; what lies behind is padding of the link.
  public private(set) var totalLength: Int
  /// Bytes behind all headers. For UDP by the UDP length.
  public private(set) var payloadLength = 0
  public private(set) var transport: Transport = .fragment
  public private(set) var fragment: Fragment?
  /// Whether there are IPv4 options.
  public private(set) var hasOptions = false
  /// See `IPv6ExtensionHeaders.hasUnknownHeader`.
  public private(set) var hasUnknownExtension = false

  /// Where the payload begins.
  public var payloadOffset: Int { ipHeaderLength &+ transportHeaderLength }

  public var version: IPAddress.Family { source.family }

  /// The flow that the packet belongs to; `nil` for fragments and other protocols.
  public var fiveTuple: FiveTuple? {
    switch transport {
    case .tcp(let header): tuple(.tcp, header.sourcePort, header.destinationPort)
    case .udp(let header): tuple(.udp, header.sourcePort, header.destinationPort)
    case .icmp: tuple(.icmp, 0, 0)
    case .fragment, .other: nil
    }
  }

  private func tuple(_ transport: TransportProtocol, _ sourcePort: UInt16, _ destinationPort: UInt16) -> FiveTuple {
    FiveTuple(
      protocol: transport, source: Endpoint(source, sourcePort), destination: Endpoint(destination, destinationPort))
  }

  /// Reads an IP packet of either version. Checks the IPv4 header's checksum (RFC 1122 section 3.2.1.2), but not the
  /// transport's: see `verifyChecksum`.
  public init(parsing bytes: Span<UInt8>) throws(ParseError) {
    try bytes.require(1, for: .ip)
    switch bytes[0] >> 4 {
    case 4: try self.init(parsingV4: bytes)
    case 6: try self.init(parsingV6: bytes)
    case let version: throw ParseError(.ip, .badVersion(version))
    }
  }

  private init(parsingV4 bytes: Span<UInt8>) throws(ParseError) {
    let header = try IPv4Header(parsing: bytes)
    source = header.source
    destination = header.destination
    protocolNumber = header.protocolNumber
    timeToLive = header.timeToLive
    trafficClass = header.trafficClass
    ipHeaderLength = header.headerLength
    totalLength = Int(header.totalLength)
    hasOptions = header.hasOptions
    guard totalLength <= bytes.count else { throw ParseError(.ipv4, .badLength(totalLength)) }
    guard header.hasValidChecksum(bytes) else { throw ParseError(.ipv4, .badChecksum) }
    if header.isFragment {
      try setFragment(
        Fragment(
          identification: UInt32(header.identification), offset: header.fragmentOffset,
          moreFragments: header.moreFragments, protocolNumber: header.protocolNumber))
    } else {
      try parseTransport(bytes)
    }
  }

  private init(parsingV6 bytes: Span<UInt8>) throws(ParseError) {
    let header = try IPv6Header(parsing: bytes)
    source = header.source
    destination = header.destination
    timeToLive = header.hopLimit
    trafficClass = header.trafficClass
    totalLength = IPv6Header.size &+ Int(header.payloadLength)
    guard totalLength <= bytes.count else { throw ParseError(.ipv6, .badLength(totalLength)) }
    let chain = try IPv6ExtensionHeaders(
      parsing: bytes.extracting(IPv6Header.size..<totalLength), nextHeader: header.nextHeader)
    protocolNumber = chain.protocolNumber
    ipHeaderLength = IPv6Header.size &+ chain.offset
    hasUnknownExtension = chain.hasUnknownHeader
    guard let piece = chain.fragment, !piece.isAtomic else {
      try parseTransport(bytes)
      return
    }
    // RFC 7112 section 5: the first fragment holds every header, the transport's included.
    if piece.offset == 0 { try requireTransportHeader(totalLength &- ipHeaderLength) }
    ipHeaderLength = IPv6Header.size &+ chain.fragmentOffset
    try setFragment(
      Fragment(
        identification: piece.identification, offset: piece.offset, moreFragments: piece.moreFragments,
        protocolNumber: piece.nextHeader))
  }

  private func requireTransportHeader(_ have: Int) throws(ParseError) {
    let (header, needed): (ParseError.Header, Int) =
      switch protocolNumber {
      case IPProtocol.tcp: (.tcp, TCPHeader.minimumSize)
      case IPProtocol.udp: (.udp, UDPHeader.size)
      case IPProtocol.icmpv6: (.icmpv6, ICMPMessage.size)
      default: (.ipv6Extension, 0)
      }
    guard have >= needed else { throw ParseError(header, .truncated(needed: needed, have: have)) }
  }

  /// RFC 8200 section 4.5: all fragments but the last are multiples of 8 bytes long, and none reaches past 65535.
  private mutating func setFragment(_ piece: Fragment) throws(ParseError) {
    payloadLength = totalLength &- ipHeaderLength
    let isAligned = !piece.moreFragments || (payloadLength & 7 == 0 && payloadLength > 0)
    guard isAligned, piece.offset &+ payloadLength <= 65_535 else {
      throw ParseError(version == .v4 ? .ipv4 : .ipv6Extension, .badLength(payloadLength))
    }
    fragment = piece
  }

  private mutating func parseTransport(_ bytes: Span<UInt8>) throws(ParseError) {
    let segment = bytes.extracting(ipHeaderLength..<totalLength)
    payloadLength = segment.count
    transport = .other(protocolNumber)
    guard !hasUnknownExtension else { return }
    switch (protocolNumber, version) {
    case (IPProtocol.tcp, _):
      let header = try TCPHeader(parsing: segment)
      transport = .tcp(header)
      transportHeaderLength = header.headerLength
    case (IPProtocol.udp, _):
      let header = try UDPHeader(parsing: segment)
      transport = .udp(header)
      transportHeaderLength = UDPHeader.size
      // Bytes between the end of the UDP length and that of the packet belong to neither.
      payloadLength = Int(header.length)
    case (IPProtocol.icmp, .v4), (IPProtocol.icmpv6, .v6):
      transport = .icmp(try ICMPMessage(parsing: segment, family: version))
      transportHeaderLength = ICMPMessage.size
    default: return
    }
    payloadLength &-= transportHeaderLength
  }

  /// Checks the checksum of TCP, UDP or ICMP; other protocols and fragments pass.
  ///
  /// - Parameter bytes: those that were parsed.
  public func verifyChecksum(in bytes: Span<UInt8>) throws(ParseError) {
    let header: ParseError.Header
    switch transport {
    case .tcp: header = .tcp
    case .udp(let udp):
      // RFC 768: zero means none; RFC 8200 section 8.1: not so in IPv6.
      if udp.checksum == 0, version == .v4 { return }
      guard udp.checksum != 0 else { throw ParseError(.udp, .badChecksum) }
      header = .udp
    case .icmp: header = version == .v4 ? .icmp : .icmpv6
    case .fragment, .other: return
    }
    let end = payloadOffset &+ payloadLength
    try bytes.require(end, for: header)
    var checksum = Checksum()
    if header != .icmp {
      checksum.add(
        partial: Checksum.pseudoHeader(
          source: source, destination: destination, protocol: protocolNumber, length: end &- ipHeaderLength))
    }
    checksum.add(bytes.extracting(ipHeaderLength..<end))
    guard checksum.isValid else { throw ParseError(header, .badChecksum) }
  }
}

extension ParsedPacket: CustomStringConvertible {
  public var description: String {
    let ip = version == .v4 ? "IP" : "IP6"
    switch transport {
    case .tcp(let header):
      var text = "\(ip) \(source).\(header.sourcePort) > \(destination).\(header.destinationPort): "
      text += "Flags [\(header.flags)], seq \(header.sequence)"
      if header.flags.contains(.ack) { text += ", ack \(header.acknowledgement)" }
      text += ", win \(header.window)"
      if header.options.size > 0 { text += ", options [\(header.options)]" }
      return text + ", length \(payloadLength)"
    case .udp(let header):
      return
        "\(ip) \(source).\(header.sourcePort) > \(destination).\(header.destinationPort): UDP, length \(payloadLength)"
    case .icmp(let message):
      return "\(ip) \(source) > \(destination): \(message), length \(totalLength - ipHeaderLength)"
    case .fragment:
      let piece = fragment.map {
        "frag \($0.identification):\(payloadLength)@\($0.offset)\($0.moreFragments ? "+" : "")"
      }
      return "\(ip) \(source) > \(destination): \(piece ?? "frag")"
    case .other(let number):
      return "\(ip) \(source) > \(destination): ip-proto-\(number) \(payloadLength)"
    }
  }
}
