import Packet
import Primitives

@testable import Stack

/// Packets made by hand, with complete checksums.
enum Packets {
  static let application = Endpoint(IPAddress(10, 0, 0, 1), 40_000)
  static let device = Endpoint(IPAddress(10, 9, 9, 9), 80)
  static let application6 = Endpoint(IPAddress(v6: 0xFD00 << 112 | 1), 40_000)
  static let device6 = Endpoint(IPAddress(v6: 0xFD00 << 112 | 2), 80)

  static func tcp(
    _ header: TCPHeader, from source: Endpoint = application, to destination: Endpoint = device,
    payload: [UInt8] = []
  ) -> [UInt8] {
    var header = header
    header.sourcePort = source.port
    header.destinationPort = destination.port
    header.checksum = 0
    var segment = [UInt8](repeating: 0, count: header.headerLength)
    var span = segment.mutableSpan
    header.write(into: &span)
    segment += payload
    return ip(segment, IPProtocol.tcp, from: source.address, to: destination.address, checksumAt: 16)
  }

  static func tcp(
    _ flags: TCPFlags, sequence: UInt32, acknowledgement: UInt32 = 0, window: UInt16 = 65_535,
    options: TCPOptions = TCPOptions(), payload: [UInt8] = [], from source: Endpoint = application,
    to destination: Endpoint = device
  ) -> [UInt8] {
    tcp(
      TCPHeader(
        sourcePort: 0, destinationPort: 0, sequence: sequence, acknowledgement: acknowledgement, flags: flags,
        window: window, options: options), from: source, to: destination, payload: payload)
  }

  static func udp(
    _ payload: [UInt8], from source: Endpoint = application, to destination: Endpoint = device
  ) -> [UInt8] {
    var segment = [UInt8](repeating: 0, count: 8)
    var span = segment.mutableSpan
    UDPHeader(sourcePort: source.port, destinationPort: destination.port, length: UInt16(8 + payload.count))
      .write(into: &span)
    return ip(
      segment + payload, IPProtocol.udp, from: source.address, to: destination.address, checksumAt: 6)
  }

  static func icmp(
    _ message: ICMPMessage, payload: [UInt8], from source: IPAddress = application.address,
    to destination: IPAddress = device.address
  ) -> [UInt8] {
    var sum = Checksum()
    sum.add(payload.span)
    var segment = [UInt8](repeating: 0, count: 8)
    var span = segment.mutableSpan
    message.write(
      into: &span, source: source, destination: destination, payload: sum, payloadLength: payload.count)
    let number = source.family == .v4 ? IPProtocol.icmp : IPProtocol.icmpv6
    return ip(segment + payload, number, from: source, to: destination, checksumAt: nil)
  }

  static func ip(
    _ segment: [UInt8], _ number: UInt8, from source: IPAddress, to destination: IPAddress, checksumAt: Int?
  ) -> [UInt8] {
    var segment = segment
    if let checksumAt {
      let pseudo = Checksum.pseudoHeader(
        source: source, destination: destination, protocol: number, length: segment.count)
      let value = Checksum.of(segment.span, adding: pseudo)
      segment[checksumAt] = UInt8(value >> 8)
      segment[checksumAt + 1] = UInt8(truncatingIfNeeded: value)
    }
    return header(number, count: segment.count, from: source, to: destination) + segment
  }

  static func header(
    _ number: UInt8, count: Int, from source: IPAddress, to destination: IPAddress, identification: UInt16 = 0,
    offset: Int = 0, hasMore: Bool = false
  ) -> [UInt8] {
    var header = [UInt8](repeating: 0, count: source.family == .v4 ? 20 : 40)
    var span = header.mutableSpan
    if source.family == .v4 {
      IPv4Header(
        source: source, destination: destination, protocolNumber: number, totalLength: UInt16(20 + count),
        identification: identification, moreFragments: hasMore, fragmentOffset: offset
      ).write(into: &span)
    } else {
      IPv6Header(source: source, destination: destination, nextHeader: number, payloadLength: UInt16(count))
        .write(into: &span)
    }
    return header
  }

