import Primitives

/// ARP and IP inside Ethernet: the rules that hold for agents of IP, for frames.
extension EthernetFilter {
  // MARK: ARP

  /// RFC 826: nobody speaks for the Ethernet address of another, the PC for no IP address that a device was heard to have,
  /// and neither side of others' networks.
  ///
  /// Devices may ask for the PC's address, or they couldn't answer it.
  mutating func checkARP(
    _ frame: ParsedFrame, _ bytes: Span<UInt8>, _ direction: EthernetDirection, now: Instant
  ) -> EthernetRefusal? {
    let start = frame.payloadOffset
    guard bytes.count >= start &+ 28, bytes.load32(start) == 0x0001_0800, bytes.load16(start &+ 4) == 0x0604 else {
      return .malformed
    }
    let operation = bytes.load16(start &+ 6)
    guard operation == 1 || operation == 2 else { return .malformed }
    let sender = MACAddress(UInt64(bytes.load32(start &+ 8)) << 16 | UInt64(bytes.load16(start &+ 12)))
    guard sender == frame.source else { return .spoofedARP }
    // Who looks for a conflict has no address yet (RFC 5227 section 2.1.1), and then nobody's is taken.
    let senderAddress = IPAddress(v4: bytes.load32(start &+ 14))
    let target = IPAddress(v4: bytes.load32(start &+ 24))
    let network = rule.network.flatMap { $0.address.family == .v4 ? $0 : nil }
    switch direction {
    case .toSite:
      if owners.contains(senderAddress.value64, now: now) { return .spoofedARP }
      return network?.contains(target) ?? true ? nil : .addressNotPermitted
    case .toPC:
      guard !senderAddress.isUnspecified else { return nil }
      guard network?.contains(senderAddress) ?? true else { return .addressNotPermitted }
      owners.note(senderAddress.value64, now: now)
      return nil
    }
  }

  // MARK: IP

  /// What is known of a packet behind its IP header.
  struct IPFields {
    var source: IPAddress
    var destination: IPAddress
    var number: UInt8
    /// Where the transport header begins, from the frame's first byte.
    var offset: Int
    var hopLimit: UInt8
    /// Whether the frame is for more than one station.
    var isToGroup = false
    /// Of a fragment: where it stands, and whose it is.
    var fragment: (offset: Int, identification: UInt32)?
  }

  mutating func checkIP(
    _ frame: ParsedFrame, _ bytes: Span<UInt8>, _ direction: EthernetDirection, now: Instant
  ) -> EthernetRefusal? {
    guard let fields = IPFields(parsing: bytes, of: frame) else { return .malformed }
    if frame.type == .ipv6, fields.number == IPProtocol.icmpv6, fields.fragment == nil,
      Self.isNeighborDiscovery(fields, bytes)
    {
      return checkNeighbors(frame, fields, bytes, direction)
    }
    if let network = rule.network, !isInNetwork(network, fields, direction) { return .addressNotPermitted }
    if let fragment = fields.fragment { return checkFragment(fields, fragment, bytes, direction, now: now) }
    return checkTransport(fields, bytes, direction, now: now)
  }

  /// The device's end has to be in the network; what the PC sends may be for a group, too.
  private func isInNetwork(_ network: IPPrefix, _ fields: IPFields, _ direction: EthernetDirection) -> Bool {
    switch direction {
    case .toSite:
      network.contains(fields.destination) || fields.destination.isMulticast || fields.destination.isBroadcast
    case .toPC: network.contains(fields.source)
    }
  }

  fileprivate static func parseV4(_ packet: Span<UInt8>) -> IPFields? {
    guard let header = try? IPv4Header(parsing: packet) else { return nil }
    var fields = IPFields(
      source: header.source, destination: header.destination, number: header.protocolNumber,
      offset: header.headerLength, hopLimit: header.timeToLive)
    if header.isFragment { fields.fragment = (header.fragmentOffset, UInt32(header.identification)) }
    // A route of the sender's own would lead out of the permitted network (RFC 7126 sections 4.3 and 4.4).
    return header.hasOptions && hasSourceRoute(packet.extracting(20..<header.headerLength)) ? nil : fields
  }

  private static func hasSourceRoute(_ options: Span<UInt8>) -> Bool {
    var offset = 0
    while offset < options.count {
      switch options[offset] {
      case 0: return false
      case 1: offset &+= 1
      case 131, 137: return true
      default:
        guard offset &+ 1 < options.count, options[offset &+ 1] >= 2 else { return true }
        offset &+= Int(options[offset &+ 1])
      }
    }
    return false
  }

