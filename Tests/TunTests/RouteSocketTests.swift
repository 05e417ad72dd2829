import Kernel
import Primitives
import Testing

@testable import Tun

@Suite(.enabled(if: NetworkSandbox.isAvailable, NetworkSandbox.reason))
struct RouteSocketTests {
  /// What `body` gives for a device that is up, its link's index and a socket.
  private func withDevice<R: Sendable>(
    _ body: @escaping @Sendable (borrowing RouteSocket, Int) throws -> R
  ) throws -> R {
    try NetworkSandbox.run {
      let device = try TunDevice(opening: TunConfiguration(name: "work0"))
      let routes = try RouteSocket()
      guard let index = device.index else { throw Unmet(what: "the device has no index") }
      try routes.setUp(true, link: index)
      let result = try body(routes, index)
      _ = device.name
      return result
    }
  }

  private static func error(_ body: () throws -> Void) -> TunError? {
    do { try body() } catch { return error as? TunError }
    return nil
  }

  @Test func `links are listed and changed`() throws {
    let (before, after, down) = try withDevice { routes, index in
      let before = try routes.link(named: "work0")
      try routes.setMTU(9000, link: index)
      try routes.setQueueLength(5000, link: index)
      let after = try routes.link(named: "work0")
      try routes.setUp(false, link: index)
      return (before, after, try routes.link(named: "work0"))
    }
    #expect(before?.isUp == true && before?.mtu == 1500 && before?.isLoopback == false)
    #expect(after?.mtu == 9000 && after?.queueLength == 5000 && after?.isUp == true)
    #expect(down?.isUp == false)
  }

  @Test func `the loopback link is recognised`() throws {
    let links = try withDevice { routes, _ in try routes.links() }
    #expect(links.first { $0.isLoopback }?.name == "lo")
  }

  @Test(arguments: ["10.9.0.1", "fd09::1"])
  func `an address is added once, listed and removed`(text: String) throws {
    let address = try #require(IPAddress(text))
    let length = address.family == .v4 ? 24 : 64
    let (listed, again, left, missing) = try withDevice { routes, index in
      let wanted = LinkAddress(address, prefixLength: length, link: index)
      try routes.add(wanted)
      let listed = try routes.addresses().contains(wanted)
      let again = Self.error { try routes.add(wanted) }
      try routes.remove(wanted)
      let left = try routes.addresses().contains(wanted)
      return (listed, again, left, Self.error { try routes.remove(wanted) })
    }
    #expect(listed && !left)
    #expect(again?.alreadyExists == true)
    #expect(missing?.notFound == true)
  }

  @Test func `an IPv6 address can be bound at once`() throws {
    try withDevice { routes, index in
      let address = IPAddress(v6: 0xFD09 << 112 | 7)
      try routes.add(LinkAddress(address, prefixLength: 64, link: index))
      // Binding to a tentative address fails; listening binds.
      let listener = try Socket.listen(on: Endpoint(address, 4000))
      _ = listener.rawValue
    }
  }

  @Test(arguments: ["10.80.0.0/16", "0.0.0.0/0", "fd80::/32", "::/0"])
  func `a route is added once, listed and removed`(text: String) throws {
    let prefix = try #require(IPPrefix(text))
    let (listed, again, left, missing) = try withDevice { routes, index in
      let wanted = Route(to: prefix, link: index, metric: 50)
      try routes.add(wanted)
      let listed = try routes.routes().contains(wanted)
      let again = Self.error { try routes.add(wanted) }
      try routes.remove(wanted)
      return (listed, again, try routes.routes().contains(wanted), Self.error { try routes.remove(wanted) })
    }
    #expect(listed && !left)
    #expect(again?.alreadyExists == true)
    #expect(missing?.notFound == true)
  }

  @Test(arguments: ["10.9.0.1", "fd09::1"])
  func `a route may have a next hop`(text: String) throws {
    let host = try #require(IPAddress(text))
    let isV4 = host.family == .v4
    let gateway = isV4 ? IPAddress(10, 9, 0, 254) : IPAddress(v6: 0xFD09 << 112 | 0xFE)
    let target = try #require(IPPrefix(isV4 ? "192.168.7.0/24" : "fd77::/48"))
    let found = try withDevice { routes, index in
      try routes.add(LinkAddress(host, prefixLength: isV4 ? 24 : 64, link: index))
      try routes.add(Route(to: target, link: index, gateway: gateway, metric: 10))
      return try routes.routes().first { $0.destination == target }
    }
    #expect(found?.gateway == gateway && found?.metric == 10)
  }

  @Test func `arguments out of range and unknown links are errors`() throws {
    let errors = try withDevice { routes, index in
      [
        Self.error { try routes.setMTU(10, link: index) },
        Self.error { try routes.setQueueLength(0, link: index) },
        Self.error { try routes.setUp(true, link: 9999) },
        Self.error { try routes.add(LinkAddress(IPAddress(10, 9, 0, 1), prefixLength: 33, link: index)) },
        Self.error { try routes.add(LinkAddress(IPAddress(10, 9, 0, 1), link: 9999)) },
      ]
    }
    #expect(errors.allSatisfy { $0 != nil })
    #expect(errors[2]?.notFound == true && errors[4]?.notFound == true)
  }
}
