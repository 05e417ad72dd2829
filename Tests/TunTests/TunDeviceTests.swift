import CLinux
import Glibc
import Kernel
import Packet
import Primitives
import Testing

@testable import Tun

@Suite(.enabled(if: NetworkSandbox.isAvailable, NetworkSandbox.reason))
struct TunDeviceTests {
  static let host = IPAddress(10, 9, 0, 1)
  static let peer = IPAddress(10, 9, 0, 2)
  static let host6 = IPAddress(v6: 0xFD09 << 112 | 1)
  static let peer6 = IPAddress(v6: 0xFD09 << 112 | 2)

  /// Gives the device addresses and sets it up.
  static func configure(_ device: borrowing TunDevice) throws {
    let routes = try RouteSocket()
    guard let link = device.index else { throw Unmet(what: "the device has no index") }
    try routes.add(LinkAddress(host, prefixLength: 24, link: link))
    try routes.add(LinkAddress(host6, prefixLength: 64, link: link))
    try routes.setUp(true, link: link)
    for _ in 0..<500 {
      if try routes.isUsable(LinkAddress(host6, link: link)), try routes.isUsable(LinkAddress(host, link: link)) {
        return
      }
      usleep(10_000)
    }
    throw Unmet(what: "the addresses don't become usable")
  }

  /// A device without a vnet header, as an older program would make it.
  static func plain() throws -> TunDevice {
    let fd = unsafe clinux_open_device("/dev/net/tun")
    let descriptor = OwnedDescriptor(owning: fd)
    var name = InterfaceName("plain%d")
    guard unsafe name.withBytes({ unsafe clinux_tun_attach(fd, 0x1001, $0) }) == 0 else {
      throw SystemError(call: "TUNSETIFF", code: clinux_errno())
    }
    return try TunDevice(adopting: descriptor)
  }

  @Test func `a TUN device opens with its offloads and names`() throws {
    let (name, index, features) = try NetworkSandbox.run {
      let device = try TunDevice(opening: TunConfiguration())
      try need(device.kind == .tun && device.hasVnetHeader, "kind or vnet header")
      return (device.name, device.index, device.features)
    }
    #expect(name == "relay0")
    #expect(index != nil)
    #expect(features.isSuperset(of: .basic))
  }

  @Test func `datagrams cross in both directions`() throws {
    let answer = try NetworkSandbox.run {
      var bench = Bench(try TunDevice(opening: TunConfiguration()))
      try Self.configure(bench.device)
      let socket = try Socket.make(.v4, .datagram)
      let target = Endpoint(Self.peer, 7777)
      try Socket.send([1, 2, 3, 4, 5].span, to: target, from: socket)
      let asked = try bench.nextUDP()
      try need(asked.tuple.destination == target, "went to \(asked.tuple)")
      try need(asked.payload == [1, 2, 3, 4, 5], "payload \(asked.payload)")
      let reply = TestPacket.udp(from: target, to: asked.tuple.source, payload: [[9, 8], [7]])
      try need(try bench.write(reply) == .written, "reply not written")
      return try receive(socket)
    }
    #expect(answer == [9, 8, 7])
  }

  @Test(arguments: [false, true])
  func `super-segments cross in both directions`(isV6: Bool) throws {
    let counters = try NetworkSandbox.run {
      var bench = Bench(try TunDevice(opening: TunConfiguration()))
      try Self.configure(bench.device)
      try bench.exchangeSuperSegments(peer: Endpoint(isV6 ? Self.peer6 : Self.peer, 80))
      return bench.device.counters
    }
    #expect(counters.superSegmentsRead > 0)
    #expect(counters.superSegmentsWritten == 1)
    #expect(counters.softwareSegmented == 0)
    #expect(counters.badOffloads == 0)
  }

  @Test(arguments: [false, true])
  func `a device without a vnet header gets segments made in software`(isV6: Bool) throws {
    let counters = try NetworkSandbox.run {
      var bench = Bench(try Self.plain())
      try need(!bench.device.hasVnetHeader && bench.device.features == [], "has a vnet header")
      try Self.configure(bench.device)
      try bench.exchangeSuperSegments(peer: Endpoint(isV6 ? Self.peer6 : Self.peer, 80))
      return bench.device.counters
    }
    #expect(counters.superSegmentsRead == 0)
    #expect(counters.superSegmentsWritten == 0)
    #expect(counters.softwareSegmented == 1)
  }

