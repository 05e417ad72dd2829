import Crypto
import Framing
import Packet
import Primitives
import Proxy
import Stack

/// A flow of small datagrams between an application and a device, on the real cores: the adapter's stack and the two ends
/// of a session, in virtual time.
struct DatagramPath: ~Copyable {
  var pool = SlabPool(limit: 512)
  var adapter: Stack
  var link: Session
  var site: Session
  var now = Instant(nanoseconds: 1_000_000_000)
  /// Datagrams that reached the device and the application, and how many packets the latter were in.
  var delivered = (up: 0, down: 0, packets: 0)

  private var linkStream: StreamID?
  private var siteStream: StreamID?
  private var adapterFlow: FlowID?
  private var transmit = Transmit()
  private var linkOutput = SliceQueue(minimumCapacity: 512)
  private var siteOutput = SliceQueue(minimumCapacity: 512)
  private var upLane = SlabLane()
  private var deviceLane = SlabLane()
  /// The application's packet.
  private let packet: [UInt8]

  /// Bytes of a datagram, and how many application and device send at once.
  private static let size = 200
  private static let burst = 100

  init() throws {
    let (up, down) = (try SecretBytes(random: RecordSecrets.size), try SecretBytes(random: RecordSecrets.size))
    let start = now
    let link = try Session(role: .link, secrets: RecordSecrets(send: up, receive: down), now: start)
    let site = try Session(role: .site, secrets: RecordSecrets(send: down, receive: up), now: start)
    adapter = Stack(configuration: StackConfiguration(), secret: (1, 2))
    packet = Self.packet()
    self.link = link
    self.site = site
  }

  private static func packet() -> [UInt8] {
    let count = 28 + size
    var bytes = [UInt8](repeating: 0, count: count)
    var span = bytes.mutableSpan
    IPv4Header(
      source: IPAddress(198, 18, 0, 1), destination: IPAddress(198, 18, 4, 1), protocolNumber: IPProtocol.udp,
      totalLength: UInt16(count)
    ).write(into: &span)
    var rest = span._mutatingExtracting(20..<28)
    UDPHeader(sourcePort: 40_000, destinationPort: 502, length: UInt16(8 + size)).write(into: &rest)
    return bytes
  }

  mutating func turn() throws {
    now = now + .microseconds(100)
    for _ in 0..<Self.burst { receivePacket() }
    if let stream = siteStream {
      for _ in 0..<Self.burst {
        guard let region = pool.reserve(Self.size, in: &deviceLane) else { break }
        site.sendDatagram(stream, pool.commit(region, count: Self.size, in: &deviceLane), pool: &pool)
      }
    }
    while link.hasOutput { try carryUp() }
    while site.hasOutput { try carryDown() }
    while adapter.nextTransmit(into: &transmit, pool: &pool, now: now) {
      delivered.packets += 1
      delivered.down += transmit.payload.count
      transmit.clear(pool: &pool)
    }
  }

  private mutating func receivePacket() {
    let bytes = packet
    guard let slice = pool.copy(bytes.span, in: &upLane) else { return }
    adapter.receive(slice, offload: Offload(checksum: .verified), pool: &pool, now: now)
    pool.release(slice)
    while let event = adapter.nextEvent() {
      switch event {
      case .datagramFlowRequested(let flow, let tuple):
        adapterFlow = flow
        linkStream = try? link.open(
          OpenRequest(agent: "plc", transport: .udp, port: tuple.destination.port), tag: 1)
        adapter.acceptDatagrams(flow, pool: &pool, now: now)
      case .datagram(_, let datagram):
        if let linkStream { link.sendDatagram(linkStream, datagram, pool: &pool) } else { pool.release(datagram) }
      default: break
      }
    }
  }

  private mutating func carryUp() throws {
    try link.fill(&linkOutput, limit: Path.sealAhead, pool: &pool, now: now)
    while let target = linkOutput.isEmpty ? nil : site.readTarget(pool: &pool) {
      let count = Path.fill(target, from: &linkOutput, pool: &pool)
      try site.received(count, in: target, pool: &pool, now: now)
      while let event = site.nextEvent() {
        switch event {
        case .openRequested(let stream):
          siteStream = stream
          site.accept(stream)
        case .datagram(_, let datagram):
          delivered.up += 1
          pool.release(datagram)
        default: break
        }
      }
    }
  }

  private mutating func carryDown() throws {
    try site.fill(&siteOutput, limit: Path.sealAhead, pool: &pool, now: now)
    while let target = siteOutput.isEmpty ? nil : link.readTarget(pool: &pool) {
      let count = Path.fill(target, from: &siteOutput, pool: &pool)
      try link.received(count, in: target, pool: &pool, now: now)
      while let event = link.nextEvent() {
        guard case .datagram(_, let datagram) = event else { continue }
        if let adapterFlow {
          adapter.sendDatagram(adapterFlow, datagram, pool: &pool, now: now)
        } else {
          pool.release(datagram)
        }
      }
    }
  }
}
