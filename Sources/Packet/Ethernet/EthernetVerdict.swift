/// Which way a frame goes.
public enum EthernetDirection: Sendable, BitwiseCopyable {
  case toSite, toPC
}

/// What becomes of a frame.
public enum EthernetVerdict: Equatable, Sendable, BitwiseCopyable {
  case pass
  /// It is dropped, for this reason.
  case refuse(EthernetRefusal)
  /// It is dropped, and nothing may pass any more: there is a loop.
  case cut(EthernetRefusal)
}

/// Why a frame doesn't pass.
public enum EthernetRefusal: UInt8, Sendable, BitwiseCopyable, CaseIterable, CustomStringConvertible {
  /// Its headers end early, or contradict each other.
  case malformed
  /// More than two VLAN tags.
  case tooManyTags
  /// From a group's address, or from none.
  case badSource
  case vlanNotPermitted
  case typeNotPermitted
  /// To an address that bridges keep to themselves (IEEE 802.1Q, table 8-1): spanning tree, flow control.
  case bridgeProtocol
  /// The PC uses an address of a device.
  case spoofedAddress
  /// The PC's address was seen at the site.
  case movedAddress
  /// More addresses behind the PC than are learned.
  case tooManyAddresses
  /// The same addresses come from both sides, again and again.
  case loop
  /// Not a device that the rule names.
  case deviceNotPermitted
  /// To an address on the side that it comes from, or to nobody that is known.
  case notForOtherSide
  /// ARP whose addresses aren't those of its frame.
  case spoofedARP
  /// ARP or IP with an address outside of the rule's network.
  case addressNotPermitted
  /// A protocol inside of IP that the rule has no word for.
  case protocolNotPermitted
  case portNotPermitted
  /// A device begins to talk to the PC.
  case opensTowardsPC
  /// A fragment whose beginning wasn't permitted, or that overlaps the transport header.
  case fragment
  case tooManyBroadcasts
  case tooManyMulticasts

  public var description: String {
    switch self {
    case .malformed: "malformed frame"
    case .tooManyTags: "more than two VLAN tags"
    case .badSource: "group or empty source address"
    case .vlanNotPermitted: "VLAN not permitted"
    case .typeNotPermitted: "EtherType not permitted"
    case .bridgeProtocol: "protocol between bridges"
    case .spoofedAddress: "PC uses a device's address"
    case .movedAddress: "PC's address seen at the site"
    case .tooManyAddresses: "too many addresses behind the PC"
    case .loop: "loop"
    case .deviceNotPermitted: "device not permitted"
    case .notForOtherSide: "not for the other side"
    case .spoofedARP: "ARP with another's address"
    case .addressNotPermitted: "IP address not permitted"
    case .protocolNotPermitted: "IP protocol not permitted"
    case .portNotPermitted: "port not permitted"
    case .opensTowardsPC: "device begins to talk to the PC"
    case .fragment: "fragment without a permitted beginning"
    case .tooManyBroadcasts: "too many broadcasts"
    case .tooManyMulticasts: "too many multicasts"
    }
  }
}
