import Glibc
import Kernel
import Primitives
import Testing

@testable import Tun

@Suite(.enabled(if: NetworkSandbox.isAvailable, NetworkSandbox.reason), .timeLimit(.minutes(1)))
struct StrandedConnectionsTests {
  /// A connection from an address of this namespace to itself.
  private struct Pair: ~Copyable {
    let near: OwnedDescriptor
    let far: OwnedDescriptor

    init(_ address: IPAddress) throws {
      let listener = try Socket.listen(on: Endpoint(address, 0))
      let near = try Socket.connect(to: Socket.localEndpoint(listener)!)
      try listener.wait(for: .readable, until: Clock.now + .seconds(5))
      guard let far = try Socket.accept(from: listener) else { throw Unmet(what: "nothing to accept") }
      self.near = near
      self.far = far
    }
  }

  @Test(arguments: [("10.77.0.5", "10.77.0.0/16", "10.78.0.0/16"), ("fd77::5", "fd77::/64", "fd78::/64")])
  func `connections to a prefix end, and no others`(address: String, prefix: String, other: String) throws {
    let (none, ended, near) = try NetworkSandbox.run {
      let device = try TunDevice(opening: TunConfiguration(name: "gone0"))
      let routes = try RouteSocket()
      guard let index = device.index, let own = IPAddress(address) else { throw Unmet(what: "no device") }
      try routes.setUp(true, link: index)
      // Packets to a host's own address go over the loopback link.
      try routes.setUp(true, link: routes.links().first { $0.isLoopback }?.index ?? 1)
      let linkAddress = LinkAddress(own, prefixLength: own.family == .v4 ? 24 : 64, link: index)
      try routes.add(linkAddress)
      for _ in 0..<100 where try !routes.isUsable(linkAddress) { Thread.sleep(.milliseconds(10)) }
      let pair = try Pair(own)
      let none = try StrandedConnections.end(to: [IPPrefix(other)!])
      // Both ends have an address of the prefix as their peer.
      let ended = try StrandedConnections.end(to: [IPPrefix(prefix)!])
      _ = device.name
      _ = pair.far.rawValue
      return (none, ended, Socket.pendingError(pair.near)?.code)
    }
    #expect(none == 0)
    #expect(ended >= 1 && ended <= 2)
    #expect(near == ECONNABORTED || near == ECONNRESET)
  }
}
