import Control
import Crypto
import Framing
import Packet
import Primitives
import Proxy
import Stack

@testable import Adapter
@testable import Proxy

/// An adapter's core with sites in memory, in virtual time. Each site has one agent, `plc`, with all ports and ping.
final class CoreBench {
  /// A site's end of a session: what it is asked for, it accepts.
  struct Site: ~Copyable {
    var session: Session
    let id: SlotID
  }

  var core: AdapterCore
  var pool = SlabPool(limit: 64)
  var lane = SlabLane()
  var now = Instant(nanoseconds: 1_000_000_000)
  private var connections: UInt32 = 0

  static let application = IPAddress(10, 20, 30, 40)
  static let agent = AgentDescription(
    name: "plc", target: .device(.v4), tcp: [PortRange(1, 65_535)!], udp: [PortRange(1, 65_535)!], icmp: true)

  init(_ configure: (inout AdapterConfiguration) -> Void = { _ in }) {
    var configuration = AdapterConfiguration()
    configuration.offloads = false
    configure(&configuration)
    core = AdapterCore(configuration: configuration, secret: (1, 2), now: now)
  }

  func attach(_ name: String) throws -> Site {
    let (up, down) = (try SecretBytes(random: 32), try SecretBytes(random: 32))
    connections += 1
    let id = try core.attach(
      site: name, session: SessionID.random(), agents: [Self.agent], secrets: RecordSecrets(send: up, receive: down),
      surplus: [], connection: SlotID(index: connections, generation: 1), now: now)
    let session = try Session(role: .site, secrets: RecordSecrets(send: down, receive: up), now: now)
    return Site(session: session, id: id)
  }

  /// Carries what waits between a site and the core, once each way; payload comes back from the site.
  func exchange(_ site: inout Site) throws {
    let up = try core.takeOutput(of: site.id, now: now)
    try site.session.deliver(up, pool: &pool, now: now)
    while let event = site.session.nextEvent() {
      switch event {
      case .openRequested(let id): site.session.accept(id)
      case .datagram(let id, let slice), .echo(let id, let slice):
        site.session.sendDatagram(id, slice, pool: &pool)
      case .data(_, let slice): pool.release(slice)
      default: break
      }
    }
    var output = SliceQueue()
    try site.session.fill(&output, limit: 1 << 20, pool: &pool, now: now)
    try core.deliver(output.take(&pool), to: site.id, now: now)
    now = now + .milliseconds(1)
  }

  func alias(of site: String) -> IPAddress? { core.table.all.first { $0.site == site }?.v4?.address }

  /// Hands in a packet whose checksums nobody looks at.
  private func receive(_ segment: [UInt8], _ number: UInt8, to destination: IPAddress) {
    var packet = [UInt8](repeating: 0, count: 20)
    var span = packet.mutableSpan
    IPv4Header(
      source: Self.application, destination: destination, protocolNumber: number,
      totalLength: UInt16(20 + segment.count)
    ).write(into: &span)
    core.receive(packet + segment, in: &lane, now: now)
  }

  func ping(_ identifier: UInt16, to destination: IPAddress) {
    var header = [UInt8](repeating: 0, count: 8)
    var span = header.mutableSpan
    ICMPMessage.echoRequest(identifier: identifier, sequence: 1).write(
      into: &span, source: Self.application, destination: destination)
    receive(header + [1, 2, 3, 4], IPProtocol.icmp, to: destination)
  }

  func datagram(from port: UInt16, to destination: Endpoint) {
    var header = [UInt8](repeating: 0, count: 8)
    var span = header.mutableSpan
    UDPHeader(sourcePort: port, destinationPort: destination.port, length: 9).write(into: &span)
    receive(header + [7], IPProtocol.udp, to: destination.address)
  }

  /// Takes the packets for applications: which kinds of message there were.
  func sent() throws -> [ParsedPacket.Transport] {
    var transmit = Transmit()
    var packets: [ParsedPacket.Transport] = []
    while core.nextTransmit(into: &transmit, now: now) {
      if !core.taps.isEmpty { core.tap(transmit, at: now.nanoseconds) }
      var bytes: [UInt8] = []
      transmit.withHeader { header in for index in header.indices { bytes.append(header[index]) } }
      for slice in transmit.payload { bytes += core.pool.array(slice) }
      transmit.clear(pool: &core.pool)
      packets.append(try ParsedPacket(parsing: bytes.span).transport)
    }
    return packets
  }

  /// Closes everything.
  ///
  /// - Returns: slabs that are held still.
  func close() -> Int {
    core.close(now: now)
    core.pool.close(&lane)
    return core.pool.slabsInUse - core.pool.cellSlabs
  }
}

extension AdapterCore {
  /// Seals what waits for a site, and takes it.
  fileprivate mutating func takeOutput(of site: SlotID, now: Instant) throws -> [UInt8] {
    try sites[site].peer.seal(pool: &pool, now: now)
    let bytes = sites[site].peer.output.take(&pool)
    sealed(site, now: now)
    return bytes
  }

  fileprivate mutating func deliver(_ bytes: [UInt8], to site: SlotID, now: Instant) throws {
    try sites[site].peer.session.deliver(bytes, pool: &pool, now: now)
    takeEvents(of: site, now: now)
  }

  fileprivate mutating func receive(_ packet: [UInt8], in lane: inout SlabLane, now: Instant) {
    guard let slice = pool.copy(packet.span, in: &lane) else { return }
    if taps.isEmpty {
      receive(slice, offload: Offload(checksum: .verified), now: now)
    } else {
      receiveTapped(slice, offload: Offload(checksum: .verified), at: now.nanoseconds, now: now)
    }
    pool.release(slice)
  }
}

extension SliceQueue {
  fileprivate mutating func take(_ pool: inout SlabPool) -> [UInt8] {
    var bytes: [UInt8] = []
    while !isEmpty {
      let slice = self[0]
      bytes += pool.array(slice)
      drop(slice.count, pool: &pool)
    }
    return bytes
  }
}

extension Session {
  fileprivate mutating func deliver(
    _ bytes: [UInt8], pool: inout SlabPool, now: Instant
  ) throws(SessionError) {
    var start = 0
    while start < bytes.count {
      guard let target = readTarget(pool: &pool) else { throw .misuse("pool exhausted") }
      let part = bytes[start..<min(bytes.count, start + target.first.count)]
      pool.withMutableSpan(target.first.prefix(part.count)) { room in
        for (index, byte) in part.enumerated() { room[index] = byte }
      }
      try received(part.count, in: target, pool: &pool, now: now)
      start += part.count
    }
  }
}
