internal import CNetlink
import Glibc
import Primitives

extension RouteSocket {
  public func links() throws(TunError) -> [Link] {
    var cache: OpaquePointer? = nil
    try Self.check(unsafe rtnl_link_alloc_cache(socket, AF_UNSPEC, &cache), "rtnl_link_alloc_cache", "")
    defer { unsafe nl_cache_free(cache) }
    var links: [Link] = []
    unsafe Self.forEach(in: cache) { object in
      let flags = unsafe rtnl_link_get_flags(object)
      links.append(
        Link(
          index: Int(unsafe rtnl_link_get_ifindex(object)),
          name: unsafe rtnl_link_get_name(object).map { unsafe String(cString: $0) } ?? "",
          isUp: flags & UInt32(IFF_UP) != 0,
          isRunning: flags & UInt32(IFF_RUNNING) != 0,
          isLoopback: flags & UInt32(IFF_LOOPBACK) != 0,
          mtu: Int(unsafe rtnl_link_get_mtu(object)),
          queueLength: Int(unsafe rtnl_link_get_txqlen(object))))
    }
    return links
  }

  /// `nil` if there is no such link.
  public func link(named name: String) throws(TunError) -> Link? {
    try links().first { $0.name == name }
  }

  public func addresses() throws(TunError) -> [LinkAddress] {
    var cache: OpaquePointer? = nil
    try Self.check(unsafe rtnl_addr_alloc_cache(socket, &cache), "rtnl_addr_alloc_cache", "")
    defer { unsafe nl_cache_free(cache) }
    var addresses: [LinkAddress] = []
    unsafe Self.forEach(in: cache) { object in
      guard let address = unsafe Self.value(of: rtnl_addr_get_local(object)) else { return }
      addresses.append(
        LinkAddress(
          address, prefixLength: Int(unsafe rtnl_addr_get_prefixlen(object)),
          link: Int(unsafe rtnl_addr_get_ifindex(object))))
    }
    return addresses
  }

  /// Whether the kernel takes packets to the address: its own route is there.
  ///
  /// For IPv6 the kernel makes that route a moment after `add` has returned, and not before the link is up; until
  /// then it drops what comes for the address.
  public func isUsable(_ address: LinkAddress) throws(TunError) -> Bool {
    guard let own = IPPrefix(address.address, length: address.address.bitWidth) else { return false }
    return try routes(table: UInt32(RT_TABLE_LOCAL.rawValue), type: UInt8(RTN_LOCAL)).contains { $0.destination == own }
  }

  /// The unicast routes of the main table; of one with several next hops, the first.
  public func routes() throws(TunError) -> [Route] {
    try routes(table: UInt32(RT_TABLE_MAIN.rawValue), type: UInt8(RTN_UNICAST))
  }

  private func routes(table: UInt32, type: UInt8) throws(TunError) -> [Route] {
    var cache: OpaquePointer? = nil
    try Self.check(unsafe rtnl_route_alloc_cache(socket, AF_UNSPEC, 0, &cache), "rtnl_route_alloc_cache", "")
    defer { unsafe nl_cache_free(cache) }
    var routes: [Route] = []
    unsafe Self.forEach(in: cache) { object in
      let family = unsafe CInt(rtnl_route_get_family(object))
      guard unsafe rtnl_route_get_table(object) == table,
        unsafe rtnl_route_get_type(object) == type, family == AF_INET || family == AF_INET6,
        let hop = unsafe rtnl_route_nexthop_n(object, 0)
      else { return }
      let any = family == AF_INET ? IPAddress(v4: 0) : IPAddress(v6: 0)
      let target = unsafe rtnl_route_get_dst(object)
      let length = unsafe target.map { Int(unsafe nl_addr_get_prefixlen($0)) } ?? 0
      guard let destination = IPPrefix(unsafe Self.value(of: target) ?? any, length: length) else { return }
      routes.append(
        Route(
          to: destination, link: Int(unsafe rtnl_route_nh_get_ifindex(hop)),
          gateway: unsafe Self.value(of: rtnl_route_nh_get_gateway(hop)),
          metric: Int(unsafe rtnl_route_get_priority(object))))
    }
    return routes
  }

  private static func forEach(in cache: OpaquePointer?, _ body: (OpaquePointer) -> Void) {
    var next = unsafe nl_cache_get_first(cache)
    while let object = unsafe next {
      unsafe body(object)
      unsafe next = unsafe nl_cache_get_next(object)
    }
  }

  /// `nil` for no address, one of another family, and the empty address of a default route.
  private static func value(of address: OpaquePointer?) -> IPAddress? {
    guard let address = unsafe address, let start = unsafe nl_addr_get_binary_addr(address) else { return nil }
    let family = unsafe nl_addr_get_family(address)
    guard family == AF_INET || family == AF_INET6 else { return nil }
    let bytes = unsafe UnsafeRawBufferPointer(start: start, count: Int(nl_addr_get_len(address)))
    return IPAddress(bytes: unsafe Array(bytes).span)
  }
}
