internal import CNetlink
import Glibc
import Primitives

/// What changed in the host's network.
public enum HostNetworkEvent: Hashable, Sendable {
  /// A link is new, or something about it is.
  case linkChanged(name: String, index: Int, isUp: Bool, mtu: Int)
  case linkRemoved(name: String, index: Int)
  case addressAdded(LinkAddress)
  case addressRemoved(LinkAddress)
  /// One or more routes came or went.
  case routesChanged
  /// Changes came faster than they were read, and some are lost: list links, addresses and routes anew.
  case overrun
}

/// The messages of one rtnetlink datagram (RFC 3549, rtnetlink(7)). Nothing in them can trap.
struct RouteMessages {
  enum Message: Equatable {
    case event(HostNetworkEvent)
    case route
    case other
  }

  private var messages = NetlinkMessages()

  private static let linkHeaderSize = 16
  private static let addressHeaderSize = 8

  /// `nil` behind the last whole message.
  mutating func next(in bytes: Span<UInt8>) -> Message? {
    guard let (type, range) = messages.next(in: bytes) else { return nil }
    let body = bytes.extracting(range)
    switch type {
    case RTM_NEWLINK, RTM_DELLINK: return Self.link(body, isRemoved: type == RTM_DELLINK)
    case RTM_NEWADDR, RTM_DELADDR: return Self.address(body, isRemoved: type == RTM_DELADDR)
    case RTM_NEWROUTE, RTM_DELROUTE: return .route
    default: return .other
    }
  }

  private static func link(_ body: Span<UInt8>, isRemoved: Bool) -> Message {
    guard body.count >= linkHeaderSize else { return .other }
    // A bridge port's own message (family AF_BRIDGE) says nothing about the link itself.
    guard body[0] == UInt8(AF_UNSPEC) else { return .other }
    let index = Int(Int32(bitPattern: body.native32(4)))
    let isUp = body.native32(8) & 1 != 0
    var name = ""
    var mtu = 0
    forEachAttribute(body, from: linkHeaderSize) { type, range in
      switch type {
      case 3: name = text(body, range)
      case 4 where range.count >= 4: mtu = Int(body.native32(range.lowerBound))
      default: break
      }
    }
    guard !name.isEmpty else { return .other }
    return .event(
      isRemoved
        ? .linkRemoved(name: name, index: index) : .linkChanged(name: name, index: index, isUp: isUp, mtu: mtu))
  }

  private static func address(_ body: Span<UInt8>, isRemoved: Bool) -> Message {
    guard body.count >= addressHeaderSize else { return .other }
    var address: IPAddress? = nil
    var local: IPAddress? = nil
    forEachAttribute(body, from: addressHeaderSize) { type, range in
      switch type {
      case 1: address = IPAddress(bytes: body.extracting(range))
      // On a point-to-point link IFA_ADDRESS is the peer, and IFA_LOCAL the interface's own.
      case 2: local = IPAddress(bytes: body.extracting(range))
      default: break
      }
    }
    guard let own = local ?? address, Int(body[1]) <= own.bitWidth else { return .other }
    let found = LinkAddress(own, prefixLength: Int(body[1]), link: Int(body.native32(4)))
    return .event(isRemoved ? .addressRemoved(found) : .addressAdded(found))
  }

  private static func forEachAttribute(_ body: Span<UInt8>, from start: Int, _ visit: (Int, Range<Int>) -> Void) {
    var position = start
    while body.count - position >= 4 {
      let length = Int(body.native16(position))
      guard length >= 4, length <= body.count - position else { return }
      visit(Int(body.native16(position + 2)), (position + 4)..<(position + length))
      position += (length + 3) & ~3
    }
  }

  private static func text(_ bytes: Span<UInt8>, _ range: Range<Int>) -> String {
    var characters: [UInt8] = []
    for index in range {
      if bytes[index] == 0 { break }
      characters.append(bytes[index])
    }
    return String(decoding: characters, as: UTF8.self)
  }
}
