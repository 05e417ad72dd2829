import Glibc
import Packet
import Primitives
import Proxy
import Tun

/// How the devices of Layer 2 agents are called.
public struct EthernetDevices: Hashable, Sendable {
  /// `%a` becomes the agent's name, `%d` the first free number; 15 bytes are kept.
  public var pattern: String
  /// How long a device stays without a connection to its site, so that its addresses outlive an outage.
  public var patience: Interval

  public init(pattern: String = "l2-%a", patience: Interval = .seconds(600)) {
    self.pattern = pattern
    self.patience = patience
  }

  /// The name to ask the kernel for.
  public func name(for agent: String) -> String {
    let parts = pattern.split(separator: "%a", maxSplits: 1, omittingEmptySubsequences: false)
    guard parts.count == 2 else { return String(pattern.prefix(15)) }
    let room = max(0, 15 - parts[0].utf8.count - parts[1].utf8.count)
    return String((parts[0] + agent.prefix(room) + parts[1]).prefix(15))
  }

  /// For when the name is taken.
  static let otherPattern = "l2-%d"
}

/// A Layer 2 agent on this side: a TAP device that stands for an interface of the site.
struct EthernetLink: ~Copyable {
  let site: String
  let agent: String
  let rule: EthernetRule
  /// Made when the site has opened the interface.
  private(set) var device: TunDevice?
  /// Of the device, while there is one.
  private(set) var descriptor: CInt?
  private(set) var deviceName = ""
  var filter: EthernetFilter
  var inbox = FrameInbox()
  /// The binding of its stream; `nil` while there is none.
  var binding: SlotID?
  var isOpen = false
  var state = EthernetLinkState(.gone)
  var problem: String?
  /// When a stream, or a device, is tried again.
  var nextAttempt: Instant?
  /// When it is forgotten, unless its site comes back.
  var deadline: Instant?
  var isReadable = false
  var waitsForCredit = false
  var pace = RefusalPace()
  /// What captures want of its frames; `nil` until they are asked.
  var tap: FrameTap?
  var dropped: UInt64 = 0

  /// When the next probe for loops is sent.
  private var nextProbe = Instant.zero

  init(site: String, agent: String, rule: EthernetRule) {
    self.site = site
    self.agent = agent
    self.rule = rule
    filter = Self.filter(by: rule)
  }

  /// What was learned, and a loop that was found, belong to a stream.
  mutating func renewFilter() {
    filter = Self.filter(by: rule)
  }

  private static func filter(by rule: EthernetRule) -> EthernetFilter {
    var filter = EthernetFilter(rule: rule)
    filter.probe = LoopProbe(identifier: .random(in: 0 ... .max))
    return filter
  }

  /// Until a loop is found that is there, at most.
  static let probeInterval = Interval.seconds(2)

  /// Sends a probe into the PC's network, if it is time. It goes no further than this host, unless the device is bridged.
  mutating func probeLoops(pool: inout SlabPool, now: Instant) throws(TunError) {
    guard isOpen, state.isUp, device != nil, now >= nextProbe, let probe = filter.probe else { return }
    nextProbe = now + Self.probeInterval
    _ = try device!.write(.none, header: probe.bytes.span, payload: Span(), pool: &pool)
  }

  var name: String { "\(site)/\(agent)" }

  /// Frames that may wait in the device, which drops silently beyond: a third of a second's at 50,000 a second, for
  /// frames that nobody sends again.
  static let queueLength = 16_000

  /// Makes the device and sets it up. It carries nothing before the site says that its interface does.
  mutating func openTap(_ devices: EthernetDevices) throws(TunError) -> String {
    var opened: TunDevice
    do throws(TunError) {
      opened = try TunDevice(opening: TunConfiguration(kind: .tap, name: devices.name(for: agent)))
    } catch {
      guard !error.isNotPermitted else { throw error }
      opened = try TunDevice(opening: TunConfiguration(kind: .tap, name: EthernetDevices.otherPattern))
    }
    let name = opened.name
    if let link = opened.index {
      // What this host would say of its own accord is refused by the rule anyway.
      if !rule.types.contains(.ipv6) { Self.silenceIPv6(on: name) }
      let network = try RouteSocket()
      if state.mtu > 0 { try network.setMTU(state.mtu, link: link) }
      try network.setQueueLength(Self.queueLength, link: link)
      opened.setCarrier(state.isUp && isOpen)
      try network.setUp(true, link: link)
    }
    descriptor = opened.descriptor
    deviceName = name
    device = consume opened
    isReadable = true
    return name
  }

  mutating func closeTap() {
    device = nil
    descriptor = nil
    deviceName = ""
    isReadable = false
  }

  private static func silenceIPv6(on name: String) {
    let fd = unsafe open("/proc/sys/net/ipv6/conf/\(name)/disable_ipv6", O_WRONLY | O_CLOEXEC)
    guard fd >= 0 else { return }
    _ = unsafe write(fd, "1", 1)
    close(fd)
  }

  /// Lets the device's carrier and MTU be those of the site's interface.
  mutating func show() {
    device?.setCarrier(state.isUp && isOpen)
    guard state.mtu > 0, let link = device?.index else { return }
    try? RouteSocket().setMTU(state.mtu, link: link)
  }

  mutating func read(into region: Slice, pool: inout SlabPool) throws(TunError) -> PacketRead {
    guard device != nil else { return .wouldBlock }
    return try device!.read(into: region, pool: &pool)
  }

  mutating func deliver(pool: inout SlabPool, now: Instant) throws(TunError) -> FrameInbox.Delivery {
    guard device != nil else {
      var nowhere = NoDevice()
      return try inbox.deliver(to: &nowhere, .toPC, filter: &filter, pool: &pool, now: now)
    }
    return try inbox.deliver(to: &device!, .toPC, filter: &filter, pool: &pool, now: now)
  }

  mutating func describe() -> EthernetStatus {
    var status = EthernetStatus(agent: agent, interface: deviceName, state: isOpen ? state : .init(.gone))
    status.site = site
    status.problem = problem
    status.count(filter.counters)
    status.dropped = dropped
    if let counters = device?.counters {
      status.superSegments = counters.superSegmentsRead &+ counters.superSegmentsWritten
    }
    return status
  }
}

/// The Layer 2 agents of connected sites.
struct EthernetLinks: ~Copyable {
  var table = SlotTable<EthernetLink>()
  /// In a list that is made when one comes or goes, not for each frame.
  private(set) var keys: [SlotID] = []
  /// Whether a frame was left at a device that can be read at once.
  var hasWork = false
  var nextSweep = Instant.zero

  /// Of an adapter: each is a device of this host.
  static let limit = 64
  /// Marks a poller's token.
  static let tokenBit: UInt64 = 1 << 63

  func key(site: String, agent: String) -> SlotID? {
    for key in keys where table[key].site == site && table[key].agent == agent { return key }
    return nil
  }

  mutating func insert(_ link: consuming EthernetLink) -> SlotID {
    let key = table.insert(link)
    keys = table.ids
    return key
  }

  mutating func remove(_ key: SlotID, pool: inout SlabPool) {
    guard table.contains(key) else { return }
    table[key].inbox.removeAll(pool: &pool)
    _ = table.remove(key)
    keys = table.ids
  }
}
