import Kernel
import Primitives
import Proxy
import Tun

extension Adapter {
  /// Starts an adapter on a TUN device of its own, with the pool's first addresses and routes to all aliases.
  ///
  /// The device and its routes vanish with the adapter, however its process ends. Connections of this host to aliases
  /// that were open over an earlier device, whose process was killed, are ended. Needs CAP_NET_ADMIN.
  /// - Parameters:
  ///   - tun: the device's name; `%d` in it becomes the first free number.
  ///   - onFailure, onFlow: as with any device.
  public convenience init(
    tun name: String, configuration: AdapterConfiguration = AdapterConfiguration(),
    onFailure: @escaping @Sendable (TunError) -> Void = { _ in },
    onFlow: @escaping @Sendable (FlowReport) -> Void = { _ in }
  ) throws {
    try configuration.aliases.checkAgainstHost()
    // What an adapter that was killed has left: nobody else can have a connection to these addresses.
    _ = try? StrandedConnections.end(to: [configuration.aliases.v4, configuration.aliases.v6])
    let device = try TunDevice(opening: TunConfiguration(name: name))
    try device.prepare(configuration)
    try self.init(device: device, configuration: configuration, onFailure: onFailure, onFlow: onFlow)
  }
}

extension AliasPool {
  /// Refuses a pool that hides a network that this host is in.
  func checkAgainstHost() throws {
    let routes = try RouteSocket()
    for address in try routes.addresses() {
      guard let prefix = address.prefix else { continue }
      for pool in [v4, v6] where pool.overlaps(prefix) { throw AdapterError.aliasClash(pool, address) }
    }
  }
}

extension TunDevice {
  /// Packets that may wait for the adapter's thread: TUN drops silently beyond. Enough for a full window of small
  /// segments on dozens of streams; super-segments need far fewer.
  static let queueLength = 4000

  /// Gives the device its addresses, from which the kernel derives the routes to all aliases.
  borrowing func prepare(_ configuration: AdapterConfiguration) throws(TunError) {
    guard let link = index else { return }
    let routes = try RouteSocket()
    try routes.setMTU(configuration.mtu, link: link)
    try routes.setQueueLength(Self.queueLength, link: link)
    try routes.setUp(true, link: link)
    let own = configuration.aliases.own
    try routes.add(LinkAddress(own.v4, prefixLength: configuration.aliases.v4.length, link: link))
    let v6 = LinkAddress(own.v6, prefixLength: configuration.aliases.v6.length, link: link)
    try routes.add(v6)
    // The kernel makes an IPv6 address usable a moment later, and drops packets until then.
    for _ in 0..<100 where try !routes.isUsable(v6) { Thread.sleep(.milliseconds(5)) }
  }
}
