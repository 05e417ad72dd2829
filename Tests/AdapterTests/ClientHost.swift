import Kernel
import Packet
import Primitives
import Stack
import Tun

/// Applications on the adapter's host: a stack at the other end of a wire in memory, driven by the test's thread.
final class ClientHost {
  /// One connection, as its application sees it.
  struct Application {
    var outbox: [UInt8] = []
    /// Whether it takes what arrives; otherwise its window closes.
    var reads = true
    var sent = 0
    var finishes = false
    var hasFinished = false
    var inbox: [UInt8] = []
    var isEstablished = false
    var peerFinished = false
    var isClosed = false
    var reset: ResetCause?
  }

  private var stack: Stack
  private var device: MemoryDevice
  private var pool = SlabPool(limit: 256)
  private var lane = SlabLane()
  private var receiveLane = SlabLane()
  private var transmit = Transmit()
  private var nextPort: UInt16 = 40_000
  var applications: [FlowID: Application] = [:]
  /// Codes of ICMP destination unreachable that arrived.
  private(set) var unreachable: [UInt8] = []
  /// Payload of UDP datagrams that arrived.
  private(set) var datagrams: [[UInt8]] = []
  /// Whether applications listen, on every port; and who came.
  var accepts = false
  private(set) var accepted: [(flow: FlowID, from: Endpoint)] = []

  static let address = IPAddress(10, 20, 30, 40)

  init(_ device: consuming MemoryDevice) {
    stack = Stack(configuration: StackConfiguration(), secret: (1, 2))
    self.device = device
  }

  func connect(
    to destination: Endpoint, sending bytes: [UInt8] = [], finishes: Bool = false, reads: Bool = true
  ) throws -> FlowID {
    nextPort += 1
    let flow = try stack.connect(from: Endpoint(Self.address, nextPort), to: destination, now: Clock.now)
    applications[flow] = Application(outbox: bytes, reads: reads, finishes: finishes)
    return flow
  }

  func sendDatagram(_ payload: [UInt8], to destination: Endpoint) throws {
    var packet = [UInt8](repeating: 0, count: 28)
    var span = packet.mutableSpan
    IPv4Header(
      source: Self.address, destination: destination.address, protocolNumber: IPProtocol.udp,
      totalLength: UInt16(28 + payload.count)
    ).write(into: &span)
    var segment = [UInt8](repeating: 0, count: 8)
    var header = segment.mutableSpan
    // A checksum of 0: none was made (RFC 768).
    UDPHeader(sourcePort: 5353, destinationPort: destination.port, length: UInt16(8 + payload.count))
      .write(into: &header)
    packet.replaceSubrange(20..<28, with: segment)
    packet += payload
    let none: [Slice] = []
    _ = try device.write(.none, header: packet.span, payload: none.span, pool: &pool)
  }

  /// Drives everything until `isDone`.
  ///
  /// - Returns: whether that came about within `seconds`.
  func run(_ seconds: Int64 = 20, until isDone: (ClientHost) -> Bool) throws -> Bool {
    let poller = try Poller()
    if let descriptor = device.descriptor { try poller.add(descriptor, token: 1, for: .readable) }
    let end = Clock.now + .seconds(seconds)
    while !isDone(self) {
      guard Clock.now < end else { return false }
      try readDevice()
      stack.handleTimeout(pool: &pool, now: Clock.now)
      takeEvents()
      for flow in applications.keys { pump(flow) }
      while stack.nextTransmit(into: &transmit, pool: &pool, now: Clock.now) {
        let payload = transmit.payload
        let header = transmit.withHeader { header in (0..<header.count).map { header[$0] } }
        _ = try device.write(transmit.offload, header: header.span, payload: payload.span, pool: &pool)
        transmit.clear(pool: &pool)
      }
      _ = try poller.wait(timeout: .milliseconds(2))
    }
    return true
  }

  private func readDevice() throws {
    while let region = pool.reserve(PacketLimits.size, in: &receiveLane) {
      guard case .packet(let packet, let offload) = try device.read(into: region, pool: &pool) else { return }
      let kept = pool.commit(region, through: packet, in: &receiveLane)
      look(at: pool.array(packet))
      stack.receive(packet, offload: offload, pool: &pool, now: Clock.now)
      pool.release(kept)
      takeEvents()
    }
  }

  /// What the stack has no use for, but a test has.
  private func look(at packet: [UInt8]) {
    guard let parsed = try? ParsedPacket(parsing: packet.span) else { return }
    switch parsed.transport {
    case .icmp(.destinationUnreachable(let code, mtu: _)): unreachable.append(code)
    case .udp: datagrams.append(Array(packet[parsed.payloadOffset..<parsed.totalLength]))
    default: break
    }
  }

  private func takeEvents() {
    while let event = stack.nextEvent() {
      switch event {
      case .established(let flow):
        applications[flow]?.isEstablished = true
        if applications[flow]?.reads == true { stack.setReceiveCredit(flow, 1 << 20, now: Clock.now) }
      case .received(let flow, let slice):
        applications[flow]?.inbox += pool.array(slice)
        pool.release(slice)
        if applications[flow]?.reads == true { stack.setReceiveCredit(flow, 1 << 20, now: Clock.now) }
      case .finished(let flow): applications[flow]?.peerFinished = true
      case .closed(let flow): applications[flow]?.isClosed = true
      case .reset(let flow, let cause): applications[flow]?.reset = cause
      case .datagramFlowRequested(let flow, _): stack.refuse(flow, .silent, pool: &pool, now: Clock.now)
      case .datagram(_, let slice), .echoRequested(_, let slice): pool.release(slice)
      case .openRequested(let flow, let tuple):
        guard accepts else { break }
        accepted.append((flow, tuple.source))
        applications[flow] = Application()
        stack.accept(flow, pool: &pool, now: Clock.now)
      case .acknowledged, .datagramRejected, .datagramFlowExpired: break
      }
    }
  }

  private func pump(_ flow: FlowID) {
    guard var application = applications[flow], application.isEstablished, !application.hasFinished else { return }
    while application.sent < application.outbox.count, stack.unacknowledged(flow) < 256 << 10 {
      let count = min(60_000, application.outbox.count - application.sent)
      let bytes = application.outbox[application.sent..<application.sent + count]
      guard let slice = pool.copy(Array(bytes).span, in: &lane) else { break }
      stack.send(flow, slice, pool: &pool, now: Clock.now)
      application.sent += count
    }
    if application.finishes, application.sent == application.outbox.count {
      application.hasFinished = true
      stack.finish(flow, now: Clock.now)
    }
    applications[flow] = application
  }
}
