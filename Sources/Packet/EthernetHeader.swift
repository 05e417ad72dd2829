/// What an Ethernet frame carries.
public struct EtherType: RawRepresentable, Hashable, Sendable, BitwiseCopyable, CustomStringConvertible {
  public let rawValue: UInt16

  public init(rawValue: UInt16) {
    self.rawValue = rawValue
  }

  public static let ipv4 = EtherType(rawValue: 0x0800)
  public static let arp = EtherType(rawValue: 0x0806)
  public static let vlan = EtherType(rawValue: 0x8100)
  public static let ipv6 = EtherType(rawValue: 0x86DD)
  /// A provider's tag before the customer's own (IEEE 802.1ad, "QinQ").
  public static let serviceVLAN = EtherType(rawValue: 0x88A8)
  public static let profinet = EtherType(rawValue: 0x8892)
  public static let etherCAT = EtherType(rawValue: 0x88A4)
  public static let lldp = EtherType(rawValue: 0x88CC)

  /// Whether this is a length (IEEE 802.3) and not a type.
  public var isLength: Bool { rawValue <= 1500 }

  public var description: String {
    switch self {
    case .ipv4: "IPv4"
    case .arp: "ARP"
    case .vlan: "802.1Q"
    case .serviceVLAN: "802.1ad"
    case .ipv6: "IPv6"
    case .profinet: "PROFINET"
    case .etherCAT: "EtherCAT"
    case .lldp: "LLDP"
    default: isLength ? "802.3, length \(rawValue)" : "0x\(String(rawValue, radix: 16))"
    }
  }
}

/// A VLAN tag (IEEE 802.1Q, clause 9.6).
public struct VLANTag: Equatable, Sendable, BitwiseCopyable {
  /// 0 to 7.
  public var priority: UInt8
  public var isDropEligible: Bool
  /// 0 to 4095; 0 stands for "priority only".
  public var identifier: UInt16

  public init(identifier: UInt16, priority: UInt8 = 0, isDropEligible: Bool = false) {
    self.identifier = identifier
    self.priority = priority
    self.isDropEligible = isDropEligible
  }
}

/// An Ethernet II header, with one VLAN tag at most: what lies behind a second one has type `vlan`.
public struct EthernetHeader: Equatable, Sendable, BitwiseCopyable {
  /// Bytes without a tag.
  public static let minimumSize = 14
  /// Bytes of a VLAN tag, its type included.
  public static let tagSize = 4

  public var destination: MACAddress
  public var source: MACAddress
  public var tag: VLANTag?
  public var type: EtherType

  public init(destination: MACAddress, source: MACAddress, type: EtherType, tag: VLANTag? = nil) {
    self.destination = destination
    self.source = source
    self.type = type
    self.tag = tag
  }

  /// Bytes of the header: 14, or 18 with a tag.
  public var headerLength: Int { tag == nil ? Self.minimumSize : Self.minimumSize + 4 }

  public init(parsing bytes: Span<UInt8>) throws(ParseError) {
    try bytes.require(Self.minimumSize, for: .ethernet)
    destination = MACAddress(UInt64(bytes.load32(0)) << 16 | UInt64(bytes.load16(4)))
    source = MACAddress(UInt64(bytes.load16(6)) << 32 | UInt64(bytes.load32(8)))
    type = EtherType(rawValue: bytes.load16(12))
    guard type == .vlan else { return }
    try bytes.require(Self.minimumSize + 4, for: .vlan)
    let control = bytes.load16(14)
    tag = VLANTag(
      identifier: control & 0xFFF, priority: UInt8(control >> 13), isDropEligible: control & 0x1000 != 0)
    type = EtherType(rawValue: bytes.load16(16))
  }

  /// Writes 14 or 18 bytes.
  ///
  /// - Returns: bytes written.
  @discardableResult
  public func write(into bytes: inout MutableSpan<UInt8>) -> Int {
    precondition(bytes.count >= headerLength, "no room for the header")
    bytes.store(UInt32(truncatingIfNeeded: destination.value >> 16), at: 0)
    bytes.store(UInt16(truncatingIfNeeded: destination.value), at: 4)
    bytes.store(UInt16(truncatingIfNeeded: source.value >> 32), at: 6)
    bytes.store(UInt32(truncatingIfNeeded: source.value), at: 8)
    guard let tag else {
      bytes.store(type.rawValue, at: 12)
      return headerLength
    }
    let control = UInt16(tag.priority & 7) << 13 | (tag.isDropEligible ? 0x1000 : 0) | (tag.identifier & 0xFFF)
    bytes.store(EtherType.vlan.rawValue, at: 12)
    bytes.store(control, at: 14)
    bytes.store(type.rawValue, at: 16)
    return headerLength
  }
}

extension EthernetHeader: CustomStringConvertible {
  public var description: String {
    let vlan = tag.map { ", vlan \($0.identifier), p \($0.priority)\($0.isDropEligible ? ", DEI" : "")" } ?? ""
    return "\(source) > \(destination)\(vlan), ethertype \(type)"
  }
}
