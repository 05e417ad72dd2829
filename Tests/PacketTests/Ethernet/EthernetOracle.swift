import Packet
import Primitives

/// The filter's rules again, slowly: with dictionaries that nothing is pushed out of, and bytes that are copied.
struct EthernetOracle {
  /// Rules that have, together, all that a rule can say.
  static let rules = [
    EthernetRule(types: [.profinet, .lldp, .arp, .ipv4, .ipv6], permitsLength: true, broadcastRate: 1000),
    EthernetRule(
      types: [.arp, .ipv4, .ipv6], devices: [MACPrefix("00:0e:8c")!], vlans: [0...0, 7...9],
      network: IPPrefix("192.168.0.0/24"), tcp: [80...80, 443...450], udp: [53...53], permitsPing: true,
      broadcastRate: 100, multicastRate: 10),
    EthernetRule(
      types: [.profinet, .ipv4, .ipv6], devices: [MACPrefix("00:0e:8c:00:00:01")!, MACPrefix("00:0e:8c:00:00:02")!],
      tcp: [80...80], udp: [53...60], permitsOpeningToPC: true),
    EthernetRule(
      types: [.ipv6, .arp], network: IPPrefix("fd00::/64"), tcp: [80...80], udp: [53...53], permitsPing: true,
      multicastRate: 1000),
    EthernetRule(types: [.etherCAT], vlans: [5...5], multicastRate: 0),
  ]

  let rule: EthernetRule
  private var stations: [UInt64: (isPC: Bool, seen: Instant)] = [:]
  private var asked: [String: Instant] = [:]
  private var fragments: [String: Instant] = [:]
  private var tokens: [String: (count: Double, since: Instant)] = [:]
  private var moves: (since: Instant, count: Int) = (.zero, 0)
  private(set) var isCut = false

  init(rule: EthernetRule) {
    self.rule = rule
  }

  mutating func judge(_ bytes: [UInt8], toSite: Bool, now: Instant) -> EthernetVerdict {
    if isCut { return .cut(.loop) }
    guard let refusal = refusal(bytes, toSite, now) else { return .pass }
    guard refusal == .movedAddress || refusal == .spoofedAddress else { return .refuse(refusal) }
    if now - moves.since >= .seconds(1) { moves = (now, 0) }
    moves.count += 1
    guard moves.count >= 16 else { return .refuse(refusal) }
    isCut = true
    return .cut(.loop)
  }

  private func number(_ bytes: [UInt8], _ range: Range<Int>) -> UInt64 {
    bytes[range].reduce(0) { $0 << 8 | UInt64($1) }
  }

  private func isFresh(_ time: Instant?, _ age: Interval, _ now: Instant) -> Bool {
    time.map { now - $0 < age } ?? false
  }

  private mutating func refusal(_ bytes: [UInt8], _ toSite: Bool, _ now: Instant) -> EthernetRefusal? {
    guard bytes.count >= 14 else { return .malformed }
    let (destination, source) = (MACAddress(number(bytes, 0..<6)), MACAddress(number(bytes, 6..<12)))
    var identifiers: [UInt16] = []
    var start = 12
    while [0x8100, 0x88A8].contains(number(bytes, start..<start + 2)) {
      if identifiers.count == 2 { return .tooManyTags }
      guard bytes.count >= start + 6 else { return .malformed }
      identifiers.append(UInt16(number(bytes, start + 2..<start + 4) & 0xFFF))
      start += 4
    }
    let type = EtherType(rawValue: UInt16(number(bytes, start..<start + 2)))
    let rest = Array(bytes[(start + 2)...])
    if source.value == 0 || source.value >> 40 & 1 == 1 { return .badSource }
    if !rule.vlans.isEmpty {
      for identifier in identifiers.isEmpty ? [0] : identifiers
      where !rule.vlans.contains(where: { $0.contains(identifier) }) {
        return .vlanNotPermitted
      }
    }
    let isLength = type.rawValue <= 1500
    if isLength ? !rule.permitsLength : !rule.types.contains(type) { return .typeNotPermitted }
    if (0x0180_C200_0000...0x0180_C200_000F).contains(destination.value), type != .lldp { return .bridgeProtocol }
    let isGroup = destination.value >> 40 & 1 == 1
    if let refusal = stations(source, destination, isGroup, toSite, now) { return refusal }
    let content: EthernetRefusal?
    if type == .arp {
      content = arp(rest, source, toSite, now)
    } else if type == .ipv4 || type == .ipv6 {
      content = ip(rest, source, isV4: type == .ipv4, isGroup, toSite, now)
    } else {
      let name = isLength ? "length" : "\(type.rawValue)"
      if toSite {
        asked["\(name) \(isGroup ? "group" : "\(destination)")"] = now
        content = nil
      } else {
        let isAnswer = ["\(name) group", "\(name) \(source)"].contains { isFresh(asked[$0], .seconds(120), now) }
        content = isAnswer || rule.permitsOpeningToPC || type == .lldp ? nil : .opensTowardsPC
      }
    }
    if let content { return content }
    if isGroup {
      let isBroadcast = destination == .broadcast
      let rate = isBroadcast ? rule.broadcastRate : rule.multicastRate
      if !take("\(isBroadcast) \(toSite)", rate, now) { return isBroadcast ? .tooManyBroadcasts : .tooManyMulticasts }
    }
    stations[source.value] = (toSite, now)
    return nil
  }

