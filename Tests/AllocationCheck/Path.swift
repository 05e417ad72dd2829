import Crypto
import Framing
import Packet
import Primitives
import Proxy
import Stack

/// One TCP connection from an application to a device, on the real cores: the application's stack, the adapter's
/// stack, and the two ends of a session, in virtual time and with memory in the place of wires.
struct Path: ~Copyable {
  var pool = SlabPool(limit: 512)
  var application: Stack
  var adapter: Stack
  var link: Session
  var site: Session
  var applicationFlow: FlowID?
  var adapterFlow: FlowID?
  var linkStream: StreamID?
  var siteStream: StreamID?
  var now = Instant(nanoseconds: 1_000_000_000)
  /// Bytes that reached the device and the application.
  var delivered = (up: 0, down: 0)

  private var transmit = Transmit()
  private var linkOutput = SliceQueue(minimumCapacity: 512)
  private var siteOutput = SliceQueue(minimumCapacity: 512)
  // Who writes where: the application, the device, and each stack's side of the packet device.
  private var applicationLane = SlabLane()
  private var deviceLane = SlabLane()
  private var upLane = SlabLane()
  private var downLane = SlabLane()
  /// Bytes that the application has sent and that aren't acknowledged.
  private var applicationUnacknowledged = 0

  /// Bytes that application and device hand over at once.
  static let chunk = 64 * 1024
  /// Bytes that the application has in flight at most.
  private static let sendBuffer = 1 << 20
  /// Bytes that the application takes in at once.
  private static let receiveBuffer = 1 << 20

  init() throws {
    let upSecret = try SecretBytes(random: RecordSecrets.size)
    let downSecret = try SecretBytes(random: RecordSecrets.size)
    let start = now
    let link = try Session(role: .link, secrets: RecordSecrets(send: upSecret, receive: downSecret), now: start)
    let site = try Session(role: .site, secrets: RecordSecrets(send: downSecret, receive: upSecret), now: start)
    // As the adapter sets up its own.
    var configuration = StackConfiguration()
    configuration.maximumReceiveWindow = SessionLimits().maximumWindow
    configuration.initialReceiveCredit = SessionLimits.initialWindow
    adapter = Stack(configuration: configuration, secret: (1, 2))
    application = Stack(configuration: configuration, secret: (3, 4))
    self.link = link
    self.site = site
  }

  /// Connects to the device.
  mutating func open() throws {
    applicationFlow = try application.connect(
      from: Endpoint(IPAddress(198, 18, 0, 1), 40_000), to: Endpoint(IPAddress(198, 18, 4, 1), 502), now: now)
  }

  /// One turn of every part: what an event loop does in an iteration.
  mutating func turn() throws {
    now = now + .microseconds(100)
    feedApplication()
    feedDevice()
    carryPackets()
    try carryRecords()
    takeTime()
    carryPackets()
  }

  // MARK: The ends

  private mutating func feedApplication() {
    guard let flow = applicationFlow, siteStream != nil else { return }
    while applicationUnacknowledged + Self.chunk <= Self.sendBuffer,
      let region = pool.reserve(Self.chunk, in: &applicationLane)
    {
      applicationUnacknowledged += Self.chunk
      let slice = pool.commit(region, count: Self.chunk, in: &applicationLane)
      application.send(flow, slice, pool: &pool, now: now)
    }
  }

  private mutating func feedDevice() {
    guard let stream = siteStream else { return }
    var budget = 8
    while budget > 0, site.sendCredit(stream) >= Self.chunk, let region = pool.reserve(Self.chunk, in: &deviceLane) {
      budget -= 1
      let slice = pool.commit(region, count: Self.chunk, in: &deviceLane)
      try? site.send(stream, slice, pool: &pool)
    }
  }

  // MARK: Packets

  private mutating func carryPackets() {
    var isMoving = true
    while isMoving {
      isMoving = false
      while application.nextTransmit(into: &transmit, pool: &pool, now: now) {
        isMoving = true
        guard let packet = join(in: .up) else { return }
        adapter.receive(packet, offload: transmit.offload, pool: &pool, now: now)
        pool.release(packet)
        takeAdapterEvents()
      }
      while adapter.nextTransmit(into: &transmit, pool: &pool, now: now) {
        isMoving = true
        guard let packet = join(in: .down) else { return }
        application.receive(packet, offload: transmit.offload, pool: &pool, now: now)
        pool.release(packet)
        takeApplicationEvents()
      }
    }
  }

  private enum Direction { case up, down }

