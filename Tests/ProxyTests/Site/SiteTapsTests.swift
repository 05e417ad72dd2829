import Framing
import Kernel
import Packet
import Primitives
import Testing
import Tun

@testable import Proxy

/// Captures of what a site's sockets carry, through a whole site whose devices are real sockets on 127.0.0.1.
@Suite(.timeLimit(.minutes(1))) struct SiteTapsTests {
  /// A packet as it is captured.
  private struct Captured {
    let interface: String
    let direction: PacketDirection
    let comment: String
    let packet: ParsedPacket
    let payload: [UInt8]
  }

  private static func capture(_ change: (inout CaptureConfiguration) -> Void = { _ in }) throws -> Capture {
    var configuration = CaptureConfiguration()
    change(&configuration)
    return try Capture(configuration)
  }

  /// Ends a capture, and reads it: every checksum has to be right.
  private static func packets(_ capture: Capture) throws -> [Captured] {
    capture.stop()
    let pair = try UnixSocket.pair()
    let near = pair.near
    let far = pair.far
    let parcel = Parcel(near)
    let writer = try Thread(name: "capture") {
      if let near = parcel.open() { _ = capture.run(to: near) }
    }
    var bytes: [UInt8] = []
    var part = [UInt8](repeating: 0, count: 65_536)
    while true {
      var span = part.mutableSpan
      guard case .moved(let count) = try far.read(into: &span) else { break }
      bytes += part[..<count]
    }
    writer.join()
    var reader = PcapngReader()
    var all: [Captured] = []
    while let found = try reader.next(in: bytes.span) {
      let data = Array(bytes[found.data])
      let packet = try ParsedPacket(parsing: data.span)
      try packet.verifyChecksum(in: data.span)
      all.append(
        Captured(
          interface: reader.interfaces[found.interface].name, direction: found.direction,
          comment: found.comments.joined(), packet: packet,
          payload: Array(data[packet.payloadOffset..<(packet.payloadOffset + packet.payloadLength)])))
    }
    return all
  }

  @Test func aStreamIsPutTogetherFromItsPackets() throws {
    let server = try LocalServer { socket in
      guard let bytes = try? readExactly(100_000, from: socket) else { return }
      try? write(bytes, to: socket)
      _ = try? readToEnd(socket)
    }
    var link = try LinkEnd.join(rules: [LinkEnd.rule("a", server.endpoint), LinkEnd.rule("b", server.endpoint)])
    let (all, other) = (try Self.capture(), try Self.capture { $0.agent = "b" })
    link.site.replaceCaptures([all, other])
    let stream = try link.reach("a", server.endpoint.port)
    // Larger than a packet that is made up, so that it takes several.
    let bytes = (0..<100_000).map { UInt8(truncatingIfNeeded: $0 / 3) }
    try link.send(stream, bytes)
    var count = 0
    while count < bytes.count {
      let event = try link.next { if case .data = $0 { true } else { false } }
      if case .data(_, let slice) = event { count += slice.count }
    }
    link.peer.session.finish(stream)
    _ = try link.next { $0 == .closed(stream) }
    try link.run(for: .milliseconds(200))
    let packets = try Self.packets(all)
    for (direction, name) in [(PacketDirection.outbound, "to the device"), (.inbound, "from it")] {
      let side = packets.filter { $0.direction == direction }
      #expect(side.flatMap(\.payload) == bytes, "\(name)")
      var next: UInt32?
      for part in side {
        guard case .tcp(let header) = part.packet.transport else { continue }
        #expect(next == nil || header.sequence == next, "\(name)")
        let flags: UInt32 = header.flags.isDisjoint(with: [.syn, .fin]) ? 0 : 1
        next = header.sequence &+ UInt32(part.payload.count) &+ flags
      }
    }
    let flags = packets.compactMap { part -> TCPFlags? in
      if case .tcp(let header) = part.packet.transport { header.flags } else { nil }
    }
    #expect(flags.prefix(3) == [.syn, [.syn, .ack], .ack])
    #expect(flags.filter { $0.contains(.fin) }.count == 2, "\(flags)")
    #expect(packets.allSatisfy { $0.interface == "a" && $0.comment.contains("agent a; flow ") })
    #expect(packets[0].packet.destination == server.endpoint.address)
    #expect(try Self.packets(other).isEmpty)
    #expect(link.close() == 0)
  }

  @Test func datagramsAndRefusalsAreSeenWithTheirReasons() throws {
    let device = try Socket.make(.v4, .datagram)
    try Socket.send([0].span, to: Endpoint(IPAddress(127, 0, 0, 1), 9), from: device)
    let found = Socket.localEndpoint(device)
    let endpoint = try #require(found)
    var link = try LinkEnd.join(rules: [LinkEnd.rule("a", endpoint)])
    let (all, drops) = (try Self.capture(), try Self.capture { $0.onlyDrops = true })
    link.site.replaceCaptures([all, drops])
    let flow = try link.reach("a", endpoint.port, .udp)
    try link.send(flow, [1, 2, 3])
    try link.run(for: .milliseconds(200))
    // Nobody listens for TCP there, and another port isn't permitted.
    let refused = try link.open("a", endpoint.port)
    _ = try link.refusal(of: refused)
    let denied = try link.open("a", endpoint.port ^ 1)
    _ = try link.refusal(of: denied)
    try link.run(for: .milliseconds(100))
    let packets = try Self.packets(all)
    #expect(packets.contains { $0.payload == [1, 2, 3] && $0.packet.protocolNumber == IPProtocol.udp })
    let comments = try Self.packets(drops).map(\.comment)
    #expect(comments.count == 3, "\(comments)")
    #expect(comments.prefix(2).allSatisfy { $0.hasSuffix("refused: the device refused the connection") })
    #expect(comments.last?.contains("refused: the agent doesn't permit the port") == true)
    #expect(link.close() == 0)
  }
}
