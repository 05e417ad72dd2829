import Packet
import Primitives
import Testing

struct EthernetFilterTests {
  private static let ports: ClosedRange<UInt16> = 80...80

  /// A filter, a clock, and frames that are judged one after the other.
  struct Bench: ~Copyable {
    var filter: EthernetFilter
    var now = Instant.zero + .seconds(1)

    init(_ rule: EthernetRule) {
      filter = EthernetFilter(rule: rule)
    }

    mutating func toSite(_ frame: [UInt8]) -> EthernetVerdict { filter.judge(frame.span, .toSite, now: now) }
    mutating func toPC(_ frame: [UInt8]) -> EthernetVerdict { filter.judge(frame.span, .toPC, now: now) }
  }

  private static func fromDevice(_ type: EtherType, to destination: MACAddress = Frames.pc, _ payload: [UInt8])
    -> [UInt8]
  {
    Frames.ethernet(from: Frames.device, to: destination, type: type, payload: payload)
  }

  @Test func `only types that the rule names pass`() {
    var bench = Bench(EthernetRule(types: [.profinet]))
    #expect(bench.toSite(Frames.ethernet()) == .pass)
    #expect(bench.toSite(Frames.ethernet(type: .etherCAT)) == .refuse(.typeNotPermitted))
    #expect(bench.toSite(Frames.ethernet(type: EtherType(rawValue: 46))) == .refuse(.typeNotPermitted))
    var withLength = Bench(EthernetRule(types: [], permitsLength: true))
    #expect(withLength.toSite(Frames.ethernet(type: EtherType(rawValue: 46))) == .pass)
    #expect(withLength.toSite(Frames.ethernet()) == .refuse(.typeNotPermitted))
    let counters = bench.filter.counters
    #expect(counters.refused(.typeNotPermitted, .toSite) == 2)
    #expect(counters.passedToSite == 1)
    #expect(counters.refusals(.toSite) == ["EtherType not permitted": 2])
  }

  @Test func `a device answers, and doesn't begin`() {
    var bench = Bench(EthernetRule(types: [.profinet, .lldp]))
    let answer = Self.fromDevice(.profinet, [1, 2, 3])
    let announcement = Self.fromDevice(.lldp, to: MACAddress(0x0180_C200_000E), [1, 2, 3])
    #expect(bench.toPC(Self.fromDevice(.profinet, to: .broadcast, [1])) == .refuse(.opensTowardsPC))
    #expect(bench.toPC(announcement) == .pass)
    // Nobody knows the PC yet.
    #expect(bench.toPC(answer) == .refuse(.notForOtherSide))
    #expect(bench.toSite(Frames.ethernet(type: .lldp)) == .pass)
    #expect(bench.toPC(answer) == .refuse(.opensTowardsPC))
    #expect(bench.toSite(Frames.ethernet(to: MACAddress(0x010E_CF00_0000))) == .pass)
    #expect(bench.toPC(answer) == .pass)
    bench.now = bench.now + EthernetFilter.replyTime
    #expect(bench.toPC(answer) == .refuse(.opensTowardsPC))
    var open = Bench(EthernetRule(types: [.profinet], permitsOpeningToPC: true))
    #expect(open.toPC(Self.fromDevice(.profinet, to: .broadcast, [1])) == .pass)
  }

  @Test func `tags are looked through, and their VLANs are permitted or not`() {
    var bench = Bench(EthernetRule(types: [.profinet], vlans: [5...6]))
    let (vlan, service) = (EtherType.vlan, EtherType.serviceVLAN)
    #expect(bench.toSite(Frames.ethernet(tags: [(vlan, 5)])) == .pass)
    #expect(bench.toSite(Frames.ethernet(tags: [(vlan, 0xC006)])) == .pass)
    #expect(bench.toSite(Frames.ethernet(tags: [(service, 5), (vlan, 6)])) == .pass)
    #expect(bench.toSite(Frames.ethernet(tags: [(service, 5), (vlan, 7)])) == .refuse(.vlanNotPermitted))
    #expect(bench.toSite(Frames.ethernet()) == .refuse(.vlanNotPermitted))
    #expect(bench.toSite(Frames.ethernet(tags: [(vlan, 5), (vlan, 5), (vlan, 5)])) == .refuse(.tooManyTags))
    #expect(bench.toSite(Frames.ethernet(type: .etherCAT, tags: [(vlan, 5)])) == .refuse(.typeNotPermitted))
    #expect(bench.toSite([UInt8](repeating: 2, count: 13)) == .refuse(.malformed))
  }

