import FuzzDriver
import Packet
import Primitives

/// Ethernet frames between a PC and the devices' network, by the filter and by a slow one that knows the rules by other
/// means: the same verdict for each frame, whatever came before it.
@main enum BridgeTarget: FuzzTarget {
  static func run(_ bytes: UnsafeBufferPointer<UInt8>) {
    var script = Script(bytes)
    let rule = EthernetOracle.rules[script.choice(EthernetOracle.rules.count)]
    var filter = EthernetFilter(rule: rule)
    var oracle = EthernetOracle(rule: rule)
    var now = Instant.zero + .seconds(1000)
    var frames = 0
    while !script.isAtEnd, frames < 64, !filter.isCut {
      frames += 1
      let how = script.byte()
      // Multiples of the time between two tokens at all rates, so that both count them alike.
      now = now + .milliseconds(how & 0x1F == 0x1F ? 40_000 : Int64(how & 0x1F) * 10)
      var frame = frame(&script)
      if how & 0x60 == 0x60 { frame = [UInt8](frame.prefix(script.choice(64))) }
      if how & 0x60 == 0x40, !frame.isEmpty { frame[script.choice(256) % frame.count] = script.byte() }
      let toSite = how & 0x80 == 0
      // The oracle knows no chain of headers in IPv6 but one fragment header, as its generator makes none.
      if hasChain(frame) { continue }
      let verdict = filter.judge(frame.span, toSite ? .toSite : .toPC, now: now)
      let expected = oracle.judge(frame, toSite: toSite, now: now)
      check(verdict == expected, "\(verdict), and \(expected) by the oracle: \(frame)")
    }
  }

  private static func hasChain(_ frame: [UInt8]) -> Bool {
    guard let parsed = try? ParsedFrame(parsing: frame.span), parsed.type == .ipv6 else { return false }
    let start = parsed.payloadOffset
    guard frame.count > start + 40 else { return false }
    let chained: Set<UInt8> = [0, 43, 44, 50, 51, 60, 135, 139, 140, 253, 254]
    if frame[start + 6] == 44 { return chained.contains(frame[start + 40]) }
    return chained.contains(frame[start + 6])
  }

  private static let pcs = (0..<3).map { MACAddress(0x0200_0000_00A0 + $0) }
  private static let devices = [0x000E_8C00_0001, 0x000E_8C00_0002, 0x000E_8C00_0003, 0x0011_2200_0001].map {
    MACAddress($0)
  }
  private static let groups = [
    0xFFFF_FFFF_FFFF, 0x010E_CF00_0000, 0x0180_C200_0000, 0x0180_C200_000E, 0x0100_5E00_0001, 0,
  ].map { MACAddress($0) }
  private static let ports: [UInt16] = [53, 80, 81, 445, 4000, 4001]
  private static let v4 = ["192.168.0.9", "192.168.0.10", "10.0.0.1", "255.255.255.255", "224.0.0.1", "0.0.0.0"].map {
    IPAddress($0)!
  }
  private static let v6 = ["fd00::9", "fe80::1", "ff02::1"].map { IPAddress($0)! }

  private static func pick<T>(_ choices: [T], _ script: inout Script) -> T { choices[script.choice(choices.count)] }

  private static func frame(_ script: inout Script) -> [UInt8] {
    let all = pcs + devices + groups
    let (source, destination) = (pick(all, &script), pick(all, &script))
    let types: [EtherType] = [.profinet, .etherCAT, .lldp, .arp, .ipv4, .ipv6, EtherType(rawValue: 46)]
    let type = pick(types, &script)
    let tags: [(EtherType, UInt16)] = (0..<[0, 0, 0, 0, 1, 1, 2, 3][script.choice(8)]).map { _ in
      (pick([.vlan, .serviceVLAN], &script), pick([0, 5, 7, 9, 0xE007, 10], &script))
    }
    let payload: [UInt8]
    switch type {
    case .arp:
      payload = Frames.arp(
        operation: pick([1, 2, 3], &script), sender: script.flag() ? source : pick(pcs, &script),
        senderAddress: pick(v4, &script), targetAddress: pick(v4, &script))
    case .ipv4:
      let (number, body) = transport(isV4: true, &script)
      payload = Frames.ipv4(
        from: pick(v4, &script), to: pick(v4, &script), protocol: number,
        fragment: pick([0, 0, 0x2000, 0x2001, 0x0002, 0x2004, 0x4000, 0x0004], &script),
        identification: pick([1, 2], &script),
        options: pick([[], [], [1, 1, 0, 0], [131, 3, 4, 0], [148, 4, 0, 0], [7, 9, 0, 0]], &script), payload: body)
    case .ipv6:
      let (number, body) = transport(isV4: false, &script)
      let isPiece = script.flag()
      let piece = [number, 0] + Frames.half(pick([0, 1, 8, 9, 24, 33], &script)) + Frames.word(pick([1, 2], &script))
      payload = Frames.ipv6(
        from: pick(v6, &script), to: pick(v6, &script), next: isPiece ? 44 : number,
        hopLimit: pick([255, 64], &script),
        payload: (isPiece ? piece : []) + body)
    default: payload = [UInt8](repeating: 1, count: 46)
    }
    return Frames.ethernet(from: source, to: destination, type: type, tags: tags, payload: payload)
  }

  private static func transport(isV4: Bool, _ script: inout Script) -> (UInt8, [UInt8]) {
    let (source, destination) = (pick(ports, &script), pick(ports, &script))
    switch script.choice(5) {
    case 0: return (6, Frames.tcp(from: source, to: destination, flags: pick([0x02, 0x12, 0x10], &script)))
    case 1: return (17, Frames.udp(from: source, to: destination))
    case 2:
      let types: [UInt8] = isV4 ? [0, 3, 5, 8, 11] : [1, 4, 128, 129, 133, 134, 137]
      return (isV4 ? 1 : 58, Frames.echo(type: pick(types, &script)))
    case 3:
      // Neighbor discovery within IPv4 is nothing of the kind.
      let body = Frames.neighbor(
        type: pick([135, 136], &script), target: pick(v6, &script), named: pick(pcs + devices, &script))
      return (58, body)
    default: return (47, [UInt8](repeating: 1, count: 20))
    }
  }

  static var seeds: [[UInt8]] {
    // A PC asks a device, which answers; by each type.
    EthernetOracle.rules.indices.flatMap { rule in
      (UInt8(0)..<7).map { type in
        let rest = [UInt8](repeating: 0, count: 8)
        return [UInt8(rule), 1, 0, 3, type] + rest + [0x81, 3, 0, type] + rest + [
          2, 0, 7, type, 1, 1, 1, 1, 1, 1, 1, 1,
        ]
      }
    }
  }
}
