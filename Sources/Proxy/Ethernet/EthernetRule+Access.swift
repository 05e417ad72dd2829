import Control
import Packet
import Tun
import Primitives

extension EthernetRule {
  /// The rule that an agent was announced with. What isn't understood permits nothing: a type is left out, and a limit
  /// makes the whole rule unusable.
  public init?(_ access: EthernetAccess) {
    var devices: [MACPrefix] = []
    for text in access.devices {
      guard let prefix = MACPrefix(text) else { return nil }
      devices.append(prefix)
    }
    var vlans: [ClosedRange<UInt16>] = []
    for text in access.vlans {
      guard let range = Self.vlans(text) else { return nil }
      vlans.append(range)
    }
    var network: IPPrefix?
    if let text = access.network {
      guard let prefix = IPPrefix(text) else { return nil }
      network = prefix
    }
    self.init(
      types: access.types.compactMap { EtherType(rule: $0) }, permitsLength: access.types.contains(Self.lengthName),
      devices: devices, vlans: vlans, network: network, tcp: access.tcp.map { $0.lower...$0.upper },
      udp: access.udp.map { $0.lower...$0.upper }, permitsPing: access.ping, permitsOpeningToPC: access.isOpenToPC,
      broadcastRate: access.broadcasts ?? Self.standardBroadcastRate,
      multicastRate: access.multicasts ?? Self.standardMulticastRate)
  }

  /// What frames with a length are called in rules.
  public static let lengthName = "llc"

  /// `5`, or `5-9`; up to 4094 (IEEE 802.1Q table 9-2).
  public static func vlans(_ text: String) -> ClosedRange<UInt16>? {
    let parts = text.split(separator: "-", omittingEmptySubsequences: false).map { UInt16($0) }
    guard (1...2).contains(parts.count), let lower = parts[0], let upper = parts[parts.count - 1], lower <= upper,
      upper <= 4094
    else { return nil }
    return lower...upper
  }

  /// Which frames the kernel is to let through at the site: those of the rule, and probes for loops.
  var typeFilter: EthernetTypeFilter {
    EthernetTypeFilter(types: types + [LoopProbe.type], allowsLength: permitsLength)
  }

  /// The groups that the permitted types speak to; `nil` if that may be any.
  var groups: [MACAddress]? {
    guard !permitsLength else { return nil }
    var groups: [MACAddress] = []
    for type in types {
      switch type {
      case .arp: break
      case .lldp: groups += [0x0180_C200_000E, 0x0180_C200_0003, 0x0180_C200_0000].map { MACAddress($0) }
      case .profinet: groups.append(MACAddress(0x010E_CF00_0000))
      case .precisionTime: groups += [0x011B_1900_0000, 0x0180_C200_000E].map { MACAddress($0) }
      default: return nil
      }
    }
    return groups
  }
}
