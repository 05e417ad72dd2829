import CLinux
import Glibc
import Kernel
import Packet
import Primitives
import Testing

@testable import Tun

/// A TAP device is the wire: what is written to it arrives at the interface, and what the interface sends is read from it.
@Suite(.enabled(if: NetworkSandbox.isAvailable, NetworkSandbox.reason))
struct EthernetInterfaceTests {
  private static let device = MACAddress(0x0200_0000_0001)
  private static let somebody = MACAddress(0x0200_0000_0002)

  static func frame(
    to destination: MACAddress = .broadcast, from source: MACAddress = device, type: EtherType = .profinet,
    tag: VLANTag? = nil, payload: [UInt8] = [UInt8](1...50)
  ) -> [UInt8] {
    let header = EthernetHeader(destination: destination, source: source, type: type, tag: tag)
    var bytes = [UInt8](repeating: 0, count: header.headerLength)
    var span = bytes.mutableSpan
    header.write(into: &span)
    return bytes + payload
  }

  /// A TAP device that is up and says nothing of its own.
  static func wire(mtu: Int = 1500) throws -> Bench<TunDevice> {
    let bench = Bench(try TunDevice(opening: TunConfiguration(kind: .tap, name: "wire0")))
    guard let link = bench.device.index else { throw Unmet(what: "no index") }
    try silence(bench.device.name)
    let routes = try RouteSocket()
    try routes.setMTU(mtu, link: link)
    try routes.setUp(true, link: link)
    return bench
  }

  /// No IPv6 of the kernel's own on the interface.
  private static func silence(_ name: String) throws {
    let fd = unsafe open("/proc/sys/net/ipv6/conf/\(name)/disable_ipv6", O_WRONLY)
    guard fd >= 0 else { return }
    _ = unsafe write(fd, "1", 1)
    close(fd)
  }

  @Test func `frames come with their bytes, and own ones don't come back`() throws {
    let (seen, sent, echoed) = try NetworkSandbox.run {
      var wire = try Self.wire()
      var port = Bench(try EthernetInterface(opening: EthernetConfiguration(interface: "wire0")))
      let frame = Self.frame()
      try need(try wire.write(TestPacket(header: frame, payload: [], offload: .none)) == .written, "not written")
      let seen = try port.next()?.bytes
      let own = Self.frame(from: port.device.address)
      try need(try port.device.send(own.span) == .written, "not sent")
      var sent: [UInt8]? = nil
      while let next = try wire.next()?.bytes {
        sent = next
        if next == own { break }
      }
      // A second one marks the end: had the own frame come back, it would be before it.
      try need(try wire.write(TestPacket(header: frame, payload: [], offload: .none)) == .written, "not written")
      let echoed = try port.next()?.bytes != frame
      return (seen, sent == own, echoed)
    }
    #expect(seen == Self.frame())
    #expect(sent)
    #expect(!echoed)
  }

  @Test(arguments: [1, 40])
  func `a tag that the kernel takes out is put back`(count: Int) throws {
    let frame = Self.frame(tag: VLANTag(identifier: 42, priority: 6))
    let inner = Self.frame(type: .vlan, tag: VLANTag(identifier: 42), payload: [0, 7, 0x88, 0x92] + [UInt8](1...60))
    let seen = try NetworkSandbox.run {
      var wire = try Self.wire()
      var port = Bench(try EthernetInterface(opening: EthernetConfiguration(interface: "wire0")))
      var seen: [[UInt8]] = []
      // Many small frames come in batches.
      for _ in 0..<count {
        for bytes in [frame, inner] {
          try need(try wire.write(TestPacket(header: bytes, payload: [], offload: .none)) == .written, "not written")
        }
      }
      for _ in 0..<2 * count { seen.append(try port.next()?.bytes ?? []) }
      return seen
    }
    #expect(seen == (0..<count).flatMap { _ in [frame, inner] })
  }

  @Test func `super-segments come and go whole, tags included`() throws {
    let (read, written, counters) = try NetworkSandbox.run {
      var wire = try Self.wire()
      var port = Bench(try EthernetInterface(opening: EthernetConfiguration(interface: "wire0")))
      var read: [(Int, Offload)] = []
      var written: [(Int, Offload)] = []
      for tag in [nil, VLANTag(identifier: 9)] {
        var packet = TestPacket.tcp(
          from: Endpoint(IPAddress("192.0.2.1")!, 1), to: Endpoint(IPAddress("192.0.2.2")!, 2), sequence: 1,
          flags: .ack, payload: [[UInt8](repeating: 7, count: 40_000)], segmentSize: 1448)
        let ethernet = Self.frame(to: Self.somebody, type: .ipv4, tag: tag, payload: [])
        packet.header = ethernet + packet.header
        if case .partial(let start, let offset) = packet.offload.checksum {
          packet.offload.checksum = .partial(start: start + ethernet.count, offset: offset)
        }
        try need(try wire.write(packet) == .written, "not written")
        guard let seen = try port.next() else { throw Unmet(what: "nothing came") }
        try need(seen.bytes.count == packet.bytes.count, "\(seen.bytes.count) bytes came")
        read.append((seen.bytes.count - ethernet.count, seen.offload))
        try need(seen.offload == packet.offload, "\(seen.offload)")
        try need(try port.write(packet) == .written, "not sent")
        while let next = try wire.next() {
          guard next.bytes.count > 1000 else { continue }
          written.append((next.bytes.count - ethernet.count, next.offload))
          break
        }
      }
      return (read.map(\.0), written.map(\.0), port.device.counters)
    }
    #expect(read == [40_040, 40_040])
    #expect(written == [40_040, 40_040])
    #expect(counters.superSegmentsRead == 2)
    #expect(counters.superSegmentsWritten == 2)
    #expect(counters.softwareSegmented == 0)
  }

