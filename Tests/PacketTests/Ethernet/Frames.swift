import Packet
import Primitives

/// Frames for tests, put together from parts.
enum Frames {
  static let pc = MACAddress(0x0200_0000_00A0)
  static let device = MACAddress(0x000E_8C00_0001)
  static let pcAddress = IPAddress("192.168.0.9")!
  static let deviceAddress = IPAddress("192.168.0.10")!

  static func ethernet(
    from source: MACAddress = pc, to destination: MACAddress = device, type: EtherType = .profinet,
    tags: [(EtherType, UInt16)] = [], payload: [UInt8] = [UInt8](repeating: 1, count: 46)
  ) -> [UInt8] {
    var bytes: [UInt8] = []
    for address in [destination, source] { bytes += (0..<6).map { UInt8(address.value >> UInt64(40 - 8 * $0) & 0xFF) } }
    for (kind, control) in tags { bytes += half(kind.rawValue) + half(control) }
    return bytes + half(type.rawValue) + payload
  }

  static func half(_ value: UInt16) -> [UInt8] { [UInt8(value >> 8), UInt8(value & 0xFF)] }
  static func word(_ value: UInt32) -> [UInt8] { half(UInt16(value >> 16)) + half(UInt16(value & 0xFFFF)) }

  static func arp(
    operation: UInt16 = 1, sender: MACAddress, senderAddress: IPAddress, targetAddress: IPAddress
  ) -> [UInt8] {
    let address = (0..<6).map { UInt8(sender.value >> UInt64(40 - 8 * $0) & 0xFF) }
    return [0, 1, 8, 0, 6, 4] + half(operation) + address + senderAddress.bytes
      + [UInt8](repeating: 0, count: 6) + targetAddress.bytes
  }

  /// - Parameter fragment: the field of flags and offset.
  static func ipv4(
    from source: IPAddress = pcAddress, to destination: IPAddress = deviceAddress, protocol number: UInt8,
    fragment: UInt16 = 0, identification: UInt16 = 7, options: [UInt8] = [], payload: [UInt8]
  ) -> [UInt8] {
    let size = 20 + options.count
    return [0x40 | UInt8(size / 4), 0] + half(UInt16(size + payload.count)) + half(identification) + half(fragment)
      + [64, number, 0, 0] + source.bytes + destination.bytes + options + payload
  }

  static func ipv6(
    from source: IPAddress, to destination: IPAddress, next: UInt8, hopLimit: UInt8 = 64, payload: [UInt8]
  ) -> [UInt8] {
    [0x60, 0, 0, 0] + half(UInt16(payload.count)) + [next, hopLimit] + source.bytes + destination.bytes + payload
  }

  static func tcp(from source: UInt16, to destination: UInt16, flags: UInt8 = 0x10) -> [UInt8] {
    half(source) + half(destination) + word(1) + word(2) + [0x50, flags] + half(1000) + [0, 0, 0, 0]
  }

  static func udp(from source: UInt16, to destination: UInt16, payload: [UInt8] = [1, 2, 3, 4]) -> [UInt8] {
    half(source) + half(destination) + half(UInt16(8 + payload.count)) + [0, 0] + payload
  }

  /// A message of neighbor discovery, with an option that names an Ethernet address.
  static func neighbor(type: UInt8, target: IPAddress, named: MACAddress) -> [UInt8] {
    [type, 0, 0, 0, 0, 0, 0, 0] + target.bytes + [type == 135 ? 1 : 2, 1]
      + (0..<6).map { UInt8(named.value >> UInt64(40 - 8 * $0) & 0xFF) }
  }

  static func echo(type: UInt8) -> [UInt8] { [type, 0, 0, 0, 0, 1, 0, 1] }
}
