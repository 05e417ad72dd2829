import Packet
import Primitives

/// Makes packets up for a flow whose packets aren't seen, only its payload: what a kernel's socket carries.
///
/// Sequence numbers follow the payload in both directions, so that programs that read a capture put the streams together.
/// All checksums are as they would be.
public struct SyntheticFlow: Sendable {
  public enum Side: Sendable {
    /// This host's end of the flow, and the device's.
    case near, far

    var other: Side { self == .near ? .far : .near }
  }

  /// Bytes of all headers at most.
  public static let headerCapacity = 60
  /// Bytes of payload in one packet: more is cut by the caller.
  public static let payloadLimit = 32 << 10

  public let transport: TransportProtocol
  public let near: Endpoint
  public let far: Endpoint
  /// The next sequence numbers of both ends. They begin at 0 with the SYN, as programs show them.
  private var sequences: (near: UInt32, far: UInt32) = (0, 0)

  public init(_ transport: TransportProtocol, near: Endpoint, far: Endpoint) {
    self.transport = transport
    self.near = near
    self.far = far
  }

  /// Begins in the middle of a flow whose beginning wasn't seen.
  public mutating func resume() {
    sequences = (1, 1)
  }

  /// The headers of a TCP segment, whose payload is then counted.
  ///
  /// - Parameters:
  ///   - payloadCount: up to `payloadLimit`.
  ///   - payloadSum: `Checksum.sum` over the payload.
  public mutating func segment(
    from side: Side, _ flags: TCPFlags, payloadCount: Int = 0, payloadSum: UInt64 = 0
  ) -> [UInt8] {
    let (sequence, acknowledgement) =
      side == .near ? (sequences.near, sequences.far) : (sequences.far, sequences.near)
    let header = TCPHeader(
      sourcePort: endpoint(side).port, destinationPort: endpoint(side.other).port, sequence: sequence,
      acknowledgement: flags.contains(.ack) ? acknowledgement : 0, flags: flags, window: 65_535)
    var advance = UInt32(truncatingIfNeeded: payloadCount)
    if flags.contains(.syn) { advance &+= 1 }
    if flags.contains(.fin) { advance &+= 1 }
    if side == .near { sequences.near &+= advance } else { sequences.far &+= advance }
    return packet(
      from: side, IPProtocol.tcp, headerCount: TCPHeader.minimumSize, payloadCount, payloadSum, checksumOffset: 16
    ) { span in
      _ = header.write(into: &span)
    }
  }

  /// The headers of a datagram.
  public func datagram(from side: Side, payloadCount: Int, payloadSum: UInt64) -> [UInt8] {
    let header = UDPHeader(
      sourcePort: endpoint(side).port, destinationPort: endpoint(side.other).port,
      length: UInt16(clamping: UDPHeader.size + payloadCount))
    return packet(
      from: side, IPProtocol.udp, headerCount: UDPHeader.size, payloadCount, payloadSum, checksumOffset: 6
    ) { span in
      header.write(into: &span)
    }
  }

  /// The headers of an echo message, up to its checksum: identifier, sequence number and data are the payload.
  ///
  /// - Parameter payloadCount: bytes of these, 4 at least.
  public func echo(from side: Side, payloadCount: Int, payloadSum: UInt64) -> [UInt8] {
    let isV4 = near.address.family == .v4
    let type: UInt8 =
      switch (side, isV4) {
      case (.near, true): 8
      case (.far, true): 0
      case (.near, false): 128
      case (.far, false): 129
      }
    return packet(
      from: side, isV4 ? IPProtocol.icmp : IPProtocol.icmpv6, headerCount: 4, payloadCount, payloadSum,
      checksumOffset: 2
    ) { span in
      span[0] = type
    }
  }

  private func endpoint(_ side: Side) -> Endpoint { side == .near ? near : far }

  private func packet(
    from side: Side, _ protocolNumber: UInt8, headerCount: Int, _ payloadCount: Int, _ payloadSum: UInt64,
    checksumOffset: Int, _ body: (inout MutableSpan<UInt8>) -> Void
  ) -> [UInt8] {
    let (source, destination) = (endpoint(side).address, endpoint(side.other).address)
    let isV4 = source.family == .v4
    let start = isV4 ? IPv4Header.minimumSize : IPv6Header.size
    var bytes = [UInt8](repeating: 0, count: start + headerCount)
    // A flow's ends are of one family, as the socket is that it stands for.
    guard destination.family == source.family else { return bytes }
    var span = bytes.mutableSpan
    if isV4 {
      IPv4Header(
        source: source, destination: destination, protocolNumber: protocolNumber,
        totalLength: UInt16(clamping: start + headerCount + payloadCount), dontFragment: true
      ).write(into: &span)
    } else {
      IPv6Header(
        source: source, destination: destination, nextHeader: protocolNumber,
        payloadLength: UInt16(clamping: headerCount + payloadCount)
      ).write(into: &span)
    }
    var rest = span._mutatingExtracting(start..<(start + headerCount))
    body(&rest)
    var sum = Checksum()
    if protocolNumber != IPProtocol.icmp {
      sum.add(
        partial: Checksum.pseudoHeader(
          source: source, destination: destination, protocol: protocolNumber, length: headerCount + payloadCount))
    }
    sum.add(bytes.span.extracting(start..<(start + headerCount)))
    sum.add(partial: payloadSum)
    // RFC 768: zero means that there is none.
    let value = sum.value == 0 && protocolNumber == IPProtocol.udp ? 0xFFFF : sum.value
    bytes[start + checksumOffset] = UInt8(value >> 8)
    bytes[start + checksumOffset + 1] = UInt8(truncatingIfNeeded: value)
    return bytes
  }
}