  @Test func `the kernel lets only the filter's types through, behind tags too`() throws {
    let seen = try NetworkSandbox.run {
      var wire = try Self.wire()
      let filter = EthernetTypeFilter(types: [.arp, .profinet], allowsLength: true)
      var port = Bench(
        try EthernetInterface(opening: EthernetConfiguration(interface: "wire0", filter: filter)))
      let tag = VLANTag(identifier: 1)
      let frames = [
        Self.frame(type: .ipv4), Self.frame(type: .profinet), Self.frame(type: .lldp), Self.frame(type: .arp),
        Self.frame(type: EtherType(rawValue: 50)), Self.frame(type: .ipv4, tag: tag), Self.frame(type: .arp, tag: tag),
        Self.frame(type: .vlan, tag: tag, payload: [0, 7, 0x88, 0x92] + [UInt8](1...60)),
        Self.frame(type: .vlan, tag: tag, payload: [0, 7, 0x88, 0xCC] + [UInt8](1...60)),
        Self.frame(type: .profinet, payload: [9]),
      ]
      for frame in frames {
        try need(try wire.write(TestPacket(header: frame, payload: [], offload: .none)) == .written, "not written")
      }
      var seen: [Int] = []
      while seen.last != frames.count - 1, let next = try port.next()?.bytes {
        seen.append(frames.firstIndex(of: next) ?? -1)
      }
      return seen
    }
    #expect(seen == [1, 3, 4, 6, 7, 9])
  }

  @Test func `frames to an address are received once it was joined`() throws {
    try NetworkSandbox.run {
      var wire = try Self.wire()
      let port = try EthernetInterface(opening: EthernetConfiguration(interface: "wire0"))
      try port.join(Self.somebody)
      try port.join(MACAddress(0x010E_CF00_0000))
      try port.leave(Self.somebody)
      try port.setAllGroups(true)
      _ = try wire.write(TestPacket(header: Self.frame(), payload: [], offload: .none))
    }
  }

  @Test func `what there is no room for is counted by the kernel`() throws {
    let (drops, read) = try NetworkSandbox.run {
      var wire = try Self.wire()
      var port = Bench(
        try EthernetInterface(opening: EthernetConfiguration(interface: "wire0", receiveBuffer: 8192)))
      let packet = TestPacket(
        header: Self.frame(payload: [UInt8](repeating: 1, count: 400)), payload: [], offload: .none)
      for _ in 0..<100 { _ = try wire.write(packet) }
      port.device.countKernelDrops()
      var read = 0
      while clinux_poll_one(port.device.descriptor ?? -1, Int16(POLLIN), 100) > 0, try port.next() != nil { read += 1 }
      return (port.device.kernelDrops, read)
    }
    #expect(drops > 0)
    #expect(Int(drops) + read >= 100)
  }

  @Test func `an interface that goes down, or away, says so`() throws {
    let (down, up, gone) = try NetworkSandbox.run {
      var wire = try Self.wire()
      var port = Bench(try EthernetInterface(opening: EthernetConfiguration(interface: "wire0")))
      let link = port.device.index
      let routes = try RouteSocket()
      try routes.setUp(false, link: link)
      let down = #expect(throws: TunError.self) { _ = try port.next() }
      try routes.setUp(true, link: link)
      _ = try wire.write(TestPacket(header: Self.frame(), payload: [], offload: .none))
      let up = try port.next()?.bytes
      wire = Bench(try TunDevice(opening: TunConfiguration(kind: .tap, name: "wire1")))
      let gone = #expect(throws: TunError.self) { while try port.next() != nil {} }
      return (down, up, gone)
    }
    #expect(down?.isDown == true)
    #expect(up == Self.frame())
    #expect(gone?.isDown == true)
  }

  @Test func `errors name the interface and the way out`() throws {
    let unknown = #expect(throws: TunError.self) {
      _ = try EthernetInterface(opening: EthernetConfiguration(interface: "nosuch0")).index
    }
    #expect(unknown.map { "\($0)" }?.contains("nosuch0") == true)
    #expect(unknown?.remedy?.contains("ip link") == true)
    let noEthernet = try NetworkSandbox.run {
      let tun = try TunDevice(opening: TunConfiguration(name: "tun0"))
      return #expect(throws: TunError.self) {
        _ = try EthernetInterface(opening: EthernetConfiguration(interface: tun.name)).index
      }
    }
    #expect(noEthernet?.cause == .notEthernet)
    #expect(
      TunError(call: "socket(AF_PACKET)", device: "eth0", cause: .system(EPERM)).remedy?.contains("CAP_NET_RAW") == true
    )
  }
}