  /// Cuts a packet into fragments of at most `size` bytes of payload, a multiple of 8.
  static func fragments(_ packet: [UInt8], size: Int, identification: UInt16) throws -> [[UInt8]] {
    let parsed = try ParsedPacket(parsing: packet.span)
    let payload = Array(packet[parsed.ipHeaderLength...])
    return stride(from: 0, to: payload.count, by: size).map { offset in
      let part = Array(payload[offset..<min(payload.count, offset + size)])
      let hasMore = offset + size < payload.count
      guard parsed.version == .v6 else {
        return header(
          parsed.protocolNumber, count: part.count, from: parsed.source, to: parsed.destination,
          identification: identification, offset: offset, hasMore: hasMore) + part
      }
      var fragment = [UInt8](repeating: 0, count: 8)
      var span = fragment.mutableSpan
      IPv6FragmentHeader(
        nextHeader: parsed.protocolNumber, offset: offset, moreFragments: hasMore,
        identification: UInt32(identification)
      ).write(into: &span)
      return header(
        IPProtocol.fragment, count: 8 + part.count, from: parsed.source, to: parsed.destination) + fragment + part
    }
  }
}

/// A stack with its memory, driven packet by packet. Everything it sends must parse and have a valid checksum.
final class Bench {
  var stack: Stack
  var pool = SlabPool(slabSize: 256 * 1024, limit: 64)
  var lane = SlabLane()
  var transmit = Transmit()
  var now = Instant(nanoseconds: 5_000_000_000)

  init(_ configure: (inout StackConfiguration) -> Void = { _ in }) {
    var configuration = StackConfiguration()
    configuration.checksumOffload = false
    configuration.segmentationOffload = false
    configure(&configuration)
    stack = Stack(configuration: configuration, secret: (1, 2))
  }

  func receive(_ bytes: [UInt8], offload: Offload = .none) {
    guard let packet = pool.copy(bytes.span, in: &lane) else { return }
    stack.receive(packet, offload: offload, pool: &pool, now: now)
    pool.release(packet)
  }

  /// A slice with one reference for the stack to take over.
  func slice(_ bytes: [UInt8]) -> Slice {
    guard let slice = pool.copy(bytes.span, in: &lane) else { preconditionFailure("pool exhausted") }
    return slice
  }

  /// All packets that the stack has to send.
  func sent() throws -> [(packet: ParsedPacket, bytes: [UInt8])] {
    var packets: [(ParsedPacket, [UInt8])] = []
    while stack.nextTransmit(into: &transmit, pool: &pool, now: now) {
      var bytes: [UInt8] = []
      transmit.withHeader { header in
        for index in header.indices { bytes.append(header[index]) }
      }
      for slice in transmit.payload { bytes += pool.array(slice) }
      let parsed = try ParsedPacket(parsing: bytes.span)
      if transmit.offload.checksum == .complete { try parsed.verifyChecksum(in: bytes.span) }
      packets.append((parsed, bytes))
    }
    return packets
  }

  func sentSegments() throws -> [TCPHeader] {
    try sent().compactMap { if case .tcp(let header) = $0.packet.transport { header } else { nil } }
  }

  func events() -> [StackEvent] {
    var events: [StackEvent] = []
    while let event = stack.nextEvent() { events.append(event) }
    return events
  }

  /// Runs the clock, acting on each deadline on the way; returns what was sent.
  @discardableResult
  func advance(_ interval: Interval) throws -> [(packet: ParsedPacket, bytes: [UInt8])] {
    let end = now + interval
    var packets: [(packet: ParsedPacket, bytes: [UInt8])] = []
    while let deadline = stack.nextDeadline, deadline <= end {
      now = max(now, deadline)
      stack.handleTimeout(pool: &pool, now: now)
      packets += try sent()
    }
    now = end
    return packets
  }

  /// An established connection that the application opened at sequence number 1000.
  ///
  /// - Returns: the flow and the number that the stack sends next.
  func establish(options: TCPOptions = TCPOptions(maximumSegmentSize: 1460)) throws -> (FlowID, UInt32)? {
    receive(Packets.tcp(.syn, sequence: 999, options: options))
    guard case .openRequested(let flow, _)? = events().first else { return nil }
    stack.accept(flow, pool: &pool, now: now)
    guard let answer = try sentSegments().first else { return nil }
    receive(Packets.tcp(.ack, sequence: 1000, acknowledgement: answer.sequence &+ 1, options: echo(answer, options)))
    _ = events()
    return (flow, answer.sequence &+ 1)
  }

  private func echo(_ answer: TCPHeader, _ offered: TCPOptions) -> TCPOptions {
    guard let value = answer.options.timestamps?.value, let own = offered.timestamps?.value else {
      return TCPOptions()
    }
    return TCPOptions(timestamps: .init(value: own, echo: value))
  }

  func leakedSlabs() -> Int {
    stack.removeAll(pool: &pool)
    transmit.clear(pool: &pool)
    pool.close(&lane)
    return pool.slabsInUse - pool.cellSlabs
  }
}