  fileprivate static func parseV6(_ packet: Span<UInt8>) -> IPFields? {
    guard let header = try? IPv6Header(parsing: packet),
      let chain = try? IPv6ExtensionHeaders(
        parsing: packet.extracting(IPv6Header.size..<packet.count), nextHeader: header.nextHeader),
      !chain.hasUnknownHeader
    else { return nil }
    var fields = IPFields(
      source: header.source, destination: header.destination, number: chain.protocolNumber,
      offset: IPv6Header.size &+ chain.offset, hopLimit: header.hopLimit)
    if let piece = chain.fragment, !piece.isAtomic {
      // RFC 7112: what stands between the fragment header and the transport's would hide that.
      guard piece.offset != 0 || chain.offset == chain.fragmentOffset else { return nil }
      fields.fragment = (piece.offset, piece.identification)
    }
    return fields
  }

  private static func isNeighborDiscovery(_ fields: IPFields, _ bytes: Span<UInt8>) -> Bool {
    bytes.count > fields.offset && (133...137).contains(bytes[fields.offset])
  }

  /// Neighbor discovery (RFC 4861), which is to IPv6 what ARP is to IPv4: the same holds. Routers' words don't cross: who
  /// hears them would send everything there.
  private func checkNeighbors(
    _ frame: ParsedFrame, _ fields: IPFields, _ bytes: Span<UInt8>, _ direction: EthernetDirection
  ) -> EthernetRefusal? {
    let isSolicitation = bytes[fields.offset] == 135
    guard isSolicitation || bytes[fields.offset] == 136, fields.hopLimit == 255 else { return .protocolNotPermitted }
    // RFC 4861 sections 4.3 and 4.4: a target behind 8 bytes, then options.
    var place = fields.offset &+ 24
    guard bytes.count >= place, let target = IPAddress(bytes: bytes.extracting(fields.offset &+ 8..<place)) else {
      return .malformed
    }
    while place &+ 8 <= bytes.count {
      let size = Int(bytes[place &+ 1]) &* 8
      guard size > 0 else { return .malformed }
      // Source and target link-layer address.
      if bytes[place] == 1 || bytes[place] == 2 {
        let named = UInt64(bytes.load16(place &+ 2)) << 32 | UInt64(bytes.load32(place &+ 4))
        guard named == frame.source.value else { return .spoofedARP }
      }
      place &+= size
    }
    guard let network = rule.network else { return nil }
    // The device is whose address is asked for or told by it, or who asks, or whom an answer is for.
    let isPermitted =
      switch (direction, isSolicitation) {
      case (.toSite, true), (.toPC, false): network.contains(target)
      case (.toSite, false): network.contains(fields.destination) || fields.destination.isMulticast
      case (.toPC, true): network.contains(fields.source) || fields.source.isUnspecified
      }
    return isPermitted ? nil : .addressNotPermitted
  }

  /// The first fragment shows the ports and is judged by them; the others follow it, and may not write over its header
  /// (RFC 1858).
  private mutating func checkFragment(
    _ fields: IPFields, _ fragment: (offset: Int, identification: UInt32), _ bytes: Span<UInt8>,
    _ direction: EthernetDirection, now: Instant
  ) -> EthernetRefusal? {
    var key = RecentKeys.mix(UInt64(fragment.identification) << 8 | UInt64(fields.number))
    key = Self.mix(key, fields.source)
    key = Self.mix(key, fields.destination)
    if fragment.offset == 0 {
      if let refusal = checkTransport(fields, bytes, direction, now: now) { return refusal }
      fragments.note(key, now: now)
      return nil
    }
    let header = fields.number == IPProtocol.tcp ? TCPHeader.minimumSize : UDPHeader.size
    return fragment.offset >= header && fragments.contains(key, now: now) ? nil : .fragment
  }

  private static func mix(_ key: UInt64, _ address: IPAddress) -> UInt64 {
    let low = UInt64(truncatingIfNeeded: address.value)
    let high = UInt64(truncatingIfNeeded: address.value >> 64)
    return RecentKeys.mix(RecentKeys.mix(key ^ low) ^ high)
  }

  // MARK: Transports

  private mutating func checkTransport(
    _ fields: IPFields, _ bytes: Span<UInt8>, _ direction: EthernetDirection, now: Instant
  ) -> EthernetRefusal? {
    let left = bytes.count &- fields.offset
    switch fields.number {
    case IPProtocol.tcp:
      guard left >= TCPHeader.minimumSize else { return .malformed }
      return checkTCP(fields, bytes, direction)
    case IPProtocol.udp:
      guard left >= UDPHeader.size else { return .malformed }
      return checkUDP(fields, bytes, direction, now: now)
    case IPProtocol.icmp where fields.source.family == .v4, IPProtocol.icmpv6 where fields.source.family == .v6:
      guard left >= ICMPMessage.size else { return .malformed }
      return checkICMP(fields, bytes, direction)
    default: return .protocolNotPermitted
    }
  }

