import Packet
import Primitives

extension FiveTuple {
  /// The flow that a packet belongs to, from its first bytes: whatever is behind them, and in whatever state.
  ///
  /// For ICMP errors it is the flow of the packet that they quote, seen as in that packet. `nil` for fragments behind the
  /// first, other protocols, and what is no IP packet.
  package init?(peeking bytes: Span<UInt8>) {
    self.init(peeking: bytes, from: 0, mayQuote: true)
  }

  private init?(peeking bytes: Span<UInt8>, from start: Int, mayQuote: Bool) {
    guard bytes.count > start else { return nil }
    let source: IPAddress
    let destination: IPAddress
    let number: UInt8
    let transport: Int
    switch bytes[start] >> 4 {
    case 4:
      guard bytes.count >= start + 20, bytes[start + 6] & 0x1F == 0, bytes[start + 7] == 0 else { return nil }
      source = IPAddress(v4: UInt32(truncatingIfNeeded: Self.number(bytes, at: start + 12, 4)))
      destination = IPAddress(v4: UInt32(truncatingIfNeeded: Self.number(bytes, at: start + 16, 4)))
      number = bytes[start + 9]
      transport = start + Int(bytes[start] & 0xF) * 4
    case 6:
      guard bytes.count >= start + 40 else { return nil }
      source = IPAddress(v6: Self.number(bytes, at: start + 8, 16))
      destination = IPAddress(v6: Self.number(bytes, at: start + 24, 16))
      number = bytes[start + 6]
      transport = start + 40
    default: return nil
    }
    switch number {
    case IPProtocol.tcp, IPProtocol.udp:
      guard bytes.count >= transport + 4 else { return nil }
      self.init(
        protocol: number == IPProtocol.tcp ? .tcp : .udp,
        source: Endpoint(source, UInt16(truncatingIfNeeded: Self.number(bytes, at: transport, 2))),
        destination: Endpoint(destination, UInt16(truncatingIfNeeded: Self.number(bytes, at: transport + 2, 2))))
    case IPProtocol.icmp, IPProtocol.icmpv6:
      guard bytes.count > transport else { return nil }
      let isError = number == IPProtocol.icmp ? [3, 11, 12].contains(bytes[transport]) : bytes[transport] < 128
      if isError, mayQuote, let quoted = FiveTuple(peeking: bytes, from: transport + 8, mayQuote: false) {
        self = quoted
      } else {
        self.init(protocol: .icmp, source: Endpoint(source, 0), destination: Endpoint(destination, 0))
      }
    default: return nil
    }
  }

  private static func number(_ bytes: Span<UInt8>, at place: Int, _ size: Int) -> UInt128 {
    (0..<size).reduce(UInt128(0)) { $0 << 8 | UInt128(bytes[place + $1]) }
  }
}
