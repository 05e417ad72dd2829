import Kernel
import Primitives

/// Echo requests to a device by a raw socket (RFC 792, RFC 4443 section 4).
enum EchoSocket {
  private static let icmp: CInt = 1
  private static let icmpV6: CInt = 58

  /// Needs CAP_NET_RAW. Connected, so that only the device's messages are read.
  static func open(to address: IPAddress) throws(SystemError) -> OwnedDescriptor {
    let socket = try Socket.raw(address.family, ipProtocol: address.family == .v4 ? icmp : icmpV6)
    try Socket.connect(socket, to: Endpoint(address, 0))
    return socket
  }

  /// An echo request: type, code, checksum, our identifier, then the peer's sequence number and data.
  static func request(family: IPAddress.Family, identifier: UInt16, sequenceAndData: Span<UInt8>) -> [UInt8] {
    var message: [UInt8] = [
      family == .v4 ? 8 : 128, 0, 0, 0, UInt8(identifier >> 8), UInt8(truncatingIfNeeded: identifier),
    ]
    message.reserveCapacity(6 + sequenceAndData.count)
    for index in sequenceAndData.indices { message.append(sequenceAndData[index]) }
    // The kernel fills in the checksum of ICMPv6, which covers addresses that only it knows (RFC 3542 section 3.1).
    if family == .v4 {
      let sum = checksum(message)
      message[2] = UInt8(sum >> 8)
      message[3] = UInt8(truncatingIfNeeded: sum)
    }
    return message
  }

  /// Where identifier, sequence number and data of a reply to us begin; `nil` if it is something else.
  static func replyOffset(_ bytes: Span<UInt8>, family: IPAddress.Family, identifier: UInt16) -> Int? {
    var start = 0
    if family == .v4 {
      // A raw IPv4 socket delivers the IP header, a raw IPv6 socket doesn't (RFC 3542 section 3).
      guard bytes.count >= 20 else { return nil }
      start = Int(bytes[0] & 0x0F) * 4
    }
    guard bytes.count >= start + 8, bytes[start] == (family == .v4 ? 0 : 129), bytes[start + 1] == 0,
      UInt16(bytes[start + 4]) << 8 | UInt16(bytes[start + 5]) == identifier
    else { return nil }
    return start + 4
  }

  private static func checksum(_ bytes: [UInt8]) -> UInt16 {
    var sum: UInt32 = 0
    for index in stride(from: 0, to: bytes.count, by: 2) {
      sum += UInt32(bytes[index]) << 8 | (index + 1 < bytes.count ? UInt32(bytes[index + 1]) : 0)
    }
    while sum > 0xFFFF { sum = (sum & 0xFFFF) + (sum >> 16) }
    return ~UInt16(sum)
  }
}
