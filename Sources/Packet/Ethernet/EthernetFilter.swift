import Primitives

/// Judges each frame between a PC and the network of devices, by a rule and by what has passed before. Both ends of a
/// tunnel have one.
///
/// A core without I/O: headers and a `now` go in, a verdict comes out. The rule is compiled to tables once; a frame costs
/// a few look-ups and no allocation. Memory is bounded, whatever frames come.
public struct EthernetFilter: ~Copyable {
  public let rule: EthernetRule
  /// Frames that passed, and were refused, by reason and direction.
  public private(set) var counters = EthernetCounters()
  /// Set once a loop was found: nothing passes any more.
  public private(set) var isCut = false

  let types: BitTable
  let tcpPorts: BitTable
  let udpPorts: BitTable
  var stations = StationTable(limit: Self.stationLimit, pcLimit: Self.pcLimit)
  /// What the PC has sent to a device, or to a group, by EtherType; and from which port to which, for UDP.
  var asked = RecentKeys(capacity: 1024, age: Self.replyTime)
  var askedPorts = RecentKeys(capacity: 4096, age: Self.replyTime)
  /// The other way round, where devices may begin.
  var askedOfPC: RecentKeys
  /// IPv4 addresses that devices have told by ARP.
  var owners = RecentKeys(capacity: 1024, age: StationTable.age)
  /// The address of the site's own host on the interface, which isn't heard there: no PC may have it.
  public var hostAddress: MACAddress?
  /// Of this end's own probes: one that comes back is a loop.
  public var probe: LoopProbe?
  private var probes = (toSite: TokenBucket(rate: LoopProbe.rate), toPC: TokenBucket(rate: LoopProbe.rate))
  /// Datagrams whose first fragment has passed.
  var fragments = RecentKeys(capacity: 256, age: Self.fragmentTime)
  private var broadcasts: (toSite: TokenBucket, toPC: TokenBucket)
  private var multicasts: (toSite: TokenBucket, toPC: TokenBucket)
  private var moves = MoveCount()

  /// Addresses that are learned in all, and behind the PC.
  public static let stationLimit = 1024
  public static let pcLimit = 16
  /// How long a device may answer. As long as a UDP flow is kept (RFC 4787 section 4.3).
  public static let replyTime = Interval.seconds(120)
  /// RFC 791 section 3.2.
  static let fragmentTime = Interval.seconds(15)

  public init(rule: EthernetRule) {
    self.rule = rule
    types = BitTable(rule.types.prefix(EthernetRule.typeLimit).map { $0.rawValue...$0.rawValue })
    tcpPorts = BitTable(rule.tcp)
    udpPorts = BitTable(rule.udp)
    askedOfPC = RecentKeys(capacity: rule.permitsOpeningToPC ? 4096 : 4, age: Self.replyTime)
    broadcasts = (TokenBucket(rate: rule.broadcastRate), TokenBucket(rate: rule.broadcastRate))
    multicasts = (TokenBucket(rate: rule.multicastRate), TokenBucket(rate: rule.multicastRate))
  }

  /// Judges a frame, and remembers what it means for those that follow.
  ///
  /// - Parameter bytes: the frame's beginning, with all headers up to the transport's: 512 bytes are enough.
  public mutating func judge(_ bytes: Span<UInt8>, _ direction: EthernetDirection, now: Instant) -> EthernetVerdict {
    guard !isCut else { return .cut(.loop) }
    if let probe = LoopProbe(parsing: bytes) { return judge(probe, direction, now: now) }
    let refusal = check(bytes, direction, now: now)
    counters.count(refusal, direction)
    guard let refusal else { return .pass }
    guard refusal == .movedAddress || refusal == .spoofedAddress, moves.isLoop(now: now) else {
      return .refuse(refusal)
    }
    isCut = true
    return .cut(.loop)
  }

  /// Probes are no frames of anybody: they aren't counted, and nothing is learned of them.
  private mutating func judge(
    _ found: LoopProbe, _ direction: EthernetDirection, now: Instant
  ) -> EthernetVerdict {
    if found == probe {
      isCut = true
      return .cut(.loop)
    }
    let isTaken = direction == .toSite ? probes.toSite.take(now: now) : probes.toPC.take(now: now)
    return isTaken ? .pass : .refuse(.tooManyBroadcasts)
  }

  private mutating func check(
    _ bytes: Span<UInt8>, _ direction: EthernetDirection, now: Instant
  ) -> EthernetRefusal? {
    let frame: ParsedFrame
    do throws(ParseError) {
      frame = try ParsedFrame(parsing: bytes)
    } catch {
      return error.reason == .tooManyHeaders ? .tooManyTags : .malformed
    }
    if frame.source.isMulticast || frame.source.value == 0 { return .badSource }
    if !permitsTags(of: frame) { return .vlanNotPermitted }
    if !(frame.type.isLength ? rule.permitsLength : types.contains(frame.type.rawValue)) { return .typeNotPermitted }
    if frame.destination.isBridgeProtocol, frame.type != .lldp { return .bridgeProtocol }
    if let refusal = checkStations(of: frame, direction, now: now) { return refusal }
    let refusal =
      switch frame.type {
      case .arp: checkARP(frame, bytes, direction, now: now)
      case .ipv4, .ipv6: checkIP(frame, bytes, direction, now: now)
      default: checkConversation(frame, direction, now: now)
      }
    if let refusal { return refusal }
    if let refusal = takeToken(frame.destination, direction, now: now) { return refusal }
    stations.learn(frame.source, on: direction == .toSite ? .pc : .site, now: now)
    return nil
  }

