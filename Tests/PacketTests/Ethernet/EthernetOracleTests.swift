import Packet
import Primitives
import Testing

/// The filter beside a slow one that knows the rules by other means.
struct EthernetOracleTests {
  @Test(arguments: [1, 2, 3, 4, 5] as [UInt64])
  func `100,000 random frames are judged alike`(seed: UInt64) {
    var random = SeededRandom(seed: seed)
    var passed = 0
    var reasons: Set<EthernetRefusal> = []
    for rule in EthernetOracle.rules {
      var filter = EthernetFilter(rule: rule)
      var oracle = EthernetOracle(rule: rule)
      var now = Instant.zero + .seconds(1000)
      for number in 0..<4000 {
        // Multiples of the time between two tokens at all rates, so that both count them alike.
        now = now + .milliseconds(random.chance(0.001) ? 40_000 : Int64(random.next() % 40) * 10)
        var frame = RandomFrames.next(&random)
        if random.chance(0.05) { frame = Array(frame.prefix(Int(random.next() % 60))) }
        let toSite = random.chance(0.55)
        let verdict = filter.judge(frame.span, toSite ? .toSite : .toPC, now: now)
        let expected = oracle.judge(frame, toSite: toSite, now: now)
        if verdict != expected {
          Issue.record("frame \(number) of seed \(seed): \(verdict), and \(expected) by the oracle: \(frame)")
          return
        }
        switch verdict {
        case .pass: passed += 1
        case .refuse(let reason), .cut(let reason): reasons.insert(reason)
        }
        // A loop ends a filter; another one begins.
        if filter.isCut {
          filter = EthernetFilter(rule: rule)
          oracle = EthernetOracle(rule: rule)
        }
      }
    }
    #expect(passed > 500)
    #expect(reasons.count >= 15, "reached only \(reasons)")
  }
}

/// Frames of a small world, so that they meet each other again.
enum RandomFrames {
  private static func pick<T>(_ choices: [T], _ random: inout SeededRandom) -> T {
    choices[Int(random.next() % UInt64(choices.count))]
  }

  private static let pcs = (0..<3).map { MACAddress(0x0200_0000_00A0 + $0) }
  private static let devices = [0x000E_8C00_0001, 0x000E_8C00_0002, 0x000E_8C00_0003, 0x0011_2200_0001].map {
    MACAddress($0)
  }
  private static let groups = [
    0xFFFF_FFFF_FFFF, 0x010E_CF00_0000, 0x0180_C200_0000, 0x0180_C200_000E, 0x0100_5E00_0001,
  ]
  .map { MACAddress($0) }
  private static let ports: [UInt16] = [53, 80, 81, 445, 4000, 4001]
  private static let v4 = ["192.168.0.9", "192.168.0.10", "10.0.0.1", "255.255.255.255", "224.0.0.1", "0.0.0.0"].map {
    IPAddress($0)!
  }
  private static let v6 = ["fd00::9", "fe80::1", "ff02::1"].map { IPAddress($0)! }

  static func next(_ random: inout SeededRandom) -> [UInt8] {
    let source = random.chance(0.02) ? pick(groups + [MACAddress(0)], &random) : pick(pcs + devices, &random)
    let destination = pick(pcs + devices + groups + groups, &random)
    let types: [EtherType] = [
      .profinet, .etherCAT, .lldp, .arp, .arp, .ipv4, .ipv4, .ipv4, .ipv6, .ipv6, EtherType(rawValue: 46),
    ]
    let type = pick(types, &random)
    var tags: [(EtherType, UInt16)] = []
    while tags.count < 3, random.chance(0.2) {
      tags.append((pick([.vlan, .serviceVLAN], &random), pick([0, 5, 7, 9, 0xE007, 10], &random)))
    }
    let payload: [UInt8] =
      switch type {
      case .arp:
        Frames.arp(
          operation: pick([1, 2, 2, 3], &random), sender: random.chance(0.8) ? source : pick(pcs, &random),
          senderAddress: pick(v4, &random), targetAddress: pick(v4, &random))
      case .ipv4:
        {
          let (number, body) = transport(isV4: true, source, &random)
          return Frames.ipv4(
            from: pick(v4, &random), to: pick(v4, &random), protocol: number,
            fragment: random.chance(0.7) ? 0 : pick([0x2000, 0x2001, 0x0002, 0x2004, 0x4000, 0x0004], &random),
            identification: pick([1, 2], &random),
            options: random.chance(0.9)
              ? [] : pick([[1, 1, 0, 0], [131, 3, 4, 0], [148, 4, 0, 0], [7, 9, 0, 0]], &random),
            payload: body)
        }()
      case .ipv6:
        {
          let (number, body) = transport(isV4: false, source, &random)
          let isPiece = random.chance(0.3)
          let field: UInt16 = pick([0, 1, 8, 9, 24, 33], &random)
          let piece = [number, 0] + Frames.half(field) + Frames.word(pick([1, 2], &random))
          return Frames.ipv6(
            from: pick(v6, &random), to: pick(v6, &random), next: isPiece ? 44 : number,
            hopLimit: pick([255, 64], &random), payload: (isPiece ? piece : []) + body)
        }()
      default: [UInt8](repeating: 1, count: 46)
      }
    return Frames.ethernet(from: source, to: destination, type: type, tags: tags, payload: payload)
  }

  private static func transport(isV4: Bool, _ sender: MACAddress, _ random: inout SeededRandom) -> (UInt8, [UInt8]) {
    let (source, destination) = (pick(ports, &random), pick(ports, &random))
    switch random.next() % 8 {
    case 0, 1, 2: return (6, Frames.tcp(from: source, to: destination, flags: pick([0x02, 0x12, 0x10], &random)))
    case 3, 4, 5: return (17, Frames.udp(from: source, to: destination))
    case 6:
      let types: [UInt8] = isV4 ? [0, 3, 5, 8, 11] : [1, 4, 128, 129, 133, 134, 135, 136, 137]
      let type = pick(types, &random)
      // Neighbor discovery within IPv4 is nothing of the kind.
      let number: UInt8 = isV4 && random.chance(0.8) ? 1 : 58
      guard type == 135 || type == 136 || number == 58 && random.chance(0.3) else {
        return (number, Frames.echo(type: type))
      }
      var body = Frames.neighbor(
        type: pick([135, 136], &random), target: pick(v6, &random),
        named: random.chance(0.7) ? sender : pick(devices, &random))
      if random.chance(0.1) { body.removeLast(Int(random.next() % 20)) }
      if body.count > 25, random.chance(0.1) { body[25] = 0 }
      return (number, body)
    default: return (47, [UInt8](repeating: 1, count: 20))
    }
  }
}
