internal import CNetlink
import Glibc
import Primitives

/// An rtnetlink socket for links, addresses and routes of the network namespace that it was made in.
///
/// Calls wait for the kernel's answer, which comes at once. Changes need CAP_NET_ADMIN.
@safe public struct RouteSocket: ~Copyable {
  let socket: OpaquePointer

  public init() throws(TunError) {
    guard let made = unsafe nl_socket_alloc() else {
      throw TunError(call: "nl_socket_alloc", cause: .system(ENOMEM))
    }
    let code = unsafe nl_connect(made, NETLINK_ROUTE)
    guard code >= 0 else {
      unsafe nl_socket_free(made)
      throw TunError(call: "nl_connect", cause: .netlink(-code))
    }
    unsafe socket = unsafe made
  }

  deinit {
    unsafe nl_socket_free(socket)
  }

  // MARK: Links

  public func setUp(_ isUp: Bool, link: Int) throws(TunError) {
    unsafe try change(link) { change in
      let flags = UInt32(IFF_UP)
      if isUp { unsafe rtnl_link_set_flags(change, flags) } else { unsafe rtnl_link_unset_flags(change, flags) }
    }
  }

  /// - Parameter bytes: 68 or more for IPv4 (RFC 791), 1280 or more for IPv6 (RFC 8200 section 5).
  public func setMTU(_ bytes: Int, link: Int) throws(TunError) {
    guard (68...65535).contains(bytes) else {
      throw TunError(call: "rtnl_link_change", device: "\(link)", cause: .badArgument("an MTU of \(bytes) bytes"))
    }
    unsafe try change(link) { unsafe rtnl_link_set_mtu($0, UInt32(bytes)) }
  }

  /// Sets how many packets may wait for transmission: those that a TUN device's owner hasn't read yet.
  public func setQueueLength(_ packets: Int, link: Int) throws(TunError) {
    guard (1...1_000_000).contains(packets) else {
      throw TunError(call: "rtnl_link_change", device: "\(link)", cause: .badArgument("a queue of \(packets) packets"))
    }
    unsafe try change(link) { unsafe rtnl_link_set_txqlen($0, UInt32(packets)) }
  }

  private func change(_ link: Int, _ body: (OpaquePointer) -> Void) throws(TunError) {
    let subject = "link \(link)"
    let current = unsafe try Self.allocated(rtnl_link_alloc(), "rtnl_link_alloc")
    defer { unsafe rtnl_link_put(current) }
    let changed = unsafe try Self.allocated(rtnl_link_alloc(), "rtnl_link_alloc")
    defer { unsafe rtnl_link_put(changed) }
    unsafe rtnl_link_set_ifindex(current, CInt(clamping: link))
    unsafe body(changed)
    try Self.check(unsafe rtnl_link_change(socket, current, changed, 0), "rtnl_link_change", subject)
  }

  // MARK: Addresses

  /// Adds an address; one of IPv6 without duplicate address detection (IFA_F_NODAD), for nobody else is on the link
  /// of a TUN device. Programs can bind to it at once; `isUsable` tells when packets to it are taken.
  public func add(_ address: LinkAddress) throws(TunError) {
    unsafe try withAddress(address) { object in
      if address.address.family == .v6 { unsafe rtnl_addr_set_flags(object, UInt32(IFA_F_NODAD)) }
      return unsafe rtnl_addr_add(socket, object, 0)
    }
  }

  public func remove(_ address: LinkAddress) throws(TunError) {
    unsafe try withAddress(address) { unsafe rtnl_addr_delete(socket, $0, 0) }
  }