  /// Both tags have to be permitted: the provider's and the customer's own.
  private func permitsTags(of frame: ParsedFrame) -> Bool {
    guard !rule.vlans.isEmpty else { return true }
    let isOuter = rule.vlans.contains { $0.contains(frame.outer) }
    return isOuter && (frame.tagCount < 2 || rule.vlans.contains { $0.contains(frame.inner) })
  }

  /// Who speaks to whom: nobody takes the other side's addresses, and frames that stay on a side don't cross.
  private mutating func checkStations(
    of frame: ParsedFrame, _ direction: EthernetDirection, now: Instant
  ) -> EthernetRefusal? {
    let side = stations.side(of: frame.source, now: now)
    let isToGroup = frame.destination.isMulticast
    switch direction {
    case .toSite:
      if side == .site || frame.source == hostAddress
        || rule.devices.contains(where: { $0.length == 48 && $0.contains(frame.source) })
      {
        return .spoofedAddress
      }
      if !isToGroup, stations.side(of: frame.destination, now: now) == .pc { return .notForOtherSide }
      if !isToGroup, !isDevice(frame.destination) { return .deviceNotPermitted }
      if side == nil, !stations.hasRoomForPC(now: now) { return .tooManyAddresses }
    case .toPC:
      if side == .pc { return .movedAddress }
      if !isToGroup, stations.side(of: frame.destination, now: now) != .pc { return .notForOtherSide }
      if !isDevice(frame.source) { return .deviceNotPermitted }
    }
    return nil
  }

  private func isDevice(_ address: MACAddress) -> Bool {
    rule.devices.isEmpty || rule.devices.contains { $0.contains(address) }
  }

  /// Types other than ARP and IP: a device answers who has asked it, or a group. LLDP is heard in any case, since it is
  /// only ever told (IEEE 802.1AB section 5).
  private mutating func checkConversation(
    _ frame: ParsedFrame, _ direction: EthernetDirection, now: Instant
  ) -> EthernetRefusal? {
    // All lengths are one protocol.
    let type = UInt64(frame.type.isLength ? 0 : frame.type.rawValue) << 48
    let toGroup = type | MACAddress.broadcast.value
    switch direction {
    case .toSite:
      asked.note(frame.destination.isMulticast ? toGroup : type | frame.destination.value, now: now)
      return nil
    case .toPC:
      if rule.permitsOpeningToPC || frame.type == .lldp || asked.contains(toGroup, now: now)
        || asked.contains(type | frame.source.value, now: now)
      {
        return nil
      }
      return .opensTowardsPC
    }
  }

  private mutating func takeToken(
    _ destination: MACAddress, _ direction: EthernetDirection, now: Instant
  ) -> EthernetRefusal? {
    guard destination.isMulticast else { return nil }
    if destination.isBroadcast {
      let isTaken = direction == .toSite ? broadcasts.toSite.take(now: now) : broadcasts.toPC.take(now: now)
      return isTaken ? nil : .tooManyBroadcasts
    }
    let isTaken = direction == .toSite ? multicasts.toSite.take(now: now) : multicasts.toPC.take(now: now)
    return isTaken ? nil : .tooManyMulticasts
  }
}

extension MACAddress {
  /// 01:80:C2:00:00:00 to 0F: no bridge passes frames to these on (IEEE 802.1Q section 8.6.3).
  var isBridgeProtocol: Bool { value >> 4 == 0x0180_C200_0000 >> 4 }
}

/// A set of numbers of 16 bits.
struct BitTable {
  private var words: [UInt64]

  init(_ ranges: [ClosedRange<UInt16>]) {
    words = Array(repeating: 0, count: ranges.isEmpty ? 0 : 1024)
    for range in ranges {
      for value in range { words[Int(value >> 6)] |= 1 << UInt64(value & 63) }
    }
  }

  func contains(_ value: UInt16) -> Bool {
    !words.isEmpty && words[Int(value >> 6)] >> UInt64(value & 63) & 1 != 0
  }
}

/// Tells a loop from an address that has moved once: both sides show the same addresses again and again.
private struct MoveCount {
  private var count = 0
  private var since = Instant.zero

  /// So many within a second.
  private static let limit = 16

  mutating func isLoop(now: Instant) -> Bool {
    if now - since >= .seconds(1) {
      since = now
      count = 0
    }
    count += 1
    return count >= Self.limit
  }
}

/// What a filter has done, since it was made.
public struct EthernetCounters: Sendable {
  public private(set) var passedToSite: UInt64 = 0
  public private(set) var passedToPC: UInt64 = 0
  private var refusedToSite = [UInt64](repeating: 0, count: EthernetRefusal.allCases.count)
  private var refusedToPC = [UInt64](repeating: 0, count: EthernetRefusal.allCases.count)

  public init() {}

  mutating func count(_ refusal: EthernetRefusal?, _ direction: EthernetDirection) {
    switch (direction, refusal) {
    case (.toSite, nil): passedToSite &+= 1
    case (.toPC, nil): passedToPC &+= 1
    case (.toSite, let refusal?): refusedToSite[Int(refusal.rawValue)] &+= 1
    case (.toPC, let refusal?): refusedToPC[Int(refusal.rawValue)] &+= 1
    }
  }

  public func refused(_ refusal: EthernetRefusal, _ direction: EthernetDirection) -> UInt64 {
    direction == .toSite ? refusedToSite[Int(refusal.rawValue)] : refusedToPC[Int(refusal.rawValue)]
  }

  /// Refusals by reason; those that never occurred are left out.
  public func refusals(_ direction: EthernetDirection) -> [String: UInt64] {
    var found: [String: UInt64] = [:]
    for reason in EthernetRefusal.allCases where refused(reason, direction) > 0 {
      found["\(reason)"] = refused(reason, direction)
    }
    return found
  }
}
