import Kernel
import Primitives
import Testing

@testable import Proxy

/// Datagrams through a whole site, whose devices are real sockets on 127.0.0.1.
@Suite(.timeLimit(.minutes(1))) struct SiteDatagramsTests {
  private static let local = IPAddress(127, 0, 0, 1)

  private static func device() throws -> OwnedDescriptor {
    let socket = try Socket.make(.v4, .datagram)
    try Socket.send([0].span, to: Endpoint(local, 9), from: socket)
    try Socket.setReceiveBuffer(socket, bytes: 8 << 20)
    return socket
  }

  private static func receive(_ socket: borrowing OwnedDescriptor) throws -> (bytes: [UInt8], source: Endpoint) {
    try socket.wait(for: .readable, until: soon)
    var buffer = [UInt8](repeating: 0, count: 65_536)
    var span = buffer.mutableSpan
    guard let (count, source) = try Socket.receive(into: &span, from: socket) else { throw LinkEnd.Late() }
    return (Array(buffer[..<count]), source)
  }

  private static func payload(_ number: Int, _ size: Int) -> [UInt8] {
    var bytes = [UInt8](repeating: UInt8(truncatingIfNeeded: number), count: max(2, size))
    bytes[0] = UInt8(truncatingIfNeeded: number >> 8)
    return bytes
  }

  /// Equal ones go together, others alone, those larger than a frame in parts: all in order, and none is another's.
  @Test func burstsOfAllSizesArriveInOrder() throws {
    let one = try Self.device()
    let two = try Self.device()
    let ends = (Socket.localEndpoint(one)!, Socket.localEndpoint(two)!)
    var link = try LinkEnd.join(rules: [LinkEnd.rule("one", ends.0), LinkEnd.rule("two", ends.1)])
    let flows = (
      try link.reach("one", ends.0.port, .udp), try link.reach("two", ends.1.port, .udp)
    )
    let sizes = [200, 200, 200, 70, 1472, 1473, 1473, 2, 16_376, 16_377, 9000, 9000, 9000]
    var expected: ([[UInt8]], [[UInt8]]) = ([], [])
    for round in 0..<20 {
      for (index, size) in sizes.enumerated() {
        let bytes = Self.payload(round * 16 + index, size)
        // Now one flow, now the other, and now a few of one.
        if (round + index / 3) % 2 == 0 {
          try link.send(flows.0, bytes)
          expected.0.append(bytes)
        } else {
          try link.send(flows.1, bytes)
          expected.1.append(bytes)
        }
      }
      try link.connection.flush(&link.peer, pool: &link.pool, now: Clock.now)
    }
    for bytes in expected.0 {
      let found = try Self.receive(one).bytes
      #expect(found == bytes)
    }
    for bytes in expected.1 {
      let found = try Self.receive(two).bytes
      #expect(found == bytes)
    }
    try link.run(for: .milliseconds(1200))
    let status = link.site.status
    #expect(status.payloadWriteBytes == UInt64((expected.0 + expected.1).reduce(0) { $0 + $1.count }))
    #expect(status.payloadWrites < 20 * sizes.count, "some went together")
    #expect(status.drops == [:])
    #expect(link.close() == 0)
  }

  /// What a device sends as a run comes as single datagrams, in order.
  @Test func runsOfADeviceArriveOneByOne() throws {
    let device = try Self.device()
    let end = Socket.localEndpoint(device)!
    var link = try LinkEnd.join(rules: [LinkEnd.rule("device", end)])
    let flow = try link.reach("device", end.port, .udp)
    try link.send(flow, [1])
    try link.connection.flush(&link.peer, pool: &link.pool, now: Clock.now)
    try Socket.connect(device, to: try Self.receive(device).source)
    let gather = DatagramGather()
    var queue = RingQueue<Slice>()
    let sizes = Array(repeating: 300, count: 64) + [17, 0, 1400, 1400, 60_000]
    for (index, size) in sizes.enumerated() {
      let bytes = [UInt8](repeating: UInt8(index), count: size)
      queue.append(link.pool.copy(bytes.span, in: &link.lane)!)
    }
    var limit = DatagramGather.byteLimit
    while !queue.isEmpty { _ = try gather.send(&queue, to: device, segmentLimit: &limit, pool: &link.pool) }
    for (index, size) in sizes.enumerated() {
      var slice: Slice?
      _ = try link.next {
        if case .datagram(flow, let found) = $0 { slice = found }
        return slice != nil
      }
      // Its slab is the reader's still.
      #expect(link.pool.array(slice!) == [UInt8](repeating: UInt8(index), count: size))
    }
    try link.run(for: .milliseconds(1200))
    #expect(link.site.status.payloadReadBytes == UInt64(sizes.reduce(0, +)))
    #expect(link.close() == 0)
  }

  /// A flow that is reset behind its datagrams: they go first.
  @Test func datagramsBeforeAResetAreSent() throws {
    let device = try Self.device()
    let end = Socket.localEndpoint(device)!
    var link = try LinkEnd.join(rules: [LinkEnd.rule("device", end)])
    let flow = try link.reach("device", end.port, .udp)
    for number in 0..<10 { try link.send(flow, Self.payload(number, 100)) }
    try link.peer.seal(pool: &link.pool, now: Clock.now)
    link.peer.session.reset(flow, .reset, pool: &link.pool)
    try link.connection.flush(&link.peer, pool: &link.pool, now: Clock.now)
    for number in 0..<10 {
      let found = try Self.receive(device).bytes
      #expect(found == Self.payload(number, 100))
    }
    try link.run(for: .milliseconds(100))
    #expect(link.flows.ends == [.reset(.application)])
    #expect(link.close() == 0)
  }

  /// A device whose port is closed: its ICMP error ends the flow, however many datagrams go out by one call.
  @Test func aClosedPortEndsTheFlow() throws {
    let device = try Self.device()
    let end = Socket.localEndpoint(device)!
    _ = consume device
    var link = try LinkEnd.join(rules: [LinkEnd.rule("device", end)])
    let flow = try link.reach("device", end.port, .udp)
    for number in 0..<200 { try link.send(flow, Self.payload(number, 100 + number % 3)) }
    _ = try link.next { $0 == .reset(flow, .reset) }
    try link.run(for: .milliseconds(100))
    #expect(link.flows.ends == [.reset(.device)])
    #expect(link.close() == 0)
  }
}
