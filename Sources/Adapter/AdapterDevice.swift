import Glibc
import Kernel
import Primitives
import Proxy
import Tun

/// What became of a device that an adapter opened itself. Sessions and flows go on in any case.
public enum DeviceEvent: Sendable {
  /// It was deleted, or failed: no packet passes until it is made anew, which is tried at once and then each second.
  case lost(TunError)
  /// It is there again, with the name and the addresses that it had.
  case restored(name: String)
  /// Somebody had changed it, and it is as it has to be again.
  case repaired([DeviceRepair])
  /// It can't be made anew or repaired; told once, until it can or the reason is another.
  case failing(TunError)
  /// The host has come into a network where these agents had their aliases: they have others now.
  case moved([AliasMove])
  /// The host has come into a network beside which the pool can't be used: the error says which. Sessions go on, but
  /// either may hide the other. `nil` when that is over.
  case clash(AdapterError?)
  /// What became of the TAP device of a Layer 2 agent, in words; the device's name is empty while there is none.
  case ethernet(agent: String, device: String, String)
}

/// What had to be put right about a device.
public enum DeviceRepair: Hashable, Sendable, CustomStringConvertible {
  /// The link was set down.
  case link
  case address(IPAddress)
  case route(IPPrefix)

  public var description: String {
    switch self {
    case .link: "the link was down"
    case .address(let address): "the address \(address) was missing"
    case .route(let prefix): "the route to \(prefix) was missing"
    }
  }
}

/// How a loop gets back a device that was lost, and keeps it as it has to be.
struct DeviceUpkeep<Device: PacketDevice & ~Copyable>: Sendable {
  let open: @Sendable () throws(TunError) -> Device
  /// Says what was put right. A device that isn't there any more is an error.
  let repair: @Sendable (borrowing Device) throws(TunError) -> [DeviceRepair]
  let name: String
  let report: @Sendable (DeviceEvent) -> Void
  /// The host's networks that overlap the pool of aliases.
  let networks: @Sendable (borrowing Device) throws(TunError) -> [HostNetwork]

  /// Time between two attempts to make the device anew.
  static var interval: Interval { .seconds(1) }
}

extension Adapter {
  /// Starts an adapter on a TUN device of its own, with the pool's first addresses and routes to all aliases.
  ///
  /// The device and its routes vanish with the adapter, however its process ends. If somebody deletes it or changes its
  /// link, addresses or routes, the adapter puts that right; of changes it hears by `networkChanged`. Connections of
  /// this host to aliases that were open over an earlier device, whose process was killed, are ended. Needs
  /// CAP_NET_ADMIN.
  /// - Parameters:
  ///   - name: the device's name; `%d` in it becomes the first free number.
  ///   - onDevice: called on the adapter's thread, so it must not block.
  ///   - onFlow: as with any device.
  public convenience init(
    tun name: String, configuration: AdapterConfiguration = AdapterConfiguration(),
    onDevice: @escaping @Sendable (DeviceEvent) -> Void = { _ in },
    onFlow: @escaping @Sendable (FlowReport) -> Void = { _ in }
  ) throws {
    // Before anything is done: another adapter with the same aliases is not to be disturbed.
    let networks = try configuration.aliases.hostNetworks(except: nil)
    if let clash = configuration.aliases.clash(with: networks) { throw clash }
    // What an adapter that was killed has left: nobody else can have a connection to these addresses.
    _ = try? StrandedConnections.end(to: [configuration.aliases.v4, configuration.aliases.v6])
    let device = try TunDevice.open(named: name, for: configuration)
    let name = device.name
    let upkeep = DeviceUpkeep(
      open: { () throws(TunError) in try TunDevice.open(named: name, for: configuration) },
      repair: { (device: borrowing TunDevice) throws(TunError) in try device.repair(configuration) },
      name: name, report: onDevice,
      networks: { (device: borrowing TunDevice) throws(TunError) in
        try configuration.aliases.hostNetworks(except: device.index)
      })
    try self.init(device: device, configuration: configuration, upkeep: upkeep, onFlow: onFlow)
  }
}

extension TunDevice {
  /// Packets that may wait for the adapter's thread: TUN drops silently beyond. Enough for a full window of small
  /// segments on dozens of streams; super-segments need far fewer.
  static let queueLength = 4000

  /// Opens a device and gives it its addresses, from which the kernel derives the routes to all aliases.
  static func open(named name: String, for configuration: AdapterConfiguration) throws(TunError) -> TunDevice {
    let device = try TunDevice(opening: TunConfiguration(name: name))
    if let link = device.index {
      let network = try RouteSocket()
      try network.setMTU(configuration.mtu, link: link)
      try network.setQueueLength(queueLength, link: link)
      _ = try device.repair(configuration)
    }
    return device
  }

  /// Sees to it that the link is up, and that its addresses and the routes to all aliases are there.
  borrowing func repair(_ configuration: AdapterConfiguration) throws(TunError) -> [DeviceRepair] {
    guard let link = index else { return [] }
    let network = try RouteSocket()
    guard let state = try network.links().first(where: { $0.index == link }) else {
      throw TunError(call: "repair", device: name, cause: .system(ENODEV))
    }
    var repairs: [DeviceRepair] = []
    if !state.isUp {
      try network.setUp(true, link: link)
      repairs.append(.link)
    }
    let pool = configuration.aliases
    let wanted = [
      (LinkAddress(pool.own.v4, prefixLength: pool.v4.length, link: link), pool.v4),
      (LinkAddress(pool.own.v6, prefixLength: pool.v6.length, link: link), pool.v6),
    ]
    let addresses = try network.addresses()
    for (address, _) in wanted where !addresses.contains(address) {
      try network.add(address)
      repairs.append(.address(address.address))
    }
    // The kernel makes an IPv6 address usable a moment later, and drops packets until then.
    for _ in 0..<100 where try !network.isUsable(wanted[1].0) { Thread.sleep(.milliseconds(5)) }
    let routes = try network.routes()
    for (_, prefix) in wanted where !routes.contains(where: { $0.destination == prefix && $0.link == link }) {
      try network.add(Route(to: prefix, link: link))
      repairs.append(.route(prefix))
    }
    return repairs
  }
}
