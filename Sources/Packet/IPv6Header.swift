import Primitives

/// An IPv6 header (RFC 8200 section 3).
public struct IPv6Header: Equatable, Sendable, BitwiseCopyable {
  public static let size = 40

  /// DSCP in the upper six bits, ECN in the lower two.
  public var trafficClass: UInt8
  /// 20 bits.
  public var flowLabel: UInt32
  /// Bytes behind this header, extension headers included.
  public var payloadLength: UInt16
  /// What follows: an extension header or a transport protocol, by its IANA number.
  public var nextHeader: UInt8
  public var hopLimit: UInt8
  public var source: IPAddress
  public var destination: IPAddress

  public init(
    source: IPAddress, destination: IPAddress, nextHeader: UInt8, payloadLength: UInt16, hopLimit: UInt8 = 64,
    trafficClass: UInt8 = 0, flowLabel: UInt32 = 0
  ) {
    self.source = source
    self.destination = destination
    self.nextHeader = nextHeader
    self.payloadLength = payloadLength
    self.hopLimit = hopLimit
    self.trafficClass = trafficClass
    self.flowLabel = flowLabel
  }

  /// Reads the header. The payload length may exceed `bytes`, for headers that an ICMP error quotes.
  public init(parsing bytes: Span<UInt8>) throws(ParseError) {
    try bytes.require(Self.size, for: .ipv6)
    let first = bytes.load32(0)
    guard first >> 28 == 6 else { throw ParseError(.ipv6, .badVersion(UInt8(first >> 28))) }
    trafficClass = UInt8(truncatingIfNeeded: first >> 20)
    flowLabel = first & 0xF_FFFF
    payloadLength = bytes.load16(4)
    nextHeader = bytes[6]
    hopLimit = bytes[7]
    source = IPAddress(v6: bytes.load(8, as: UInt128.self))
    destination = IPAddress(v6: bytes.load(24, as: UInt128.self))
  }

  /// Writes 40 bytes. Both addresses must be IPv6.
  public func write(into bytes: inout MutableSpan<UInt8>) {
    precondition(bytes.count >= Self.size, "no room for the header")
    precondition(source.family == .v6 && destination.family == .v6, "not IPv6 addresses")
    bytes.store(6 << 28 | UInt32(trafficClass) << 20 | (flowLabel & 0xF_FFFF), at: 0)
    bytes.store(payloadLength, at: 4)
    bytes[6] = nextHeader
    bytes[7] = hopLimit
    bytes.store(source.value, at: 8)
    bytes.store(destination.value, at: 24)
  }
}

extension IPv6Header: CustomStringConvertible {
  public var description: String {
    "IP6 \(source) > \(destination): class 0x\(String(trafficClass, radix: 16)), "
      + "flowlabel 0x\(String(flowLabel, radix: 16)), hlim \(hopLimit), next-header \(nextHeader), "
      + "payload length \(payloadLength)"
  }
}
