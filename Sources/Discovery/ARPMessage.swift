public import Packet
public import Primitives

/// Address resolution for IPv4 on Ethernet (RFC 826).
public struct ARPMessage: Equatable, Sendable {
  static let size = 28

  /// 1 asks, 2 answers.
  public var operation: UInt16
  public var sender: MACAddress
  /// Unspecified in a probe (RFC 5227 section 1.1).
  public var senderAddress: IPAddress
  public var target: MACAddress
  public var targetAddress: IPAddress

  /// Reads what follows an Ethernet header of type ARP.
  public init(parsing bytes: Span<UInt8>) throws(DiscoveryParseError) {
    try bytes.require(Self.size)
    // Ethernet, IPv4, and the sizes of their addresses.
    guard try bytes.field16(0) == 1, try bytes.field16(2) == 0x0800, bytes[4] == 6, bytes[5] == 4 else {
      throw .otherMessage
    }
    operation = try bytes.field16(6)
    guard operation == 1 || operation == 2 else { throw .otherMessage }
    sender = try bytes.mac(8)
    senderAddress = try bytes.v4(14)
    target = try bytes.mac(18)
    targetAddress = try bytes.v4(24)
  }

  /// A request to all, as a whole frame.
  ///
  /// - Parameter senderAddress: unspecified where this host has no address of that network: devices answer such a probe
  ///   too, and nobody's table changes by it.
  public static func request(
    for target: IPAddress, from source: MACAddress, senderAddress: IPAddress
  ) -> [UInt8] {
    var frame: [UInt8] = []
    frame.append(MACAddress.broadcast)
    frame.append(source)
    frame.append16(EtherType.arp.rawValue)
    frame += [0, 1, 8, 0, 6, 4, 0, 1]
    frame.append(source)
    frame += senderAddress.bytes
    frame += [0, 0, 0, 0, 0, 0]
    frame += target.bytes
    frame.padFrame()
    return frame
  }
}
