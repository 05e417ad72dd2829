import Primitives

/// An IPv4 header (RFC 791 section 3.1). Options are skipped: only their length is kept.
public struct IPv4Header: Equatable, Sendable, BitwiseCopyable {
  /// Bytes without options.
  public static let minimumSize = 20

  /// Bytes with options, 20 to 60. Only read: `write` leaves options out.
  public var headerLength: Int
  /// Bytes of header and payload.
  public var totalLength: UInt16
  public var identification: UInt16
  public var dontFragment: Bool
  public var moreFragments: Bool
  /// Where this fragment's payload stands in the datagram; bytes, a multiple of 8, at most 65528.
  public var fragmentOffset: Int
  public var timeToLive: UInt8
  /// What follows, by its IANA number.
  public var protocolNumber: UInt8
  public var source: IPAddress
  public var destination: IPAddress
  /// DSCP in the upper six bits, ECN in the lower two (RFC 2474, RFC 3168).
  public var trafficClass: UInt8

  public init(
    source: IPAddress, destination: IPAddress, protocolNumber: UInt8, totalLength: UInt16,
    identification: UInt16 = 0, dontFragment: Bool = false, moreFragments: Bool = false, fragmentOffset: Int = 0,
    timeToLive: UInt8 = 64, trafficClass: UInt8 = 0
  ) {
    headerLength = Self.minimumSize
    self.source = source
    self.destination = destination
    self.protocolNumber = protocolNumber
    self.totalLength = totalLength
    self.identification = identification
    self.dontFragment = dontFragment
    self.moreFragments = moreFragments
    self.fragmentOffset = fragmentOffset
    self.timeToLive = timeToLive
    self.trafficClass = trafficClass
  }

  /// Reads the header and its options' length. The total length may exceed `bytes`, for headers that an ICMP
  /// error quotes; the checksum is left to `hasValidChecksum`.
  public init(parsing bytes: Span<UInt8>) throws(ParseError) {
    try bytes.require(Self.minimumSize, for: .ipv4)
    let first = bytes[0]
    guard first >> 4 == 4 else { throw ParseError(.ipv4, .badVersion(first >> 4)) }
    headerLength = Int(first & 0xF) &* 4
    guard headerLength >= Self.minimumSize else { throw ParseError(.ipv4, .badHeaderLength(headerLength)) }
    try bytes.require(headerLength, for: .ipv4)
    totalLength = bytes.load16(2)
    guard totalLength >= headerLength else { throw ParseError(.ipv4, .badLength(Int(totalLength))) }
    trafficClass = bytes[1]
    identification = bytes.load16(4)
    let fragment = bytes.load16(6)
    dontFragment = fragment & 0x4000 != 0
    moreFragments = fragment & 0x2000 != 0
    fragmentOffset = Int(fragment & 0x1FFF) &* 8
    timeToLive = bytes[8]
    protocolNumber = bytes[9]
    source = IPAddress(v4: bytes.load32(12))
    destination = IPAddress(v4: bytes.load32(16))
  }

  /// Whether the header, options included, is intact. False if `bytes` is shorter than the header.
  public func hasValidChecksum(_ bytes: Span<UInt8>) -> Bool {
    bytes.count >= headerLength && Checksum.fold(Checksum.sum(bytes.extracting(0..<headerLength))) == 0xFFFF
  }

  public var isFragment: Bool { moreFragments || fragmentOffset != 0 }
  public var hasOptions: Bool { headerLength > Self.minimumSize }

  /// Writes 20 bytes, header checksum included. Both addresses must be IPv4.
  public func write(into bytes: inout MutableSpan<UInt8>) {
    precondition(bytes.count >= Self.minimumSize, "no room for the header")
    precondition(source.family == .v4 && destination.family == .v4, "not IPv4 addresses")
    precondition(fragmentOffset & 7 == 0 && (0...65528).contains(fragmentOffset), "bad fragment offset")
    let words = (
      UInt32(0x4500 | UInt16(trafficClass)) << 16 | UInt32(totalLength),
      UInt32(identification) << 16 | (dontFragment ? 0x4000 : 0) | (moreFragments ? 0x2000 : 0)
        | UInt32(fragmentOffset / 8),
      UInt32(timeToLive) << 24 | UInt32(protocolNumber) << 16,
      UInt32(truncatingIfNeeded: source.value),
      UInt32(truncatingIfNeeded: destination.value)
    )
    let sum = UInt64(words.0) &+ UInt64(words.1) &+ UInt64(words.2) &+ UInt64(words.3) &+ UInt64(words.4)
    bytes.store(words.0, at: 0)
    bytes.store(words.1, at: 4)
    bytes.store(words.2 | UInt32(~Checksum.fold(sum)), at: 8)
    bytes.store(words.3, at: 12)
    bytes.store(words.4, at: 16)
  }
}

extension IPv4Header: CustomStringConvertible {
  public var description: String {
    let flags = (moreFragments ? "+" : "") + (dontFragment ? "DF" : "")
    return "IP \(source) > \(destination): tos 0x\(String(trafficClass, radix: 16)), ttl \(timeToLive), "
      + "id \(identification), offset \(fragmentOffset), flags [\(flags.isEmpty ? "none" : flags)], "
      + "proto \(protocolNumber), length \(totalLength)" + (hasOptions ? ", options (\(headerLength - 20))" : "")
  }
}
