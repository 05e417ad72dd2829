import Packet
import Primitives
import Testing

@testable import Discovery

/// A network whose devices answer what is asked of them.
struct RunFixture {
  var run: DiscoveryRun
  var now = Instant.zero
  var sent: [(at: Instant, frame: [UInt8])] = []

  init(
    _ methods: Set<DiscoveryMethod>, seconds: Int64 = 4, network: String = "192.168.0.9/24", ranges: [String] = [],
    seed: UInt64 = 1
  ) throws {
    var random = SeededRandom(seed: seed)
    let parts = network.split(separator: "/").map(String.init)
    let address = try #require(IPAddress(parts[0]))
    let prefix = try #require(Int(parts[1]).flatMap { IPPrefix(address, length: $0) })
    run = DiscoveryRun(
      DiscoveryRun.Configuration(
        methods: methods, mac: own, addresses: [(address, prefix)], ranges: ranges.compactMap { IPPrefix($0) },
        port: 40000, duration: .seconds(seconds)), now: now, random: &random)
  }

  /// Goes on until the run is over, and hands each frame that it sends to `answer`, which gives what comes back.
  mutating func finish(_ answer: ([UInt8]) -> [[UInt8]] = { _ in [] }) -> [MACAddress: DiscoveredDevice] {
    var found: [MACAddress: DiscoveredDevice] = [:]
    var turns = 0
    while let deadline = run.nextDeadline, turns < 100_000 {
      turns += 1
      now = max(now, deadline)
      run.handleTimeout(now: now)
      while let frame = run.nextTransmit(now: now) {
        sent.append((now, frame))
        for reply in answer(frame) { run.receive(reply.span, now: now) }
      }
      while let device = run.nextDevice() { found[device.mac] = device }
    }
    return found
  }

  func frames(_ type: EtherType) -> [(at: Instant, frame: [UInt8])] {
    sent.filter { (try? EthernetHeader(parsing: $0.frame.span))?.type == type }
  }
}

@Suite struct DiscoveryRunTests {
  private static func identify(_ xid: some Collection<UInt8>, _ blocks: String, from mac: MACAddress) -> [UInt8] {
    let content = hex(blocks)
    return ethernet(
      to: own, from: mac, .profinet,
      hex("feff 05 01") + Array(xid) + [0, 0, UInt8(content.count >> 8), UInt8(content.count & 0xFF)] + content)
  }

  @Test func withAndWithoutAnAddress() throws {
    var fixture = try RunFixture([.dcp])
    let lost = MACAddress(0x000E_8C00_0001)
    let foreign = MACAddress(0x0001_0500_0002)
    let found = fixture.finish { request in
      let xid = request[18..<22]
      return [
        Self.identify(
          xid, "0202 0007 0000 706c632d31 00 0102 000e 0000 00000000 00000000 00000000", from: lost),
        Self.identify(
          xid, "0202 0007 0000 706c632d32 00 0102 000e 0001 0a000005 ffffff00 0a000001 0204 0004 0000 02 00",
          from: foreign),
        Self.identify([9, 9, 9, 9], "0202 0004 0000 7878", from: MACAddress(0x0200_0000_0099)),
      ]
    }
    #expect(found.count == 2)
    #expect(found[lost]?.problems == [.noAddress] && found[lost]?.name == "plc-1" && found[lost]?.vendor == "Siemens")
    #expect(found[foreign]?.problems == [.foreignSubnet] && found[foreign]?.vendor == "Beckhoff")
    #expect(found[foreign]?.addresses == [IPAddress(10, 0, 0, 5)] && found[foreign]?.type == "PROFINET controller")
    #expect(found[foreign]?.mask == IPAddress(255, 255, 255, 0) && found[foreign]?.gateway == IPAddress(10, 0, 0, 1))
    #expect(fixture.run.isFinished && fixture.frames(.profinet).count == 3)
  }

