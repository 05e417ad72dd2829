import Packet
import Primitives
import Stack

/// The application's end of one TCP connection, as Linux plays it on a TUN device: segments made by hand, whose
/// checksums are left undone, in a buffer that is used again and again.
struct ApplicationEnd: ~Copyable {
  private let packet: Slice
  private let headerCount = IPv4Header.minimumSize + 32
  /// What the application sends next, and what it has received up to.
  private(set) var sequence: UInt32 = 1_000
  private(set) var received: UInt32 = 0

  /// Payload of a segment: MTU 1,500 less the headers, timestamps included.
  static let segmentSize = 1_448
  private static let sequenceOffset = IPv4Header.minimumSize + 4
  private static let acknowledgementOffset = IPv4Header.minimumSize + 8

  init(pool: inout SlabPool) throws {
    guard let packet = pool.takeSlab() else { throw StageFailure("no memory") }
    self.packet = packet
  }

  /// Connects: SYN, SYN-ACK, ACK. The stack's end has accepted afterwards.
  mutating func connect(_ stack: inout Stack, _ transmit: inout Transmit, pool: inout SlabPool, now: Instant) throws
    -> FlowID
  {
    // As Linux offers it.
    let options = TCPOptions(
      maximumSegmentSize: 1_460, windowScale: 7, sackPermitted: true,
      timestamps: TCPOptions.Timestamps(value: 1, echo: 0))
    send(.syn, options, payload: 0, to: &stack, pool: &pool, now: now)
    sequence += 1
    guard case .openRequested(let flow, _) = stack.nextEvent() else { throw StageFailure("no connection requested") }
    stack.accept(flow, pool: &pool, now: now)
    guard stack.nextTransmit(into: &transmit, pool: &pool, now: now) else { throw StageFailure("no SYN-ACK") }
    received = try transmit.withHeader { try ParsedPacket(parsing: $0) }.sequence + 1
    send(.ack, established, payload: 0, to: &stack, pool: &pool, now: now)
    guard case .established = stack.nextEvent() else { throw StageFailure("no connection established") }
    return flow
  }

  /// Lays out a segment that `sendAgain` then sends with the numbers of the time.
  mutating func layOut(payload count: Int, pool: inout SlabPool) {
    write([.ack, .psh], established, payload: count, pool: &pool)
  }

  /// Sends the segment that was laid out, as the next one.
  mutating func sendAgain(payload count: Int, to stack: inout Stack, pool: inout SlabPool, now: Instant) {
    pool.withMutableSpan(packet.prefix(headerCount)) { bytes in
      Self.store(sequence, in: &bytes, at: Self.sequenceOffset)
      Self.store(received, in: &bytes, at: Self.acknowledgementOffset)
    }
    let offload = Offload(
      checksum: .partial(start: IPv4Header.minimumSize, offset: 16),
      segmentation: count > Self.segmentSize ? .tcp4 : .none,
      segmentSize: count > Self.segmentSize ? Self.segmentSize : 0)
    stack.receive(packet.prefix(headerCount + count), offload: offload, pool: &pool, now: now)
    sequence &+= UInt32(count)
  }

  /// Takes payload that the stack has sent.
  mutating func take(_ count: Int) {
    received &+= UInt32(count)
  }

  private var established: TCPOptions {
    TCPOptions(timestamps: TCPOptions.Timestamps(value: 1, echo: 1))
  }

  private mutating func send(
    _ flags: TCPFlags, _ options: TCPOptions, payload count: Int, to stack: inout Stack, pool: inout SlabPool,
    now: Instant
  ) {
    let size = write(flags, options, payload: count, pool: &pool)
    let offload = Offload(checksum: .partial(start: IPv4Header.minimumSize, offset: 16))
    stack.receive(packet.prefix(size), offload: offload, pool: &pool, now: now)
  }

  @discardableResult
  private mutating func write(
    _ flags: TCPFlags, _ options: TCPOptions, payload count: Int, pool: inout SlabPool
  ) -> Int {
    let header = TCPHeader(
      sourcePort: SamplePacket.application.port, destinationPort: SamplePacket.device.port, sequence: sequence,
      acknowledgement: received, flags: flags, window: .max, options: options)
    let size = IPv4Header.minimumSize + header.headerLength + count
    pool.withMutableSpan(packet.prefix(IPv4Header.minimumSize)) { bytes in
      IPv4Header(
        source: SamplePacket.application.address, destination: SamplePacket.device.address,
        protocolNumber: IPProtocol.tcp, totalLength: UInt16(size)
      ).write(into: &bytes)
    }
    pool.withMutableSpan(packet.range(from: IPv4Header.minimumSize, count: header.headerLength)) { bytes in
      _ = header.write(into: &bytes)
    }
    return size
  }

  private static func store(_ value: UInt32, in bytes: inout MutableSpan<UInt8>, at offset: Int) {
    for index in 0..<4 { bytes[offset + index] = UInt8(truncatingIfNeeded: value >> UInt32(24 - 8 * index)) }
  }
}

extension ParsedPacket {
  /// The sequence number of a TCP segment; 0 for anything else.
  fileprivate var sequence: UInt32 {
    if case .tcp(let header) = transport { header.sequence } else { 0 }
  }
}