  private func stations(
    _ source: MACAddress, _ destination: MACAddress, _ isGroup: Bool, _ toSite: Bool, _ now: Instant
  ) -> EthernetRefusal? {
    let live = stations.filter { now - $0.value.seen < .seconds(300) }
    let isNamed = { (address: MACAddress) in
      rule.devices.isEmpty || rule.devices.contains { $0.contains(address) }
    }
    if toSite {
      if live[source.value]?.isPC == false { return .spoofedAddress }
      if rule.devices.contains(where: { $0.length == 48 && $0.address == source }) { return .spoofedAddress }
      if !isGroup, live[destination.value]?.isPC == true { return .notForOtherSide }
      if !isGroup, !isNamed(destination) { return .deviceNotPermitted }
      if live[source.value] == nil, live.count(where: { $0.value.isPC }) >= 16 { return .tooManyAddresses }
      return nil
    }
    if live[source.value]?.isPC == true { return .movedAddress }
    if !isGroup, live[destination.value]?.isPC != true { return .notForOtherSide }
    return isNamed(source) ? nil : .deviceNotPermitted
  }

  private mutating func arp(
    _ rest: [UInt8], _ source: MACAddress, _ toSite: Bool, _ now: Instant
  ) -> EthernetRefusal? {
    guard rest.count >= 28, Array(rest[0..<6]) == [0, 1, 8, 0, 6, 4], [1, 2].contains(number(rest, 6..<8)) else {
      return .malformed
    }
    if number(rest, 8..<14) != source.value { return .spoofedARP }
    let sender = IPAddress(v4: UInt32(number(rest, 14..<18)))
    let target = IPAddress(v4: UInt32(number(rest, 24..<28)))
    if toSite, isFresh(asked["owner \(sender)"], .seconds(300), now) { return .spoofedARP }
    if !toSite, sender.value == 0 { return nil }
    if let network = rule.network, network.address.family == .v4, !network.contains(toSite ? target : sender) {
      return .addressNotPermitted
    }
    if !toSite { asked["owner \(sender)"] = now }
    return nil
  }

  private mutating func take(_ name: String, _ rate: Int, _ now: Instant) -> Bool {
    guard rate > 0 else { return false }
    var bucket = tokens[name] ?? (Double(rate), now)
    bucket.count = min(Double(rate), bucket.count + (now - bucket.since).seconds * Double(rate))
    bucket.since = now
    defer { tokens[name] = bucket }
    // Times are whole parts of the interval between two tokens.
    guard bucket.count >= 0.999_999 else { return false }
    bucket.count -= 1
    return true
  }

  // MARK: IP

  private mutating func ip(
    _ rest: [UInt8], _ source: MACAddress, isV4: Bool, _ isGroup: Bool, _ toSite: Bool, _ now: Instant
  ) -> EthernetRefusal? {
    guard let packet = isV4 ? v4(rest) : v6(rest) else { return .malformed }
    let body = Array(rest[packet.offset...])
    if !isV4, packet.number == 58, packet.fragment == nil, let type = body.first, (133...137).contains(type) {
      return neighbor(packet, body, source, toSite)
    }
    if let network = rule.network {
      let far = toSite ? packet.destination : packet.source
      let isForAll = toSite && (far.isMulticast || far.isBroadcast)
      if !network.contains(far), !isForAll { return .addressNotPermitted }
    }
    guard let fragment = packet.fragment else { return transport(packet, body, isGroup, toSite, now) }
    let name = "\(packet.source) \(packet.destination) \(packet.number) \(fragment.identification)"
    if fragment.offset == 0 {
      if let refusal = transport(packet, body, isGroup, toSite, now) { return refusal }
      fragments[name] = now
      return nil
    }
    return fragment.offset >= (packet.number == 6 ? 20 : 8) && isFresh(fragments[name], .seconds(15), now)
      ? nil : .fragment
  }

  private func neighbor(_ packet: Packet, _ body: [UInt8], _ source: MACAddress, _ toSite: Bool) -> EthernetRefusal? {
    guard [135, 136].contains(body[0]), packet.hopLimit == 255 else { return .protocolNotPermitted }
    guard body.count >= 24, let target = IPAddress(bytes: Array(body[8..<24]).span) else { return .malformed }
    var options = Array(body[24...])
    while options.count >= 8 {
      if options[1] == 0 { return .malformed }
      if [1, 2].contains(options[0]), number(options, 2..<8) != source.value { return .spoofedARP }
      options = Array(options.dropFirst(Int(options[1]) * 8))
    }
    guard let network = rule.network else { return nil }
    let place = toSite == (body[0] == 135) ? target : toSite ? packet.destination : packet.source
    let isOther = toSite ? place.isMulticast && body[0] == 136 : place.isUnspecified && body[0] == 135
    return network.contains(place) || isOther ? nil : .addressNotPermitted
  }