  @Test func everyAddressIsAskedOnceAtItsRate() throws {
    var fixture = try RunFixture([.arp], ranges: ["192.168.0.0/25", "10.0.0.0/29"])
    let device = MACAddress(0x00A0_4500_0001)
    let found = fixture.finish { request in
      guard let message = try? ARPMessage(parsing: request.span.extracting(14..<request.count)),
        message.targetAddress == IPAddress(10, 0, 0, 3)
      else { return [] }
      return [
        ethernet(
          to: own, from: device, .arp,
          hex("0001 0800 06 04 0002 00a045000001 0a000003") + request[6..<12] + message.senderAddress.bytes)
      ]
    }
    let asked = try fixture.sent.map { try ARPMessage(parsing: $0.frame.span.extracting(14..<$0.frame.count)) }
    #expect(asked.count == 253 + 6 && Set(asked.map(\.targetAddress)).count == asked.count)
    // Where this host has no address, the question is a probe.
    #expect(
      asked.allSatisfy {
        $0.senderAddress == ($0.targetAddress.value >> 24 == 10 ? IPAddress(v4: 0) : IPAddress(192, 168, 0, 9))
      })
    for (before, after) in zip(fixture.sent, fixture.sent.dropFirst()) {
      #expect(after.at - before.at >= .milliseconds(5))
    }
    #expect(found[device]?.problems == [.foreignSubnet] && found[device]?.methods == [.arp])
    #expect(fixture.run.unasked == 0)
  }

  @Test func aSweepIsBounded() throws {
    var fixture = try RunFixture([.arp], seconds: 60, network: "10.0.0.9/8")
    _ = fixture.finish()
    // The network's own name and this host aren't asked.
    #expect(fixture.sent.count == 4094 && fixture.run.unasked == 1 << 24 - 4096)
    // And by time.
    var short = try RunFixture([.arp], seconds: 1, network: "10.0.0.9/20")
    _ = short.finish()
    #expect(short.sent.count <= 201 && short.run.unasked > 3800)
  }

  @Test func timeIsBounded() throws {
    var long = try RunFixture([.lldp], seconds: 1_000_000)
    _ = long.finish()
    #expect(long.now == Instant.zero + .seconds(60) && long.sent.isEmpty)
    var short = try RunFixture([.lldp], seconds: 0)
    _ = short.finish()
    #expect(short.now == Instant.zero + .seconds(1))
  }

  @Test func whoAnswersByDatagrams() throws {
    var fixture = try RunFixture([.enip, .mdns, .ssdp])
    let drive = MACAddress(0x0000_BC00_0001)
    let press = MACAddress(0x0200_0000_0077)
    let panel = MACAddress(0x0200_0000_0078)
    var asked: [String] = []
    let found = fixture.finish { request in
      guard let datagram = try? UDPFrame(parsing: request.span) else { return [] }
      let reply = { (payload: [UInt8], mac: MACAddress, address: IPAddress, port: UInt16) in
        var bytes = UDPFrame.bytes(
          to: datagram.from, from: Endpoint(address, port), mac, payload: payload)
        bytes.replaceSubrange(0..<6, with: request[6..<12])
        return bytes
      }
      switch datagram.to.port {
      case CIPIdentity.port: return [reply(CIPIdentityTests.answer, drive, IPAddress(192, 168, 0, 6), 44818)]
      case SSDPMessage.port: return [reply(SSDPMessageTests.answer, panel, IPAddress(192, 168, 0, 8), 1900)]
      default:
        var offset = 12
        guard
          let name = try? DNSName(
            parsing: request.span.extracting(datagram.payload), at: &offset)
        else { return [] }
        asked.append(name.description)
        switch name.labels.first {
        case "_services":
          let services = hex(
            """
            0000 8400 0000 0001 0000 0000 095f7365727669636573075f646e732d7364045f756470056c6f63616c00 000c 0001
            0000000a 0012 055f68747470045f746370056c6f63616c00
            """)
          return [reply(services, press, IPAddress(192, 168, 0, 7), 5353)]
        case "_http": return [reply(DNSMessageTests.answer, press, IPAddress(192, 168, 0, 7), 5353)]
        default: return []
        }
      }
    }
    #expect(found[drive]?.name == "1756-EN2T/A" && found[drive]?.vendor == "Rockwell Automation")
    #expect(found[drive]?.type == "communications adapter, revision 10.2, serial 12345678")
    #expect(found[press]?.name == "press-4" && found[press]?.type == "http" && found[press]?.problems == [])
    #expect(found[panel]?.location == "http://192.168.0.8:80/d.xml" && found[panel]?.methods == [.ssdp])
    // What came along with an answer isn't asked for.
    #expect(Set(asked) == ["_services._dns-sd._udp.local", "_http._tcp.local"])
  }

  @Test func neighboursAndForeignTrafficAreHeard() throws {
    var fixture = try RunFixture([.lldp, .arp])
    let run = ethernet(
      to: MACAddress(0x0180_C200_000E), from: MACAddress(0x0200_0000_0005), .lldp, LLDPMessageTests.message)
    fixture.run.receive(run.span, now: .zero)
    let gratuitous = ethernet(
      to: .broadcast, from: other, .arp, hex("0001 0800 06 04 0001 020000000002 ac100005 000000000000 ac100005"))
    fixture.run.receive(gratuitous.span, now: .zero)
    // Own frames come back on some interfaces.
    fixture.run.receive(
      ARPMessage.request(for: IPAddress(1, 2, 3, 4), from: own, senderAddress: IPAddress(192, 168, 0, 9)).span,
      now: .zero)
    let found = fixture.finish()
    #expect(found.count == 2)
    #expect(found[MACAddress(0x0200_0000_0006)]?.name == "sw" && found[other]?.problems == [.foreignSubnet])
  }

  @Test func twoOfOneAddress() throws {
    var fixture = try RunFixture([.arp])
    for mac in ["020000000021", "020000000022"] {
      fixture.run.receive(
        ethernet(
          to: own, from: MACAddress(0x0200_0000_0020), .arp,
          hex("0001 0800 06 04 0002 \(mac) c0a80005 020000000001 c0a80009")
        ).span, now: .zero)
    }
    let found = fixture.finish()
    #expect(found.count == 2 && found.values.allSatisfy { $0.problems == [.addressConflict] })
  }

  @Test func devicesAreBounded() throws {
    var fixture = try RunFixture([.arp])
    for index in 0..<5000 as Range<UInt64> {
      var bytes = hex("0001 0800 06 04 0002 020000000000 c0a80005 020000000001 c0a80009")
      bytes[10] = 1
      bytes[12] = UInt8(index >> 8)
      bytes[13] = UInt8(index & 0xFF)
      fixture.run.receive(ethernet(to: own, from: other, .arp, bytes).span, now: .zero)
    }
    #expect(fixture.run.devices.count == DeviceTable.limit && fixture.run.devices.overflow == 5000 - 4096)
  }

  @Test func addressesOfADeviceAreBounded() throws {
    var fixture = try RunFixture([.arp])
    for index in 0..<20 as Range<UInt8> {
      var bytes = hex("0001 0800 06 04 0002 020000000002 c0a80005 020000000001 c0a80009")
      bytes[17] = 10 + index
      fixture.run.receive(ethernet(to: own, from: other, .arp, bytes).span, now: .zero)
    }
    #expect(fixture.run.devices[other]?.addresses.count == 8)
  }

  @Test func whoChangesItsAddressHoldsNoMore() throws {
    var fixture = try RunFixture([.dcp])
    for index in 0..<1000 {
      let address = "0a00" + String(0x1_0000 + index, radix: 16).suffix(4)
      let hello = hex("fefc 06 00 00000000 0000 0012 0102 000e 0001 \(address) ffffff00 00000000")
      fixture.run.receive(ethernet(to: MACAddress(0x010E_CF00_0001), from: other, .profinet, hello).span, now: .zero)
    }
    #expect(fixture.run.devices[other]?.addresses == [IPAddress(10, 0, 3, 231)])
    #expect(fixture.run.devices.ownedAddresses == 1)
  }

  @Test func servicesThatAreAskedForAreBounded() throws {
    var fixture = try RunFixture([.mdns], seconds: 60)
    // One device that invents kinds of services for as long as it is asked.
    var count = 0
    _ = fixture.finish { request in
      guard let datagram = try? UDPFrame(parsing: request.span) else { return [] }
      count += 1
      var message = hex("0000 8400 0000 0001 0000 0000") + DNSMessageTests.name(DNSMessage.services.labels)
      let service = DNSMessageTests.name(["_s\(count)", "_tcp", "local"])
      message += hex("000c 0001 0000000a") + [0, UInt8(service.count)] + service
      var bytes = UDPFrame.bytes(
        to: datagram.from, from: Endpoint(IPAddress(192, 168, 0, 7), 5353), other, payload: message)
      bytes.replaceSubrange(0..<6, with: request[6..<12])
      return [bytes]
    }
    // Three rounds, and a question for each of the kinds that are remembered.
    #expect(fixture.sent.count == 3 + 64)
  }

  @Test func randomFramesNeverTrap() throws {
    var fixture = try RunFixture(Set(DiscoveryMethod.allCases))
    var random = SeededRandom(seed: 11)
    let types: [EtherType] = [.profinet, .arp, .lldp, .ipv4]
    for _ in 0..<10_000 {
      let count = Int.random(in: 0...120, using: &random)
      let bytes = (0..<count).map { _ in UInt8.random(in: 0...255, using: &random) }
      let source = MACAddress(random.next() & 0xFEFF_FFFF_FFFF)
      fixture.run.receive(
        ethernet(to: own, from: source, types[Int.random(in: 0...3, using: &random)], bytes).span, now: .zero)
      fixture.run.receive(bytes.span, now: .zero)
    }
    #expect(fixture.run.devices.count <= DeviceTable.limit)
  }
}

extension DNSMessageTests {
  static func name(_ labels: [String]) -> [UInt8] {
    labels.flatMap { [UInt8($0.utf8.count)] + Array($0.utf8) } + [0]
  }
}
