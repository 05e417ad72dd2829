import Primitives

/// The beginning of a packet, as an ICMP error quotes it (RFC 792, RFC 4443 section 3.1): enough to find its flow.
///
/// Quotes are cut anywhere behind the first eight bytes of the transport header, and come from whoever claims to be
/// a router: a flow is to be checked for having sent such a packet.
public struct QuotedPacket: Equatable, Sendable, BitwiseCopyable {
  /// The flow, as its sender saw it. Ports are 0 for ICMP.
  public let fiveTuple: FiveTuple
  /// TCP: the segment's sequence number. ICMP echo: identifier and sequence. Otherwise 0.
  public let sequence: UInt32

  /// - Parameter bytes: what follows the ICMP error's first eight bytes.
  public init(parsing bytes: Span<UInt8>) throws(ParseError) {
    try bytes.require(1, for: .ip)
    let source, destination: IPAddress
    let number: UInt8
    let offset: Int
    switch bytes[0] >> 4 {
    case 4:
      let header = try IPv4Header(parsing: bytes)
      (source, destination) = (header.source, header.destination)
      guard header.fragmentOffset == 0 else { throw ParseError(.ipv4, .badOffset(header.fragmentOffset)) }
      (number, offset) = (header.protocolNumber, header.headerLength)
    case 6:
      let header = try IPv6Header(parsing: bytes)
      (source, destination) = (header.source, header.destination)
      let chain = try IPv6ExtensionHeaders(
        parsing: bytes.extracting(droppingFirst: IPv6Header.size), nextHeader: header.nextHeader)
      if let piece = chain.fragment, piece.offset != 0 { throw ParseError(.ipv6Extension, .badOffset(piece.offset)) }
      (number, offset) = (chain.protocolNumber, IPv6Header.size &+ chain.offset)
    case let version: throw ParseError(.ip, .badVersion(version))
    }
    try bytes.require(offset &+ 8, for: .ip)
    let transport: TransportProtocol
    switch (number, source.family) {
    case (IPProtocol.tcp, _): transport = .tcp
    case (IPProtocol.udp, _): transport = .udp
    case (IPProtocol.icmp, .v4), (IPProtocol.icmpv6, .v6): transport = .icmp
    default: throw ParseError(.ip, .misplacedHeader(number))
    }
    let hasPorts = transport != .icmp
    fiveTuple = FiveTuple(
      protocol: transport, source: Endpoint(source, hasPorts ? bytes.load16(offset) : 0),
      destination: Endpoint(destination, hasPorts ? bytes.load16(offset &+ 2) : 0))
    sequence = transport == .udp ? 0 : bytes.load32(offset &+ 4)
  }
}