  private struct Packet {
    var source, destination: IPAddress
    var number: UInt8
    var offset: Int
    var hopLimit: UInt8
    var fragment: (offset: Int, identification: UInt64)?
  }

  private func v4(_ rest: [UInt8]) -> Packet? {
    guard rest.count >= 20, rest[0] >> 4 == 4 else { return nil }
    let size = Int(rest[0] & 15) * 4
    guard size >= 20, rest.count >= size, number(rest, 2..<4) >= size else { return nil }
    var place = 20
    while place < size, rest[place] != 0 {
      if rest[place] == 131 || rest[place] == 137 { return nil }
      if rest[place] == 1 {
        place += 1
      } else {
        guard place + 1 < size, rest[place + 1] >= 2 else { return nil }
        place += Int(rest[place + 1])
      }
    }
    let field = number(rest, 6..<8)
    return Packet(
      source: IPAddress(v4: UInt32(number(rest, 12..<16))), destination: IPAddress(v4: UInt32(number(rest, 16..<20))),
      number: rest[9], offset: size, hopLimit: rest[8],
      fragment: field & 0x3FFF == 0 ? nil : (Int(field & 0x1FFF) * 8, number(rest, 4..<6)))
  }

  private func v6(_ rest: [UInt8]) -> Packet? {
    guard rest.count >= 40, rest[0] >> 4 == 6 else { return nil }
    let address = { (range: Range<Int>) in IPAddress(bytes: Array(rest[range]).span) }
    guard let source = address(8..<24), let destination = address(24..<40) else { return nil }
    var packet = Packet(
      source: source, destination: destination, number: rest[6], offset: 40, hopLimit: rest[7], fragment: nil)
    // The generator makes no chains but one fragment header.
    guard packet.number == 44 else { return packet }
    guard rest.count >= 48 else { return nil }
    let field = number(rest, 42..<44)
    packet.number = rest[40]
    packet.offset = 48
    if field & 0xFFF9 != 0 { packet.fragment = (Int(field & 0xFFF8), number(rest, 44..<48)) }
    return packet
  }

  private mutating func transport(
    _ packet: Packet, _ body: [UInt8], _ isGroup: Bool, _ toSite: Bool, _ now: Instant
  ) -> EthernetRefusal? {
    let isV4 = packet.source.family == .v4
    let permits = { (ranges: [ClosedRange<UInt16>], port: UInt64) in ranges.contains { $0.contains(UInt16(port)) } }
    let isOpen = rule.permitsOpeningToPC
    switch packet.number {
    case 6, 17:
      guard body.count >= (packet.number == 6 ? 20 : 8) else { return .malformed }
      let ranges = packet.number == 6 ? rule.tcp : rule.udp
      let (from, to) = (number(body, 0..<2), number(body, 2..<4))
      let (own, other) = toSite ? (from, to) : (to, from)
      let isService = permits(ranges, other)
      guard isService || (isOpen && permits(ranges, own)) else { return .portNotPermitted }
      if toSite, isService {
        if packet.number == 17 { asked["udp \(from) \(to) \(isGroup ? "group" : "\(packet.destination)")"] = now }
        return nil
      }
      if toSite {
        if packet.number == 6 { return body[13] & 0x12 == 2 ? .portNotPermitted : nil }
        return isFresh(asked["of PC \(own) \(other) \(packet.destination)"], .seconds(120), now)
          ? nil : .portNotPermitted
      }
      if packet.number == 17, !isService { asked["of PC \(own) \(other) \(packet.source)"] = now }
      guard isService, !isOpen else { return nil }
      if packet.number == 6 { return body[13] & 0x12 == 2 ? .opensTowardsPC : nil }
      let names = ["udp \(to) \(from) \(packet.source)", "udp \(to) \(from) group"]
      return names.contains { isFresh(asked[$0], .seconds(120), now) } ? nil : .opensTowardsPC
    case 1 where isV4, 58 where !isV4:
      guard body.count >= 8 else { return .malformed }
      if (isV4 ? [3, 11, 12] : [1, 2, 3, 4]).contains(body[0]) { return nil }
      let isRequest = body[0] == (isV4 ? 8 : 128)
      guard isRequest || body[0] == (isV4 ? 0 : 129), rule.permitsPing else { return .protocolNotPermitted }
      return isRequest && !toSite && !isOpen ? .opensTowardsPC : nil
    default: return .protocolNotPermitted
    }
  }
}
