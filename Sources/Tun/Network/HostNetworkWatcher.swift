internal import CLinux
import Glibc
import Kernel
import Primitives

/// Tells what changes in the network namespace that it was made in: links, addresses, routes.
///
/// Needs no privilege. Poll `descriptor` for `readable`, then call `next` until it returns `nil`.
/// Sendable because its memory belongs to this value alone, and is touched by `mutating` calls only.
@safe public struct HostNetworkWatcher: ~Copyable, @unchecked Sendable {
  private let owned: OwnedDescriptor
  private let room: UnsafeMutableBufferPointer<UInt8>
  private var filled = 0
  private var messages = RouteMessages()
  private var routesChanged = false

  /// The largest datagram that the kernel makes for one (NLMSG_GOODSIZE is at most 8 KiB), with room to spare.
  private static let size = 32 * 1024
  /// RTMGRP_LINK, IPV4_IFADDR, IPV4_ROUTE, IPV6_IFADDR, IPV6_ROUTE (linux/rtnetlink.h).
  private static let groups: UInt32 = 0x1 | 0x10 | 0x40 | 0x100 | 0x400

  public init() throws(TunError) {
    let fd = clinux_route_listener(Self.groups)
    guard fd >= 0 else { throw TunError(.last("socket(AF_NETLINK)")) }
    owned = OwnedDescriptor(owning: fd)
    unsafe room = .allocate(capacity: Self.size)
    unsafe room.initialize(repeating: 0)
  }

  deinit {
    unsafe room.deallocate()
  }

  /// The descriptor to poll.
  public var descriptor: CInt { owned.rawValue }

  /// The next change; `nil` when there is none for now. Changes of routes are reported once for all that waited.
  public mutating func next() throws(TunError) -> HostNetworkEvent? {
    while true {
      while let message = nextMessage() {
        switch message {
        case .event(let event): return event
        case .route: routesChanged = true
        case .other: break
        }
      }
      let count = unsafe clinux_route_receive(owned.rawValue, room.baseAddress, Self.size)
      messages = RouteMessages()
      filled = max(0, count)
      guard count < 0 else { continue }
      switch clinux_errno() {
      case EAGAIN:
        defer { routesChanged = false }
        return routesChanged ? .routesChanged : nil
      // The kernel's queue was full (rtnetlink is not reliable: netlink(7)).
      case ENOBUFS: return .overrun
      case let code: throw TunError(SystemError(call: "recvfrom(AF_NETLINK)", code: code))
      }
    }
  }

  private mutating func nextMessage() -> RouteMessages.Message? {
    let bytes = unsafe UnsafeBufferPointer(rebasing: room[..<filled])
    return messages.next(in: unsafe bytes.span)
  }
}
