import Primitives

/// What an agent of Layer 2 permits: which frames may cross between a PC and the devices' network.
///
/// Nothing is permitted that isn't named. IP inside Ethernet is judged like that of any other agent.
public struct EthernetRule: Equatable, Sendable {
  /// EtherTypes behind all tags, at most `typeLimit`.
  public var types: [EtherType]
  /// Frames with a length instead of a type (IEEE 802.3 with LLC).
  public var permitsLength: Bool
  /// The devices, by address or by the start of it; all if it is empty.
  public var devices: [MACPrefix]
  /// VLAN identifiers, where 0 stands for frames without a tag; all if it is empty.
  public var vlans: [ClosedRange<UInt16>]
  /// Addresses of devices for ARP and IP; all if it is `nil`.
  public var network: IPPrefix?
  /// Ports of devices, for IP inside Ethernet.
  public var tcp: [ClosedRange<UInt16>]
  public var udp: [ClosedRange<UInt16>]
  public var permitsPing: Bool
  /// Whether devices may begin to talk to the PC, and not only answer.
  public var permitsOpeningToPC: Bool
  /// Frames a second and direction.
  public var broadcastRate: Int
  public var multicastRate: Int

  /// More types than any line of machines speaks.
  public static let typeLimit = 64
  /// What a network of some hundred devices has in a minute's worth of ARP; a storm has a hundred times as many.
  public static let standardBroadcastRate = 200
  /// Cyclic multicast of machines, and films of none.
  public static let standardMulticastRate = 2000

  public init(
    types: [EtherType], permitsLength: Bool = false, devices: [MACPrefix] = [], vlans: [ClosedRange<UInt16>] = [],
    network: IPPrefix? = nil, tcp: [ClosedRange<UInt16>] = [], udp: [ClosedRange<UInt16>] = [],
    permitsPing: Bool = false, permitsOpeningToPC: Bool = false, broadcastRate: Int = standardBroadcastRate,
    multicastRate: Int = standardMulticastRate
  ) {
    self.types = types
    self.permitsLength = permitsLength
    self.devices = devices
    self.vlans = vlans
    self.network = network
    self.tcp = tcp
    self.udp = udp
    self.permitsPing = permitsPing
    self.permitsOpeningToPC = permitsOpeningToPC
    self.broadcastRate = broadcastRate
    self.multicastRate = multicastRate
  }
}

/// The leading bits of Ethernet addresses: one address (48), a manufacturer (24).
public struct MACPrefix: Hashable, Sendable, BitwiseCopyable {
  public let address: MACAddress
  /// Bits, 1 to 48.
  public let length: Int

  /// - Returns: `nil` if the length is out of range. Bits behind it are cleared.
  public init?(_ address: MACAddress, length: Int = 48) {
    guard (1...48).contains(length) else { return nil }
    self.length = length
    self.address = MACAddress((address.value >> UInt64(48 - length)) << UInt64(48 - length))
  }

  public func contains(_ other: MACAddress) -> Bool {
    (address.value ^ other.value) >> UInt64(48 - length) == 0
  }
}

extension MACPrefix: LosslessStringConvertible {
  /// An address, or as many bytes of one as there are.
  public var description: String {
    length % 8 == 0 ? String(address.description.prefix(length / 8 * 3 - 1)) : "\(address)/\(length)"
  }

  /// Reads one to six pairs of hexadecimal digits, by colons or hyphens: `00:0e:8c` is a manufacturer.
  public init?(_ text: String) {
    let parts = text.split(whereSeparator: { $0 == ":" || $0 == "-" })
    guard (1...6).contains(parts.count), text.utf8.count == parts.count * 3 - 1 else { return nil }
    let padded = (parts.map(String.init) + Array(repeating: "00", count: 6 - parts.count)).joined(separator: ":")
    guard let address = MACAddress(padded) else { return nil }
    self.init(address, length: parts.count * 8)
  }
}

extension EtherType {
  /// Types that have a name in rules.
  public static let names: [(name: String, type: EtherType)] = [
    ("arp", .arp), ("ethercat", .etherCAT), ("ipv4", .ipv4), ("ipv6", .ipv6), ("lldp", .lldp),
    ("mrp", .mediaRedundancy), ("powerlink", .powerlink), ("profinet", .profinet), ("ptp", .precisionTime),
    ("sercos", .sercos), ("goose", .goose), ("cclink-ie", .ccLinkIE),
  ]

  /// Media Redundancy Protocol (IEC 62439-2).
  public static let mediaRedundancy = EtherType(rawValue: 0x88E3)
  public static let powerlink = EtherType(rawValue: 0x88AB)
  /// IEEE 1588.
  public static let precisionTime = EtherType(rawValue: 0x88F7)
  public static let sercos = EtherType(rawValue: 0x88CD)
  /// IEC 61850-8-1.
  public static let goose = EtherType(rawValue: 0x88B8)
  public static let ccLinkIE = EtherType(rawValue: 0x890F)

  /// Reads a name, or a number of four hexadecimal digits behind `0x`, from 0x0600 on.
  public init?(rule text: String) {
    if let known = Self.names.first(where: { $0.name == text }) {
      self = known.type
      return
    }
    guard text.hasPrefix("0x"), text.utf8.count == 6, let value = UInt16(text.dropFirst(2), radix: 16), value >= 0x600,
      !EtherType(rawValue: value).isTag
    else { return nil }
    self.init(rawValue: value)
  }
}
