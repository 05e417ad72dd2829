public import Packet
public import Primitives

/// Requests of DCP as whole Ethernet frames. A function of their arguments: byte for byte the same.
public enum DCPRequest {
  /// Asks everybody who they are.
  ///
  /// - Parameter delay: over how many steps of 10 ms the answers spread, 1 to 6400.
  public static func identifyAll(from source: MACAddress, xid: UInt32, delay: UInt16) -> [UInt8] {
    frame(
      to: DCPMessage.multicast, from: source, .identify, xid: xid, delay: clamp(delay), blocks: block(0xFF, 0xFF, []))
  }

  /// Asks for the station of a name.
  public static func identify(
    name: StationName, from source: MACAddress, xid: UInt32, delay: UInt16 = 1
  ) -> [UInt8] {
    frame(
      to: DCPMessage.multicast, from: source, .identify, xid: xid, delay: clamp(delay),
      blocks: block(2, 2, Array(name.description.utf8)))
  }

  /// Asks a device for its name, its kind and its address.
  public static func get(of device: MACAddress, from source: MACAddress, xid: UInt32) -> [UInt8] {
    frame(to: device, from: source, .get, xid: xid, delay: 0, blocks: [2, 2, 2, 3, 1, 2])
  }

  /// - Parameter permanent: it outlives the device's next start.
  public static func set(
    name: StationName, permanent: Bool, of device: MACAddress, from source: MACAddress, xid: UInt32
  ) -> [UInt8] {
    frame(
      to: device, from: source, .set, xid: xid, delay: 0,
      blocks: block(2, 2, [0, permanent ? 1 : 0] + Array(name.description.utf8)))
  }

  /// - Parameters:
  ///   - gateway: the device's own address stands for none (IEC 61158-6-10, clause 4.3.1.4.15.4).
  ///   - permanent: it outlives the device's next start.
  public static func set(
    _ assignment: IPv4Assignment, permanent: Bool, of device: MACAddress, from source: MACAddress, xid: UInt32
  ) -> [UInt8] {
    frame(
      to: device, from: source, .set, xid: xid, delay: 0,
      blocks: block(
        1, 2,
        [0, permanent ? 1 : 0] + assignment.address.bytes + assignment.mask.bytes
          + (assignment.gateway ?? assignment.address).bytes))
  }

  private static func clamp(_ delay: UInt16) -> UInt16 { min(max(delay, 1), 6400) }

  private static func block(_ option: UInt8, _ suboption: UInt8, _ content: [UInt8]) -> [UInt8] {
    var block: [UInt8] = [option, suboption]
    block.append16(UInt16(content.count))
    block += content
    if content.count % 2 == 1 { block.append(0) }
    return block
  }

  private static func frame(
    to destination: MACAddress, from source: MACAddress, _ service: DCPMessage.Service, xid: UInt32, delay: UInt16,
    blocks: [UInt8]
  ) -> [UInt8] {
    var frame: [UInt8] = []
    frame.append(destination)
    frame.append(source)
    frame.append16(EtherType.profinet.rawValue)
    frame.append16(DCPMessage.frameID(service, .request))
    frame += [service.rawValue, DCPMessage.Direction.request.rawValue]
    frame.append32(xid)
    frame.append16(delay)
    frame.append16(UInt16(blocks.count))
    frame += blocks
    frame.padFrame()
    return frame
  }
}

/// An IPv4 address for a device.
public struct IPv4Assignment: Hashable, Sendable {
  public let address, mask: IPAddress
  public let gateway: IPAddress?

  /// `nil` unless it can be a host's: a unicast address, not the first or last of its network, and a gateway of the same
  /// network.
  ///
  /// - Parameter prefixLength: 1 to 30.
  public init?(_ address: IPAddress, prefixLength: Int, gateway: IPAddress? = nil) {
    guard address.family == .v4, (1...30).contains(prefixLength), let network = IPPrefix(address, length: prefixLength),
      Self.isHost(address, of: network), gateway.map({ Self.isHost($0, of: network) && $0 != address }) ?? true
    else { return nil }
    self.address = address
    self.gateway = gateway
    mask = IPAddress(v4: ~UInt32(truncatingIfNeeded: network.lastOffset))
  }

  private static func isHost(_ address: IPAddress, of network: IPPrefix) -> Bool {
    guard let offset = network.offset(of: address), offset != 0, offset != network.lastOffset else { return false }
    // 0.0.0.0/8 and 240.0.0.0/4 are no hosts either (RFC 1122 section 3.2.1.3).
    let first = address.value >> 24
    return first != 0 && first < 224 && !address.isLoopback
  }
}