  @Test(arguments: [false, true])
  func `UDP super-segments arrive as datagrams, whatever the kernel can`(isRefused: Bool) throws {
    let (sizes, counters) = try NetworkSandbox.run {
      var bench = Bench(try TunDevice(opening: TunConfiguration()))
      if isRefused { bench.device.refusesUDPSegmentation = true }
      try Self.configure(bench.device)
      let socket = try Socket.make(.v4, .datagram)
      try Socket.send([0].span, to: Endpoint(Self.peer, 7777), from: socket)
      let asked = try bench.nextUDP()
      let reply = TestPacket.udp(
        from: Endpoint(Self.peer, 7777), to: asked.tuple.source, payload: TestPacket.pieces(2500), segmentSize: 1000)
      try need(try bench.write(reply) == .written, "reply not written")
      return (try (0..<3).map { _ in try receive(socket).count }, bench.device.counters)
    }
    #expect(sizes == [1000, 1000, 500])
    #expect(counters.superSegmentsWritten + counters.softwareSegmented == 1)
    if isRefused { #expect(counters.softwareSegmented == 1) }
  }

  @Test func `a device is adopted from a descriptor`() throws {
    let same = try NetworkSandbox.run {
      let device = try TunDevice(opening: TunConfiguration(kind: .tap, name: "bridge-me"))
      let adopted = try TunDevice(adopting: try device.duplicate())
      return adopted.name == device.name && adopted.index == device.index && adopted.kind == .tap
        && adopted.hasVnetHeader && adopted.features == device.features
    }
    #expect(same)
  }

  @Test func `a foreign descriptor is refused`() throws {
    let error = #expect(throws: TunError.self) {
      let device = try TunDevice(adopting: try Socket.make(.v4, .datagram))
      _ = device.name
    }
    #expect(error?.cause == .notADevice)
  }

  @Test(arguments: ["", "a name", "much-too-long-name", "a/b"])
  func `bad names are refused`(name: String) throws {
    let error = #expect(throws: TunError.self) {
      let device = try TunDevice(opening: TunConfiguration(name: name))
      _ = device.name
    }
    #expect(error?.cause == .badName)
  }

  @Test func `a name that is in use says what to do`() throws {
    let error = try NetworkSandbox.run { () -> TunError? in
      let device = try TunDevice(opening: TunConfiguration(name: "taken"))
      defer { _ = device.name }
      do {
        let second = try TunDevice(opening: TunConfiguration(name: "taken"))
        _ = second.name
        return nil
      } catch {
        return error as? TunError
      }
    }
    #expect(error?.remedy != nil)
  }

  @Test func `a write while the link is down is a counted drop`() throws {
    let (result, counters) = try NetworkSandbox.run {
      var bench = Bench(try TunDevice(opening: TunConfiguration()))
      let packet = TestPacket.udp(from: Endpoint(Self.peer, 1), to: Endpoint(Self.host, 2), payload: [[1]])
      let result = try bench.write(packet)
      return (result, bench.device.counters)
    }
    #expect(result == .dropped(.down))
    #expect(counters.droppedDown == 1)
  }

  @Test func `a write of more than a device takes at once is a counted drop`() throws {
    let (results, counters) = try NetworkSandbox.run {
      var device = try TunDevice(opening: TunConfiguration())
      try Self.configure(device)
      var pool = SlabPool(limit: 4)
      var lane = SlabLane()
      guard let slice = pool.copy([1, 2].span, in: &lane) else { throw Unmet(what: "no memory") }
      let packet = numbered(1)
      var results: [PacketWrite] = []
      // The header of a packet of that size, and so many pieces behind it.
      for (header, slices) in [
        (packet.bytes, 0), ([UInt8](repeating: 0x45, count: PacketLimits.headerSize + 1), 0),
        (packet.bytes, PacketLimits.payloadSlices + 1), ([], 0), (packet.bytes, 0),
      ] {
        let payload = [Slice](repeating: slice, count: slices)
        results.append(try device.write(.none, header: header.span, payload: payload.span, pool: &pool))
      }
      pool.release(slice)
      pool.close(&lane)
      try need(pool.slabsInUse == 0, "slabs are held")
      return (results, device.counters)
    }
    #expect(
      results == [.written, .dropped(.malformed), .dropped(.malformed), .dropped(.malformed), .written])
    #expect(counters.droppedMalformed == 3 && counters.packetsWritten == 2)
  }

  @Test func `a TAP device carries Ethernet frames`() throws {
    let frame = try NetworkSandbox.run {
      var bench = Bench(try TunDevice(opening: TunConfiguration(kind: .tap)))
      try Self.configure(bench.device)
      let socket = try Socket.make(.v4, .datagram)
      try Socket.send([1].span, to: Endpoint(Self.peer, 7777), from: socket)
      while let (bytes, _) = try bench.next() {
        // An ARP request for the peer is what the kernel has to send first.
        if bytes.count >= 42, bytes[12] == 0x08, bytes[13] == 0x06 { return bytes }
      }
      throw Unmet(what: "no ARP request")
    }
    #expect(Array(frame[38..<42]) == Self.peer.bytes)
  }
}

