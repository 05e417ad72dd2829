import Control
import Discovery
import Kernel
import Packet
import Primitives
import Tun

/// The site's place on a devices' network while devices are looked for: raw frames, and a UDP port that is nobody else's.
struct DevicePort: ~Copyable {
  /// Frames that are read before anything else has its turn.
  private static let burst = 64

  private var interface: EthernetInterface
  private let poller: Poller
  private var pool: SlabPool
  private let region: Slice
  /// Holds the port, so that the kernel doesn't answer for it that nobody is there. What comes in is seen as frames, and
  /// fills no more than the least buffer.
  private let reservation: OwnedDescriptor
  private var isWatched = false
  let number: UInt16
  /// The interface's IPv4 addresses.
  let addresses: [(address: IPAddress, network: IPPrefix)]

  var mac: MACAddress { interface.address }

  init(_ name: String, for methods: Set<DiscoveryMethod>) throws(ControlMessage.Failure) {
    let interface = try Self.open(name, methods)
    let addresses = try Self.addresses(of: interface.index)
    let reservation = try Self.reserve()
    let poller = try Self.poller(for: interface)
    var pool = SlabPool(limit: 2)
    guard let region = pool.takeSlab() else { throw ControlMessage.Failure(.internalError, "no memory") }
    number = Socket.localEndpoint(reservation)?.port ?? 0
    self.addresses = addresses
    self.reservation = reservation
    self.poller = poller
    self.pool = pool
    self.region = region
    self.interface = interface
  }

  private static func open(
    _ name: String, _ methods: Set<DiscoveryMethod>
  ) throws(ControlMessage.Failure) -> EthernetInterface {
    do throws(TunError) {
      return try EthernetInterface(
        opening: EthernetConfiguration(
          interface: name, filter: EthernetTypeFilter(types: types(methods)), groups: groups(methods)))
    } catch {
      throw failure(error)
    }
  }

  private static func addresses(
    of link: Int
  ) throws(ControlMessage.Failure) -> [(address: IPAddress, network: IPPrefix)] {
    do throws(TunError) {
      return try RouteSocket().addresses().compactMap { address in
        guard address.link == link, address.address.family == .v4 else { return nil }
        return IPPrefix(address.address, length: address.prefixLength).map { (address.address, $0) }
      }
    } catch {
      throw failure(error)
    }
  }

  private static func reserve() throws(ControlMessage.Failure) -> OwnedDescriptor {
    do throws(SystemError) {
      let socket = try Socket.bindDatagram(.v4)
      try Socket.setReceiveBuffer(socket, bytes: 1)
      return socket
    } catch {
      throw ControlMessage.Failure(.internalError, "\(error)")
    }
  }

  private static func poller(for interface: borrowing EthernetInterface) throws(ControlMessage.Failure) -> Poller {
    do throws(SystemError) {
      let poller = try Poller()
      if let descriptor = interface.descriptor { try poller.add(descriptor, token: 0, for: .readable) }
      return poller
    } catch {
      throw ControlMessage.Failure(.internalError, "\(error)")
    }
  }

  /// Waits for a frame or until a deadline.
  ///
  /// - Throws: EPIPE once the asker is gone.
  mutating func wait(until deadline: Instant, besides asker: borrowing OwnedDescriptor) throws(SystemError) {
    if !isWatched {
      // Only that it is gone is of interest: what is asked next waits its turn.
      try poller.add(asker.rawValue, token: 1, for: [])
      isWatched = true
    }
    let count = try poller.wait(timeout: max(.zero, deadline - Clock.now))
    for index in 0..<count where poller.event(index).token == 1 {
      throw SystemError(call: "read", subject: "discovery stream", code: SystemError.connectionReset)
    }
  }

  mutating func readFrames(_ body: (Span<UInt8>, _ isChecked: Bool) -> Void) throws(TunError) {
    for _ in 0..<Self.burst {
      switch try interface.read(into: region, pool: &pool) {
      case .wouldBlock: return
      case .dropped: continue
      case .packet(let packet, let offload):
        // A super-segment is nothing that discovery reads.
        guard offload.segmentation == .none else { continue }
        pool.withSpan(packet) { body($0, offload.checksum != .complete) }
      }
    }
  }

  /// Sends a frame; one that the interface has no room for is lost, as on the wire.
  mutating func send(_ frame: [UInt8]) throws(TunError) {
    _ = try interface.send(frame.span)
  }

  private static func types(_ methods: Set<DiscoveryMethod>) -> [EtherType] {
    var types: [EtherType] = []
    if methods.contains(.dcp) { types.append(.profinet) }
    if methods.contains(.arp) { types.append(.arp) }
    if methods.contains(.lldp) { types.append(.lldp) }
    if methods.contains(where: \.needsAddress) { types.append(.ipv4) }
    return types
  }

  /// What the interface has to let through besides its own address and broadcasts: announcements.
  private static func groups(_ methods: Set<DiscoveryMethod>) -> [MACAddress] {
    var groups: [MACAddress] = []
    // Hello of PROFINET devices (IEC 61158-6-10).
    if methods.contains(.dcp) { groups.append(MACAddress(0x010E_CF00_0001)) }
    if methods.contains(.mdns) { groups.append(MACAddress(0x0100_5E00_00FB)) }
    if methods.contains(.ssdp) { groups.append(MACAddress(0x0100_5E7F_FFFA)) }
    // The nearest bridge, the nearest bridge that isn't a two-port relay, and the nearest customer bridge (IEEE 802.1AB,
    // clause 7.1).
    if methods.contains(.lldp) {
      groups += [0x0180_C200_000E, 0x0180_C200_0003, 0x0180_C200_0000].map { MACAddress($0) }
    }
    return groups
  }

  static func failure(_ error: TunError) -> ControlMessage.Failure {
    error.isNotPermitted
      ? ControlMessage.Failure(.internalError, "the site may not use its interface: \(error)")
      : ControlMessage.Failure(.other("noInterface"), "the site's interface can't be used: \(error)")
  }
}