  private func withAddress(_ address: LinkAddress, _ body: (OpaquePointer) -> CInt) throws(TunError) {
    let subject = "\(address.address)/\(address.prefixLength)"
    guard address.prefix != nil else {
      throw TunError(call: "rtnl_addr_add", device: subject, cause: .badArgument("a prefix of that length"))
    }
    let object = unsafe try Self.allocated(rtnl_addr_alloc(), "rtnl_addr_alloc")
    defer { unsafe rtnl_addr_put(object) }
    let local = unsafe try Self.address(address.address, prefixLength: address.prefixLength)
    defer { unsafe nl_addr_put(local) }
    unsafe rtnl_addr_set_ifindex(object, CInt(clamping: address.link))
    try Self.check(unsafe rtnl_addr_set_local(object, local), "rtnl_addr_set_local", subject)
    try Self.check(unsafe body(object), "rtnl_addr", subject)
  }

  // MARK: Routes

  /// Adds a route; it is an error if the same destination and metric has one.
  public func add(_ route: Route) throws(TunError) {
    unsafe try withRoute(route) { unsafe rtnl_route_add(socket, $0, NLM_F_EXCL) }
  }

  public func remove(_ route: Route) throws(TunError) {
    unsafe try withRoute(route) { unsafe rtnl_route_delete(socket, $0, 0) }
  }

  private func withRoute(_ route: Route, _ body: (OpaquePointer) -> CInt) throws(TunError) {
    let subject = "\(route.destination)"
    let object = unsafe try Self.allocated(rtnl_route_alloc(), "rtnl_route_alloc")
    defer { unsafe rtnl_route_put(object) }
    let destination = unsafe try Self.address(route.destination.address, prefixLength: route.destination.length)
    defer { unsafe nl_addr_put(destination) }
    try Self.check(unsafe rtnl_route_set_dst(object, destination), "rtnl_route_set_dst", subject)
    unsafe rtnl_route_set_table(object, UInt32(RT_TABLE_MAIN.rawValue))
    unsafe rtnl_route_set_protocol(object, UInt8(RTPROT_STATIC))
    // A route without a next hop ends on the link itself; IPv6 knows no such scope.
    let isOnLink = route.gateway == nil && route.destination.address.family == .v4
    unsafe rtnl_route_set_scope(object, UInt8((isOnLink ? RT_SCOPE_LINK : RT_SCOPE_UNIVERSE).rawValue))
    if route.metric > 0 { unsafe rtnl_route_set_priority(object, UInt32(clamping: route.metric)) }
    let hop = unsafe try Self.allocated(rtnl_route_nh_alloc(), "rtnl_route_nh_alloc")
    unsafe rtnl_route_nh_set_ifindex(hop, CInt(clamping: route.link))
    // The route owns its next hop from here on.
    unsafe rtnl_route_add_nexthop(object, hop)
    if let gateway = route.gateway {
      let address = unsafe try Self.address(gateway, prefixLength: gateway.bitWidth)
      unsafe rtnl_route_nh_set_gateway(hop, address)
      unsafe nl_addr_put(address)
    }
    try Self.check(unsafe body(object), "rtnl_route", subject)
  }

  // MARK: libnl

  static func check(_ code: CInt, _ call: String, _ subject: String) throws(TunError) {
    if code < 0 { throw TunError(call: call, device: subject, cause: .netlink(-code)) }
  }

  static func allocated(_ pointer: OpaquePointer?, _ call: String) throws(TunError) -> OpaquePointer {
    guard let pointer = unsafe pointer else { throw TunError(call: call, cause: .system(ENOMEM)) }
    return unsafe pointer
  }

  /// A libnl address; the caller gives it back with `nl_addr_put`.
  static func address(_ address: IPAddress, prefixLength: Int) throws(TunError) -> OpaquePointer {
    let bytes = address.bytes
    let made = unsafe bytes.withUnsafeBytes { bytes in
      unsafe nl_addr_build(
        address.family == .v4 ? AF_INET : AF_INET6, UnsafeMutableRawPointer(mutating: bytes.baseAddress), bytes.count)
    }
    let built = unsafe try allocated(made, "nl_addr_build")
    unsafe nl_addr_set_prefixlen(built, CInt(prefixLength))
    return unsafe built
  }
}