/// The next datagram of a socket; waits for a second.
private func receive(_ socket: borrowing OwnedDescriptor) throws -> [UInt8] {
  guard clinux_poll_one(socket.rawValue, Int16(POLLIN), 1000) > 0 else { throw Unmet(what: "nothing received") }
  var bytes = [UInt8](repeating: 0, count: 65_536)
  var span = bytes.mutableSpan
  let received = try Socket.receive(into: &span, from: socket)
  return Array(bytes.prefix(received?.count ?? 0))
}

extension Bench where Device: ~Copyable {
  fileprivate mutating func nextUDP() throws -> (tuple: FiveTuple, payload: [UInt8]) {
    while let (bytes, _) = try next() {
      guard let packet = try? ParsedPacket(parsing: bytes.span), case .udp = packet.transport,
        let tuple = packet.fiveTuple
      else { continue }
      return (tuple, Array(bytes[packet.payloadOffset..<(packet.payloadOffset + packet.payloadLength)]))
    }
    throw Unmet(what: "no datagram came")
  }

  fileprivate mutating func nextTCP() throws -> (tuple: FiveTuple, header: TCPHeader, payload: [UInt8]) {
    while let (bytes, _) = try next() {
      guard let packet = try? ParsedPacket(parsing: bytes.span), case .tcp(let header) = packet.transport,
        let tuple = packet.fiveTuple
      else { continue }
      return (tuple, header, Array(bytes[packet.payloadOffset..<packet.totalLength]))
    }
    throw Unmet(what: "no segment came")
  }

  /// Answers a TCP connection of the kernel's, takes 14,000 bytes from it, and sends 30,000 in one write.
  fileprivate mutating func exchangeSuperSegments(peer: Endpoint) throws {
    let socket = try Socket.connect(to: peer)
    let syn = try nextTCP()
    try need(syn.header.flags == .syn || syn.header.flags == [.syn, .ece, .cwr], "not a SYN")
    let options = TCPOptions(maximumSegmentSize: 1000, windowScale: 7)
    let application = syn.tuple.source
    let synAck = TestPacket.tcp(
      from: peer, to: application, sequence: 5000, acknowledgement: syn.header.sequence &+ 1, flags: [.syn, .ack],
      options: options)
    try need(try write(synAck) == .written, "SYN-ACK not written")
    try need(try nextTCP().header.flags == .ack, "SYN-ACK was not taken")
    try socket.setNonblocking(false)
    // The initial window is ten segments: it all leaves without an acknowledgement.
    let sent = TestPacket.pieces(9000, seed: 5).flatMap { $0 }
    try socket.writeAll(sent)
    var arrived: [UInt8] = []
    while arrived.count < sent.count { arrived += try nextTCP().payload }
    try need(arrived == sent, "sent bytes differ")
    let pieces = TestPacket.pieces(30_000, seed: 6)
    let data = TestPacket.tcp(
      from: peer, to: application, sequence: 5001,
      acknowledgement: syn.header.sequence &+ 1 &+ UInt32(sent.count), flags: [.ack, .psh], payload: pieces,
      segmentSize: 1000)
    try need(try write(data) == .written, "data not written")
    var received: [UInt8] = []
    while received.count < 30_000 {
      var bytes = [UInt8](repeating: 0, count: 30_000)
      var span = bytes.mutableSpan
      guard clinux_poll_one(socket.rawValue, Int16(POLLIN), 1000) > 0 else {
        throw Unmet(what: "\(received.count) bytes received")
      }
      guard case .moved(let count) = try socket.read(into: &span) else { break }
      received += bytes.prefix(count)
    }
    try need(received == pieces.flatMap { $0 }, "received bytes differ")
  }
}
