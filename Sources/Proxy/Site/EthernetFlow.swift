import Framing
import Packet
import Primitives
import Tun

/// One Layer 2 connection on the site's side: an interface and what waits for it.
struct EthernetFlow: ~Copyable {
  let id: StreamID
  let agent: String
  let interface: String
  let rule: EthernetRule
  let since: Instant
  /// `nil` while the interface is down or gone.
  var port: EthernetInterface?
  var filter: EthernetFilter
  var inbox = FrameInbox()
  var state = EthernetLinkState(.gone)
  /// Frames may wait at the interface.
  var isReadable = false
  /// Since when the interface has no room for the first frame.
  var blockedSince: Instant?
  /// The stream's credit is used up: frames wait in the kernel, which counts those that it has no room for.
  var waitsForCredit = false
  /// Addresses behind the PC that the interface receives frames for.
  private var joined: [MACAddress] = []
  private var lastSource = MACAddress(0)
  var pace = RefusalPace()
  /// What captures want of its frames; `nil` until they are asked.
  var tap: FrameTap?
  var dropped: UInt64 = 0
  var bytesFromDevice: UInt64 = 0
  var bytesToDevice: UInt64 = 0
  /// Of ports that were closed.
  private var pastDrops: UInt64 = 0
  private var pastSuperSegments: UInt64 = 0

  init(id: StreamID, agent: String, interface: String, rule: EthernetRule, since: Instant) {
    self.id = id
    self.agent = agent
    self.interface = interface
    self.rule = rule
    self.since = since
    filter = EthernetFilter(rule: rule)
  }

  /// Opens the interface. What isn't there, or down, is a state and no error.
  mutating func open() throws(TunError) {
    var configuration = EthernetConfiguration(interface: interface, filter: rule.typeFilter)
    if let groups = rule.groups { configuration.groups = groups } else { configuration.receivesAllGroups = true }
    let opened = try EthernetInterface(opening: configuration)
    for address in joined { try opened.join(address) }
    filter.hostAddress = opened.address
    port = consume opened
    isReadable = true
  }

  mutating func close() {
    port?.countKernelDrops()
    pastDrops &+= port?.kernelDrops ?? 0
    if let counters = port?.counters {
      pastSuperSegments &+= counters.superSegmentsRead &+ counters.superSegmentsWritten
    }
    port = nil
    isReadable = false
  }

  /// Lets the interface receive what is sent to an address that the PC's side uses, unless it is its own.
  mutating func receive(for source: MACAddress) {
    guard source != lastSource else { return }
    lastSource = source
    guard !joined.contains(source), source != port?.address else { return }
    // The filter lets no more addresses through; those before may have been forgotten by it.
    if joined.count >= EthernetFilter.pcLimit {
      try? port?.leave(joined[0])
      joined.removeFirst()
    }
    joined.append(source)
    try? port?.join(source)
  }

  mutating func describe() -> EthernetStatus {
    var status = EthernetStatus(agent: agent, interface: interface, state: state)
    status.count(filter.counters)
    status.dropped = dropped
    status.kernelDrops = pastDrops &+ (port?.kernelDrops ?? 0)
    status.superSegments = pastSuperSegments
    if let counters = port?.counters {
      status.superSegments &+= counters.superSegmentsRead &+ counters.superSegmentsWritten
    }
    return status
  }
}

/// The Layer 2 connections of a session, and what tells of changes of their interfaces.
struct EthernetFlows: ~Copyable {
  var table = SlotTable<EthernetFlow>()
  /// In a list that is made when one comes or goes, not for each frame.
  private(set) var keys: [SlotID] = []
  /// Made with the first connection.
  var watcher: HostNetworkWatcher?
  /// When frames are to be sent again for which an interface had no room; `nil` if there are none.
  var retry: Instant?
  /// Whether a frame was left at an interface that can be read at once.
  var hasWork = false
  /// Whether an interface has to be opened, or its state told, without a change that the kernel would tell of.
  var needsRefresh = false

  /// Until a full interface is tried again, and how long.
  static let retryInterval = Interval.milliseconds(1)
  static let patience = Interval.seconds(1)
  /// Of a session: each is an open socket with a buffer of some MiB in the kernel.
  static let limit = 16
  /// Marks a poller's token.
  static let tokenBit: UInt64 = 1 << 63

  mutating func insert(_ flow: consuming EthernetFlow) -> SlotID {
    let key = table.insert(flow)
    keys = table.ids
    return key
  }

  mutating func remove(_ key: SlotID) -> EthernetFlow? {
    let flow = table.remove(key)
    keys = table.ids
    return flow
  }

  func key(of id: StreamID) -> SlotID? {
    for key in keys where table[key].id == id { return key }
    return nil
  }
}