  @Test func `devices are named by address or manufacturer`() {
    let stranger = MACAddress(0x0011_2200_0001)
    var bench = Bench(EthernetRule(types: [.profinet], devices: [MACPrefix("00:0e:8c")!]))
    #expect(bench.toSite(Frames.ethernet()) == .pass)
    #expect(bench.toSite(Frames.ethernet(to: stranger)) == .refuse(.deviceNotPermitted))
    #expect(bench.toPC(Self.fromDevice(.profinet, [1])) == .pass)
    #expect(bench.toPC(Frames.ethernet(from: stranger, to: Frames.pc)) == .refuse(.deviceNotPermitted))
    var exact = Bench(EthernetRule(types: [.profinet], devices: [MACPrefix(Frames.device)!]))
    #expect(exact.toSite(Frames.ethernet(from: Frames.device, to: .broadcast)) == .refuse(.spoofedAddress))
  }

  @Test func `no side takes the other's addresses`() {
    var bench = Bench(EthernetRule(types: [.profinet]))
    #expect(bench.toSite(Frames.ethernet(to: .broadcast)) == .pass)
    #expect(bench.toPC(Self.fromDevice(.profinet, [1])) == .pass)
    #expect(bench.toSite(Frames.ethernet(from: Frames.device, to: .broadcast)) == .refuse(.spoofedAddress))
    #expect(bench.toPC(Frames.ethernet(from: Frames.pc, to: .broadcast)) == .refuse(.movedAddress))
    #expect(bench.toSite(Frames.ethernet(from: .broadcast)) == .refuse(.badSource))
    #expect(bench.toSite(Frames.ethernet(from: MACAddress(0))) == .refuse(.badSource))
    // What PCs say among each other stays there, and so does what devices do.
    #expect(
      bench.toSite(Frames.ethernet(from: MACAddress(0x0200_0000_00A1), to: Frames.pc)) == .refuse(.notForOtherSide))
    #expect(bench.toPC(Self.fromDevice(.profinet, to: MACAddress(0x000E_8C00_0002), [1])) == .refuse(.notForOtherSide))
    // An address that nobody has used for five minutes is anybody's.
    bench.now = bench.now + .seconds(301)
    #expect(bench.toSite(Frames.ethernet(from: Frames.device, to: .broadcast)) == .pass)
  }

  @Test func `the same addresses on both sides, again and again, are a loop`() {
    var bench = Bench(EthernetRule(types: [.profinet]))
    #expect(bench.toSite(Frames.ethernet(to: .broadcast)) == .pass)
    let echoed = Frames.ethernet(from: Frames.pc, to: .broadcast)
    for _ in 0..<15 { #expect(bench.toPC(echoed) == .refuse(.movedAddress)) }
    #expect(bench.toPC(echoed) == .cut(.loop))
    let isCut = bench.filter.isCut
    #expect(isCut)
    #expect(bench.toSite(Frames.ethernet()) == .cut(.loop))
    // A few now and then are none.
    var slow = Bench(EthernetRule(types: [.profinet]))
    _ = slow.toSite(Frames.ethernet(to: .broadcast))
    for _ in 0..<100 {
      slow.now = slow.now + .milliseconds(100)
      #expect(slow.toPC(echoed) == .refuse(.movedAddress))
      _ = slow.toSite(Frames.ethernet(to: .broadcast))
    }
  }

  @Test func `addresses are learned up to a bound, and the PC's aren't pushed out`() {
    var bench = Bench(EthernetRule(types: [.profinet], permitsOpeningToPC: true, broadcastRate: 1_000_000))
    for number in 0..<EthernetFilter.pcLimit {
      #expect(
        bench.toSite(Frames.ethernet(from: MACAddress(0x0200_0000_0100 + UInt64(number)), to: .broadcast)) == .pass)
    }
    let oneMore = Frames.ethernet(from: MACAddress(0x0200_0000_0200), to: .broadcast)
    #expect(bench.toSite(oneMore) == .refuse(.tooManyAddresses))
    for number in 0..<UInt64(5000) {
      bench.now = bench.now + .milliseconds(1)
      let flood = Frames.ethernet(from: MACAddress(0x000E_8C10_0000 + number), to: .broadcast)
      #expect(bench.toPC(flood) == .pass)
    }
    #expect(bench.toPC(Frames.ethernet(from: MACAddress(0x0200_0000_0100), to: .broadcast)) == .refuse(.movedAddress))
    bench.now = bench.now + .seconds(301)
    #expect(bench.toSite(oneMore) == .pass)
  }

  @Test func `broadcasts and multicasts have their rates`() {
    var bench = Bench(EthernetRule(types: [.profinet], broadcastRate: 10, multicastRate: 20))
    let group = MACAddress(0x010E_CF00_0000)
    let passed = { (bench: inout Bench, address: MACAddress) in
      (0..<100).count { _ in bench.toSite(Frames.ethernet(to: address)) == .pass }
    }
    #expect(passed(&bench, .broadcast) == 10)
    #expect(passed(&bench, group) == 20)
    #expect(bench.toSite(Frames.ethernet(to: .broadcast)) == .refuse(.tooManyBroadcasts))
    #expect(bench.toSite(Frames.ethernet(to: group)) == .refuse(.tooManyMulticasts))
    #expect(bench.toSite(Frames.ethernet()) == .pass)
    // The other direction has its own.
    #expect(bench.toPC(Self.fromDevice(.profinet, to: .broadcast, [1])) == .pass)
    bench.now = bench.now + .milliseconds(500)
    #expect(passed(&bench, .broadcast) == 5)
    var none = Bench(EthernetRule(types: [.profinet], broadcastRate: 0))
    #expect(none.toSite(Frames.ethernet(to: .broadcast)) == .refuse(.tooManyBroadcasts))
  }

  @Test func `what bridges say among each other doesn't cross`() {
    var bench = Bench(EthernetRule(types: [.profinet], permitsLength: true, permitsOpeningToPC: true))
    let bridges = MACAddress(0x0180_C200_0000)
    #expect(bench.toSite(Frames.ethernet(to: bridges, type: EtherType(rawValue: 38))) == .refuse(.bridgeProtocol))
    #expect(bench.toPC(Self.fromDevice(EtherType(rawValue: 38), to: bridges, [1])) == .refuse(.bridgeProtocol))
    #expect(bench.toSite(Frames.ethernet(to: MACAddress(0x0180_C200_0010))) == .pass)
  }

  @Test func `ARP speaks for its own addresses only`() {
    var bench = Bench(EthernetRule(types: [.arp], network: IPPrefix("192.168.0.0/24")))
    let question = Frames.arp(sender: Frames.pc, senderAddress: Frames.pcAddress, targetAddress: Frames.deviceAddress)
    #expect(bench.toSite(Frames.ethernet(to: .broadcast, type: .arp, payload: question)) == .pass)
    let answer = Frames.arp(
      operation: 2, sender: Frames.device, senderAddress: Frames.deviceAddress, targetAddress: Frames.pcAddress)
    #expect(bench.toPC(Self.fromDevice(.arp, answer)) == .pass)
    // To answer, a device asks for the PC as well.
    #expect(bench.toPC(Self.fromDevice(.arp, to: .broadcast, answer)) == .pass)
    let stolen = Frames.arp(
      sender: Frames.device, senderAddress: Frames.pcAddress, targetAddress: Frames.deviceAddress)
    #expect(bench.toSite(Frames.ethernet(to: .broadcast, type: .arp, payload: stolen)) == .refuse(.spoofedARP))
    let elsewhere = Frames.arp(
      sender: Frames.pc, senderAddress: Frames.pcAddress, targetAddress: IPAddress("10.0.0.1")!)
    #expect(
      bench.toSite(Frames.ethernet(to: .broadcast, type: .arp, payload: elsewhere)) == .refuse(.addressNotPermitted))
    let foreign = Frames.arp(
      sender: Frames.device, senderAddress: IPAddress("10.0.0.1")!, targetAddress: Frames.pcAddress)
    #expect(bench.toPC(Self.fromDevice(.arp, foreign)) == .refuse(.addressNotPermitted))
    #expect(bench.toSite(Frames.ethernet(to: .broadcast, type: .arp, payload: [0, 1])) == .refuse(.malformed))
  }

  private static let ipRule = EthernetRule(
    types: [.ipv4, .ipv6], network: IPPrefix("192.168.0.0/24"), tcp: [80...80], udp: [53...53], permitsPing: true)

  private static func ip(_ packet: [UInt8]) -> [UInt8] { Frames.ethernet(type: .ipv4, payload: packet) }

  @Test func `TCP goes to permitted ports, and devices open none`() {
    var bench = Bench(Self.ipRule)
    #expect(bench.toSite(Self.ip(Frames.ipv4(protocol: 6, payload: Frames.tcp(from: 5000, to: 80, flags: 2)))) == .pass)
    #expect(
      bench.toSite(Self.ip(Frames.ipv4(protocol: 6, payload: Frames.tcp(from: 5000, to: 81))))
        == .refuse(.portNotPermitted))
    #expect(
      bench.toSite(
        Self.ip(Frames.ipv4(to: IPAddress("10.0.0.1")!, protocol: 6, payload: Frames.tcp(from: 5000, to: 80))))
        == .refuse(.addressNotPermitted))
    let answer = { (flags: UInt8, port: UInt16) in
      Self.fromDevice(
        .ipv4,
        Frames.ipv4(
          from: Frames.deviceAddress, to: Frames.pcAddress, protocol: 6,
          payload: Frames.tcp(from: port, to: 5000, flags: flags)))
    }
    #expect(bench.toPC(answer(0x12, 80)) == .pass)
    #expect(bench.toPC(answer(0x10, 80)) == .pass)
    #expect(bench.toPC(answer(0x02, 80)) == .refuse(.opensTowardsPC))
    #expect(bench.toPC(answer(0x10, 81)) == .refuse(.portNotPermitted))
    #expect(bench.toSite(Self.ip(Frames.ipv4(protocol: 47, payload: [1, 2, 3, 4]))) == .refuse(.protocolNotPermitted))
    #expect(bench.toSite(Self.ip([0x45, 0])) == .refuse(.malformed))
    let routed = Frames.ipv4(
      protocol: 6, options: [131, 7, 4, 10, 0, 0, 1, 0], payload: Frames.tcp(from: 5000, to: 80))
    #expect(bench.toSite(Self.ip(routed)) == .refuse(.malformed))
  }

  @Test func `what devices may open, the PC answers and doesn't open itself`() {
    var bench = Bench(
      EthernetRule(types: [.ipv4], tcp: [102...102], udp: [161...161], permitsOpeningToPC: true))
    let toSite = { (number: UInt8, payload: [UInt8]) in Self.ip(Frames.ipv4(protocol: number, payload: payload)) }
    let toPC = { (number: UInt8, payload: [UInt8]) in
      Self.fromDevice(
        .ipv4, Frames.ipv4(from: Frames.deviceAddress, to: Frames.pcAddress, protocol: number, payload: payload))
    }
    #expect(bench.toSite(toSite(6, Frames.tcp(from: 102, to: 22, flags: 0x02))) == .refuse(.portNotPermitted))
    #expect(bench.toSite(toSite(17, Frames.udp(from: 161, to: 69))) == .refuse(.portNotPermitted))
    // Its own address is known at the site by a frame that passes.
    #expect(bench.toSite(toSite(6, Frames.tcp(from: 5000, to: 102, flags: 0x02))) == .pass)
    #expect(bench.toPC(toPC(6, Frames.tcp(from: 4000, to: 102, flags: 0x02))) == .pass)
    #expect(bench.toSite(toSite(6, Frames.tcp(from: 102, to: 4000, flags: 0x12))) == .pass)
    #expect(bench.toPC(toPC(17, Frames.udp(from: 4000, to: 161))) == .pass)
    #expect(bench.toSite(toSite(17, Frames.udp(from: 161, to: 4000))) == .pass)
    #expect(bench.toSite(toSite(17, Frames.udp(from: 161, to: 4001))) == .refuse(.portNotPermitted))
  }

  @Test func `the site's own host, and devices' IP addresses, are nobody else's`() {
    var bench = Bench(EthernetRule(types: [.profinet, .arp]))
    bench.filter.hostAddress = MACAddress(0x0200_0000_00BB)
    #expect(bench.toSite(Frames.ethernet(from: MACAddress(0x0200_0000_00BB))) == .refuse(.spoofedAddress))
    let arp = { (sender: MACAddress, address: IPAddress, target: IPAddress, to: MACAddress) in
      Frames.ethernet(
        from: sender, to: to, type: .arp,
        payload: Frames.arp(sender: sender, senderAddress: address, targetAddress: target))
    }
    #expect(bench.toSite(arp(Frames.pc, Frames.pcAddress, Frames.deviceAddress, .broadcast)) == .pass)
    #expect(bench.toPC(arp(Frames.device, Frames.deviceAddress, Frames.pcAddress, Frames.pc)) == .pass)
    #expect(
      bench.toSite(arp(Frames.pc, Frames.deviceAddress, IPAddress("192.168.0.1")!, .broadcast)) == .refuse(.spoofedARP))
    bench.now = bench.now + .seconds(301)
    #expect(bench.toSite(arp(Frames.pc, Frames.deviceAddress, IPAddress("192.168.0.1")!, .broadcast)) == .pass)
  }

  @Test func `UDP is answered where it was asked`() {
    var bench = Bench(Self.ipRule)
    let answer = { (port: UInt16) in
      Self.fromDevice(
        .ipv4,
        Frames.ipv4(
          from: Frames.deviceAddress, to: Frames.pcAddress, protocol: 17, payload: Frames.udp(from: 53, to: port)))
    }
    #expect(bench.toSite(Self.ip(Frames.ipv4(protocol: 17, payload: Frames.udp(from: 4000, to: 53)))) == .pass)
    #expect(bench.toPC(answer(4000)) == .pass)
    #expect(bench.toPC(answer(4001)) == .refuse(.opensTowardsPC))
    // Whoever asks all is answered by anybody.
    let question = Frames.ipv4(to: IPAddress("192.168.0.255")!, protocol: 17, payload: Frames.udp(from: 4001, to: 53))
    #expect(bench.toSite(Frames.ethernet(to: .broadcast, type: .ipv4, payload: question)) == .pass)
    #expect(bench.toPC(answer(4001)) == .pass)
    #expect(
      bench.toSite(Self.ip(Frames.ipv4(protocol: 17, payload: Frames.udp(from: 4000, to: 54))))
        == .refuse(.portNotPermitted))
  }

  @Test func `echo goes one way, and redirects go none`() {
    var bench = Bench(Self.ipRule)
    let fromDevice = { (type: UInt8) in
      Self.fromDevice(
        .ipv4,
        Frames.ipv4(from: Frames.deviceAddress, to: Frames.pcAddress, protocol: 1, payload: Frames.echo(type: type)))
    }
    #expect(bench.toSite(Self.ip(Frames.ipv4(protocol: 1, payload: Frames.echo(type: 8)))) == .pass)
    #expect(bench.toPC(fromDevice(0)) == .pass)
    #expect(bench.toPC(fromDevice(8)) == .refuse(.opensTowardsPC))
    #expect(bench.toPC(fromDevice(3)) == .pass)
    #expect(bench.toPC(fromDevice(5)) == .refuse(.protocolNotPermitted))
  }

  @Test func `fragments don't get around the ports`() {
    var bench = Bench(Self.ipRule)
    let data = [UInt8](repeating: 1, count: 32)
    let piece = { (offset: UInt16, more: Bool, identification: UInt16, payload: [UInt8]) in
      Self.ip(
        Frames.ipv4(
          protocol: 17, fragment: offset / 8 | (more ? 0x2000 : 0), identification: identification, payload: payload))
    }
    #expect(bench.toSite(piece(40, false, 1, data)) == .refuse(.fragment))
    #expect(bench.toSite(piece(0, true, 1, Frames.udp(from: 4000, to: 54) + data)) == .refuse(.portNotPermitted))
    #expect(bench.toSite(piece(40, false, 1, data)) == .refuse(.fragment))
    #expect(bench.toSite(piece(0, true, 2, Frames.udp(from: 4000, to: 53) + data)) == .pass)
    #expect(bench.toSite(piece(40, false, 2, data)) == .pass)
    #expect(bench.toSite(piece(40, false, 3, data)) == .refuse(.fragment))
    // A first fragment without ports, and one that would write over the flags of TCP.
    #expect(bench.toSite(piece(0, true, 4, [0, 80])) == .refuse(.malformed))
    let tcp = Frames.ipv4(
      protocol: 6, fragment: 0x2000, identification: 5, payload: Frames.tcp(from: 1, to: 80) + data)
    #expect(bench.toSite(Self.ip(tcp)) == .pass)
    let over = Frames.ipv4(protocol: 6, fragment: 1, identification: 5, payload: data)
    #expect(bench.toSite(Self.ip(over)) == .refuse(.fragment))
    bench.now = bench.now + .seconds(16)
    #expect(bench.toSite(piece(40, false, 2, data)) == .refuse(.fragment))
  }

  @Test func `IPv6 has its neighbors, and no routers`() {
    var bench = Bench(EthernetRule(types: [.ipv6], network: IPPrefix("fd00::/64"), tcp: [80...80]))
    let (pc, device) = (IPAddress("fd00::9")!, IPAddress("fd00::10")!)
    let frame = { (payload: [UInt8]) in Frames.ethernet(type: .ipv6, payload: payload) }
    let neighbor = { (type: UInt8, hopLimit: UInt8, target: IPAddress, named: MACAddress) in
      frame(
        Frames.ipv6(
          from: IPAddress("fe80::1")!, to: IPAddress("ff02::1:ff00:10")!, next: 58, hopLimit: hopLimit,
          payload: Frames.neighbor(type: type, target: target, named: named)))
    }
    #expect(bench.toSite(neighbor(135, 255, device, Frames.pc)) == .pass)
    #expect(bench.toSite(neighbor(135, 64, device, Frames.pc)) == .refuse(.protocolNotPermitted))
    #expect(bench.toSite(neighbor(134, 255, device, Frames.pc)) == .refuse(.protocolNotPermitted))
    #expect(bench.toSite(neighbor(135, 255, IPAddress("fd01::10")!, Frames.pc)) == .refuse(.addressNotPermitted))
    #expect(bench.toSite(neighbor(136, 255, pc, Frames.device)) == .refuse(.spoofedARP))
    let cut = frame(Frames.ipv6(from: pc, to: device, next: 58, hopLimit: 255, payload: Frames.echo(type: 135)))
    #expect(bench.toSite(cut) == .refuse(.malformed))
    let tcp = { (port: UInt16) in
      frame(Frames.ipv6(from: pc, to: device, next: 6, payload: Frames.tcp(from: 9, to: port)))
    }
    #expect(bench.toSite(tcp(80)) == .pass)
    #expect(bench.toSite(tcp(81)) == .refuse(.portNotPermitted))
    // What stands between fragment header and ports would hide them.
    let hidden: [UInt8] = [60, 0, 0, 1, 0, 0, 0, 1] + [6, 0, 1, 4, 0, 0, 0, 0] + Frames.tcp(from: 9, to: 80)
    #expect(bench.toSite(frame(Frames.ipv6(from: pc, to: device, next: 44, payload: hidden))) == .refuse(.malformed))
  }
}
