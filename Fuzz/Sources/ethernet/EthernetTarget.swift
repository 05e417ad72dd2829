import FuzzDriver
import Packet

/// Ethernet headers with and without a tag, and addresses as text: read, written and read again the same.
@main enum EthernetTarget: FuzzTarget {
  static func run(_ bytes: UnsafeBufferPointer<UInt8>) {
    if let header = try? EthernetHeader(parsing: bytes.span) {
      check(
        header.headerLength == (header.tag == nil ? 14 : 18) && header.headerLength <= bytes.count, "a header's size")
      withUnsafeTemporaryAllocation(of: UInt8.self, capacity: 24) { room in
        room.initialize(repeating: 0xA5)
        var span = room.mutableSpan
        check(header.write(into: &span) == header.headerLength, "as many bytes as promised")
        for index in 0..<header.headerLength { check(room[index] == bytes[index], "byte \(index) is the same") }
        for index in header.headerLength..<24 { check(room[index] == 0xA5, "nothing behind the header") }
      }
      if let tag = header.tag { check(tag.identifier <= 4095 && tag.priority <= 7, "a tag in range") }
      check(MACAddress(header.source.description) == header.source, "an address as text")
      check(!header.destination.isBroadcast || header.destination.isMulticast, "broadcast is for a group")
      check(!header.description.isEmpty, "can be described")
    }
    guard bytes.count <= 40 else { return }
    if let address = MACAddress(String(decoding: bytes, as: UTF8.self)) {
      check(MACAddress(address.description) == address && address.value >> 48 == 0, "an address of 48 bits")
    }
  }

  static var seeds: [[UInt8]] {
    let (one, other) = (MACAddress(0x0200_0000_0001), MACAddress.broadcast)
    var seeds: [[UInt8]] = []
    for type in [EtherType.ipv4, .arp, .profinet, .vlan, EtherType(rawValue: 60)] {
      for tag in [nil, VLANTag(identifier: 7, priority: 6, isDropEligible: true)] {
        let header = EthernetHeader(destination: other, source: one, type: type, tag: tag)
        var bytes = [UInt8](repeating: 0, count: header.headerLength)
        var span = bytes.mutableSpan
        header.write(into: &span)
        seeds.append(bytes + [1, 2, 3, 4])
      }
    }
    return seeds + [Array("02:00:00:00:00:01".utf8), Array("FF-FF-FF-ff-ff-ff".utf8), Array("+1:0:0:0:0:0".utf8)]
  }
}
