public import Packet
public import Primitives

/// A UDP datagram over IPv4 as a whole Ethernet frame.
///
/// Discovery sends its datagrams by itself instead of by a socket, so that the answers of devices with an address of
/// another network are seen as well: the kernel would drop them on their way to a socket.
public struct UDPFrame: Equatable, Sendable {
  public let source: MACAddress
  public let from, to: Endpoint
  /// Where the payload stands in what was parsed.
  public let payload: Range<Int>

  /// Reads an Ethernet header and what follows: an IPv4 datagram in one piece, with its checksums if it has them.
  ///
  /// - Parameter isChecked: the checksum of UDP needn't be there: a sender on this host left it to the interface.
  public init(parsing bytes: Span<UInt8>, isChecked: Bool = false) throws(DiscoveryParseError) {
    do throws(ParseError) {
      let ethernet = try EthernetHeader(parsing: bytes)
      guard ethernet.type == .ipv4 else { throw ParseError(.ipv4, .badVersion(0)) }
      let start = ethernet.headerLength
      let datagram = bytes.extracting(start..<bytes.count)
      let header = try IPv4Header(parsing: datagram)
      let total = Int(header.totalLength)
      // What follows is the frame's padding.
      guard header.protocolNumber == IPProtocol.udp, !header.isFragment, total <= datagram.count else {
        throw ParseError(.ipv4, .badLength(total))
      }
      guard header.hasValidChecksum(datagram) else { throw ParseError(.ipv4, .badChecksum) }
      let message = datagram.extracting(header.headerLength..<total)
      let udp = try UDPHeader(parsing: message)
      let length = Int(udp.length)
      if udp.checksum != 0, !isChecked {
        var sum = Checksum()
        sum.add(
          partial: Checksum.pseudoHeader(
            source: header.source, destination: header.destination, protocol: IPProtocol.udp, length: length))
        sum.add(message.extracting(0..<length))
        guard sum.isValid else { throw ParseError(.udp, .badChecksum) }
      }
      source = ethernet.source
      from = Endpoint(header.source, udp.sourcePort)
      to = Endpoint(header.destination, udp.destinationPort)
      let first = start + header.headerLength + UDPHeader.size
      payload = first..<(first + length - UDPHeader.size)
    } catch {
      throw .otherMessage
    }
  }

  /// A frame from here to a multicast group or to all, with its checksums. Both endpoints are IPv4.
  ///
  /// - Parameters:
  ///   - payload: 1,472 bytes at most.
  ///   - hops: 1 keeps it on the link, whatever routers may think.
  public static func bytes(
    to destination: Endpoint, from source: Endpoint, _ mac: MACAddress, hops: UInt8 = 1, payload: [UInt8]
  ) -> [UInt8] {
    precondition(payload.count <= 1472, "more than a frame holds")
    let ethernet = EthernetHeader(destination: group(destination.address), source: mac, type: .ipv4)
    let length = UDPHeader.size + payload.count
    let ip = IPv4Header(
      source: source.address, destination: destination.address, protocolNumber: IPProtocol.udp,
      totalLength: UInt16(IPv4Header.minimumSize + length), timeToLive: hops)
    let pseudo = Checksum.pseudoHeader(
      source: source.address, destination: destination.address, protocol: IPProtocol.udp, length: length)
    var udp = UDPHeader(sourcePort: source.port, destinationPort: destination.port, length: UInt16(length))
    let sum = Checksum.of(
      (written(UDPHeader.size) { udp.write(into: &$0) } + payload).span, adding: pseudo)
    // RFC 768: a sum of zero is sent as ones.
    udp.checksum = sum == 0 ? 0xFFFF : sum
    var frame = written(ethernet.headerLength) { ethernet.write(into: &$0) }
    frame += written(IPv4Header.minimumSize) { ip.write(into: &$0) }
    frame += written(UDPHeader.size) { udp.write(into: &$0) }
    frame += payload
    frame.padFrame()
    return frame
  }

  private static func written(_ size: Int, _ write: (inout MutableSpan<UInt8>) -> Void) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: size)
    var span = bytes.mutableSpan
    write(&span)
    return bytes
  }

  /// RFC 1112 section 6.4 for groups; anything else is for all.
  private static func group(_ address: IPAddress) -> MACAddress {
    address.isMulticast
      ? MACAddress(0x0100_5E00_0000 | UInt64(truncatingIfNeeded: address.value & 0x7F_FFFF)) : .broadcast
  }
}
