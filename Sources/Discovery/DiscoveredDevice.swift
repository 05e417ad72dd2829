public import Packet
public import Primitives

/// A device that was found, with all that is known of it.
public struct DiscoveredDevice: Equatable, Sendable {
  public enum Problem: String, Hashable, Sendable, CaseIterable {
    /// It says that it has none.
    case noAddress
    /// None of its IPv4 addresses belongs to a network of the interface.
    case foreignSubnet
    /// Another device has the same address.
    case addressConflict
  }

  /// Bytes of a text about a device.
  public static let textLimit = 256
  /// Addresses that are remembered of one.
  static let addressLimit = 8

  public let mac: MACAddress
  /// The PROFINET name of station, the name that LLDP has, or what it is called elsewhere.
  public internal(set) var name: String?
  /// Who makes it: what the device says, else whoever has its address's range.
  public internal(set) var vendor: String?
  /// What kind of device it is, in its own words where there are some.
  public internal(set) var type: String?
  /// In the order in which they were found.
  public internal(set) var addresses: [IPAddress] = []
  /// As the device tells them by DCP.
  public internal(set) var mask: IPAddress?
  public internal(set) var gateway: IPAddress?
  /// Of a description that it offers by SSDP; for people to look at.
  public internal(set) var location: String?
  public internal(set) var methods: Set<DiscoveryMethod> = []
  public internal(set) var problems: Set<Problem> = []

  // How good what is there is: a better source replaces it, one as good does so too, since things change.
  var nameRank = 0
  var typeRank = 0
  var vendorRank = 0
  /// It has said by DCP that it has no address.
  var hasNone = false

  init(_ mac: MACAddress) {
    self.mac = mac
    vendor = EthernetVendor.name(of: mac)
  }

  mutating func setName(_ text: String?, rank: Int) {
    guard let text, !text.isEmpty, rank >= nameRank else { return }
    name = text
    nameRank = rank
  }

  mutating func setType(_ text: String?, rank: Int) {
    guard let text, !text.isEmpty, rank >= typeRank else { return }
    type = text
    typeRank = rank
  }

  mutating func setVendor(_ text: String?, rank: Int) {
    guard let text, !text.isEmpty, rank >= vendorRank else { return }
    vendor = text
    vendorRank = rank
  }

  mutating func add(_ address: IPAddress?) {
    guard let address, !address.isUnspecified, !address.isMulticast, !address.isBroadcast, !address.isLoopback,
      !addresses.contains(address), addresses.count < Self.addressLimit
    else { return }
    addresses.append(address)
  }
}
