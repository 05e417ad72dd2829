/// A way to find devices on a local network.
public enum DiscoveryMethod: String, Hashable, Sendable, CaseIterable {
  /// PROFINET's Discovery and Configuration Protocol: needs no IP address at either end.
  case dcp
  /// EtherNet/IP's List Identity, by a UDP broadcast.
  case enip
  /// Multicast DNS with service discovery (RFC 6762, RFC 6763).
  case mdns
  /// UPnP's Simple Service Discovery Protocol.
  case ssdp
  /// Address resolution (RFC 826), address by address, and whatever others say.
  case arp
  /// The Link Layer Discovery Protocol (IEEE 802.1AB): listens only.
  case lldp

  /// Whether it needs an IPv4 address of one's own: answers come to it.
  public var needsAddress: Bool { self == .enip || self == .mdns || self == .ssdp }
}