  private func checkTCP(_ fields: IPFields, _ bytes: Span<UInt8>, _ direction: EthernetDirection) -> EthernetRefusal? {
    let (source, destination) = (bytes.load16(fields.offset), bytes.load16(fields.offset &+ 2))
    // A SYN alone opens a connection; what else comes without one is reset (RFC 9293 section 3.10.7.1).
    let flags = bytes[fields.offset &+ 13]
    let opens = flags & 0x02 != 0 && flags & 0x10 == 0
    switch direction {
    case .toSite:
      // The PC answers a device's connection, and opens none from such a port.
      let isAnswer = rule.permitsOpeningToPC && tcpPorts.contains(source) && !opens
      return tcpPorts.contains(destination) || isAnswer ? nil : .portNotPermitted
    case .toPC:
      if tcpPorts.contains(source) {
        return opens && !rule.permitsOpeningToPC ? .opensTowardsPC : nil
      }
      return rule.permitsOpeningToPC && tcpPorts.contains(destination) ? nil : .portNotPermitted
    }
  }

  /// UDP has no SYN: an answer is what comes to a port that was asked from, from the port that was asked.
  private mutating func checkUDP(
    _ fields: IPFields, _ bytes: Span<UInt8>, _ direction: EthernetDirection, now: Instant
  ) -> EthernetRefusal? {
    let (source, destination) = (bytes.load16(fields.offset), bytes.load16(fields.offset &+ 2))
    switch direction {
    case .toSite:
      guard udpPorts.contains(destination) else {
        let key = Self.portKey(pc: source, device: destination, fields.destination)
        return rule.permitsOpeningToPC && askedOfPC.contains(key, now: now) ? nil : .portNotPermitted
      }
      let device = fields.isToGroup ? nil : fields.destination
      askedPorts.note(Self.portKey(pc: source, device: destination, device), now: now)
      return nil
    case .toPC:
      guard udpPorts.contains(source) else {
        guard rule.permitsOpeningToPC, udpPorts.contains(destination) else { return .portNotPermitted }
        askedOfPC.note(Self.portKey(pc: destination, device: source, fields.source), now: now)
        return nil
      }
      if rule.permitsOpeningToPC
        || askedPorts.contains(Self.portKey(pc: destination, device: source, fields.source), now: now)
        || askedPorts.contains(Self.portKey(pc: destination, device: source, nil), now: now)
      {
        return nil
      }
      return .opensTowardsPC
    }
  }

  /// - Parameter address: `nil` for what more than one device may answer.
  private static func portKey(pc: UInt16, device: UInt16, _ address: IPAddress?) -> UInt64 {
    let ports = UInt64(pc) << 16 | UInt64(device) | (address == nil ? 1 << 32 : 0)
    return address.map { mix(RecentKeys.mix(ports), $0) } ?? RecentKeys.mix(ports)
  }

  /// Echo requests to devices and their answers, and errors either way. Never a redirect.
  private func checkICMP(_ fields: IPFields, _ bytes: Span<UInt8>, _ direction: EthernetDirection) -> EthernetRefusal? {
    let isV4 = fields.source.family == .v4
    let type = bytes[fields.offset]
    let (request, reply): (UInt8, UInt8) = isV4 ? (8, 0) : (128, 129)
    switch type {
    case request where direction == .toSite, reply where direction == .toPC:
      return rule.permitsPing ? nil : .protocolNotPermitted
    case request, reply:
      guard rule.permitsPing else { return .protocolNotPermitted }
      return rule.permitsOpeningToPC || type == reply ? nil : .opensTowardsPC
    case 3 where isV4, 11 where isV4, 12 where isV4: return nil
    case 1...4 where !isV4: return nil
    default: return .protocolNotPermitted
    }
  }
}

extension EthernetFilter.IPFields {
  /// What is behind a frame's IP header; `nil` if it is malformed, or hides something.
  init?(parsing bytes: Span<UInt8>, of frame: ParsedFrame) {
    let packet = bytes.extracting(frame.payloadOffset..<bytes.count)
    guard let fields = frame.type == .ipv4 ? EthernetFilter.parseV4(packet) : EthernetFilter.parseV6(packet) else {
      return nil
    }
    self = fields
    offset &+= frame.payloadOffset
    isToGroup = frame.destination.isMulticast
  }
}

extension IPAddress {
  /// An IPv4 address as a key.
  fileprivate var value64: UInt64 { UInt64(truncatingIfNeeded: value) }
}