  /// A packet in one piece, as a packet device hands it over.
  private mutating func join(in direction: Direction) -> Slice? {
    let count = transmit.count
    let packet: Slice?
    switch direction {
    case .up: packet = pool.reserve(count, in: &upLane).map { pool.commit($0, count: count, in: &upLane) }
    case .down: packet = pool.reserve(count, in: &downLane).map { pool.commit($0, count: count, in: &downLane) }
    }
    guard let packet else { return nil }
    transmit.withHeader { header in
      pool.withMutableSpan(packet.prefix(header.count)) { target in
        for index in header.indices { target[index] = header[index] }
      }
    }
    var offset = transmit.headerCount
    for index in transmit.payload.indices {
      let piece = transmit.payload[index]
      pool.copyBytes(of: piece, to: packet.range(from: offset, count: piece.count))
      offset += piece.count
    }
    return packet
  }

  private mutating func takeApplicationEvents() {
    while let event = application.nextEvent() {
      switch event {
      case .received(let flow, let slice):
        delivered.down += slice.count
        pool.release(slice)
        application.setReceiveCredit(flow, Self.receiveBuffer, now: now)
      case .acknowledged(_, let count): applicationUnacknowledged -= count
      case .established(let flow): application.setReceiveCredit(flow, Self.receiveBuffer, now: now)
      default: break
      }
    }
  }

  private mutating func takeAdapterEvents() {
    while let event = adapter.nextEvent() {
      switch event {
      case .openRequested(let flow, let tuple):
        adapterFlow = flow
        let request = OpenRequest(agent: "plc", transport: .tcp, port: tuple.destination.port)
        linkStream = try? link.open(request, tag: 1)
      case .received(_, let slice):
        guard let stream = linkStream else {
          pool.release(slice)
          continue
        }
        try? link.send(stream, slice, pool: &pool)
      case .acknowledged(_, let count):
        if let stream = linkStream { link.consumed(stream, count, now: now) }
      default: break
      }
    }
  }

  // MARK: Records

  static let sealAhead = 256 * 1024

  private mutating func carryRecords() throws {
    while link.hasOutput {
      try link.fill(&linkOutput, limit: Self.sealAhead, pool: &pool, now: now)
      while let target = linkOutput.isEmpty ? nil : site.readTarget(pool: &pool) {
        let count = Self.fill(target, from: &linkOutput, pool: &pool)
        try site.received(count, in: target, pool: &pool, now: now)
        takeSiteEvents()
      }
    }
    while site.hasOutput {
      try site.fill(&siteOutput, limit: Self.sealAhead, pool: &pool, now: now)
      while let target = siteOutput.isEmpty ? nil : link.readTarget(pool: &pool) {
        let count = Self.fill(target, from: &siteOutput, pool: &pool)
        try link.received(count, in: target, pool: &pool, now: now)
        takeLinkEvents()
      }
      // What was opened leaves for the application while it is warm.
      carryPackets()
    }
  }

  /// Copies sealed bytes to where the other end reads them, as two sockets would.
  static func fill(
    _ target: RecordReader.Target, from output: inout SliceQueue, pool: inout SlabPool
  ) -> Int {
    let count = copy(&output, to: target.first, pool: &pool)
    guard count == target.first.count, let second = target.second else { return count }
    return count + copy(&output, to: second, pool: &pool)
  }

  private static func copy(_ output: inout SliceQueue, to region: Slice, pool: inout SlabPool) -> Int {
    var copied = 0
    while copied < region.count, !output.isEmpty {
      let piece = output[0]
      let count = min(piece.count, region.count - copied)
      pool.copyBytes(of: piece.prefix(count), to: region.range(from: copied, count: count))
      output.drop(count, pool: &pool)
      copied += count
    }
    return copied
  }

  private mutating func takeSiteEvents() {
    while let event = site.nextEvent() {
      switch event {
      case .openRequested(let stream):
        site.accept(stream)
        siteStream = stream
      case .data(let stream, let slice):
        delivered.up += slice.count
        site.consumed(stream, slice.count, now: now)
        pool.release(slice)
      default: break
      }
    }
  }

  private mutating func takeLinkEvents() {
    while let event = link.nextEvent() {
      switch event {
      case .opened(let stream):
        guard let flow = adapterFlow else { continue }
        adapter.setReceiveCredit(flow, link.sendCredit(stream), now: now)
        adapter.accept(flow, pool: &pool, now: now)
      case .writable(let stream):
        if let flow = adapterFlow { adapter.setReceiveCredit(flow, link.sendCredit(stream), now: now) }
      case .data(_, let slice):
        guard let flow = adapterFlow else {
          pool.release(slice)
          continue
        }
        adapter.send(flow, pool.compact(slice), pool: &pool, now: now)
      default: break
      }
    }
  }

  // MARK: Time

  private mutating func takeTime() {
    if let deadline = application.nextDeadline, now >= deadline { application.handleTimeout(pool: &pool, now: now) }
    if let deadline = adapter.nextDeadline, now >= deadline { adapter.handleTimeout(pool: &pool, now: now) }
    if let deadline = link.nextDeadline, now >= deadline { try? link.handleTimeout(now: now) }
    if let deadline = site.nextDeadline, now >= deadline { try? site.handleTimeout(now: now) }
  }
}
