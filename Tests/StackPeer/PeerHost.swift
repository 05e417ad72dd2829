import Kernel
import Packet
import Primitives
import Stack
import Tun

/// A TUN device, a stack, and one connection: the smallest host that the stack can have.
struct PeerHost: ~Copyable {
  enum Outcome: String {
    case closed, reset, refused, timedOut, outOfTime
  }

  private let arguments: Arguments
  private var device: TunDevice
  private let poller: Poller
  private var stack: Stack
  private var pool = SlabPool(limit: 512)
  private var receiveLane = SlabLane()
  private var sendLane = SlabLane()
  private var transmit = Transmit()
  private var now = Clock.now
  private var flow: FlowID?
  private var outcome: Outcome?

  /// What was sent and received, in full: hashed once the time is taken.
  private(set) var sent: [UInt8] = []
  private(set) var received: [UInt8] = []
  private var handedOver = 0
  private var peerHasFinished = false
  private var hasFinished = false
  private var establishedAt: Instant?
  private var doneAt: Instant?

  init(_ arguments: Arguments) throws {
    let features: TunFeatures = arguments.offload ? .all : []
    let device = try TunDevice(opening: TunConfiguration(name: arguments.device, offloads: features))
    let poller = try Poller()
    if let descriptor = device.descriptor { try poller.add(descriptor, token: 0, for: .readable) }
    var configuration = StackConfiguration()
    configuration.mtu = arguments.mtu
    configuration.checksumOffload = arguments.offload
    configuration.segmentationOffload = arguments.offload
    configuration.maximumReceiveWindow = arguments.window
    configuration.initialReceiveCredit = arguments.window
    configuration.congestion = arguments.congestion
    self.arguments = arguments
    self.device = device
    self.poller = poller
    stack = Stack(configuration: configuration, secret: (arguments.seed, ~arguments.seed))
    if arguments.task == .source { sent = Self.pattern(arguments.bytes, seed: arguments.seed) }
    received.reserveCapacity(arguments.bytes)
  }

  var counters: StackCounters { stack.counters }

  /// From the handshake to the last byte: received by a sink, acknowledged to the others.
  var seconds: Double {
    guard let establishedAt, let doneAt else { return 0 }
    return (doneAt - establishedAt).seconds
  }

  /// Runs until the connection has ended.
  mutating func run() throws -> Outcome {
    let end = now + .seconds(arguments.limit)
    if arguments.role == .connect {
      flow = try stack.connect(from: arguments.local, to: arguments.remote, now: now)
    }
    while outcome == nil, now < end {
      try write()
      let deadline = Instant.earliest(stack.nextDeadline, end) ?? end
      let count = try poller.wait(timeout: deadline - now)
      now = Clock.now
      stack.handleTimeout(pool: &pool, now: now)
      if count > 0 { try read() }
      takeEvents()
    }
    try write()
    return outcome ?? .outOfTime
  }

  private mutating func read() throws {
    for number in 1...64 {
      guard let region = pool.reserve(PacketLimits.size, in: &receiveLane) else { return }
      switch try device.read(into: region, pool: &pool) {
      case .wouldBlock: return
      case .dropped: continue
      case .packet(let found, let offload):
        let packet = pool.commit(region, through: found, in: &receiveLane)
        stack.receive(packet, offload: offload, pool: &pool, now: now)
        pool.release(packet)
        takeEvents()
        // Packets from a network are single segments: every second one is acknowledged (RFC 5681 section 4.2).
        if number % 2 == 0 { try write() }
      }
    }
  }

  private mutating func write() throws {
    while stack.nextTransmit(into: &transmit, pool: &pool, now: now) {
      let offload = transmit.offload
      let payload = transmit.payload
      _ = try transmit.withHeader { header throws(TunError) in
        try device.write(offload, header: header, payload: payload.span, pool: &pool)
      }
      transmit.clear(pool: &pool)
    }
  }

  // MARK: The application

  private mutating func takeEvents() {
    while let event = stack.nextEvent() {
      switch event {
      case .openRequested(let id, let tuple):
        guard flow == nil, arguments.role == .listen, tuple.destination == arguments.local else {
          stack.refuse(id, .reset, pool: &pool, now: now)
          continue
        }
        flow = id
        stack.accept(id, pool: &pool, now: now)
      case .established: establishedAt = now
      case .received(let id, let slice):
        pool.withSpan(slice) { bytes in
          for index in bytes.indices { received.append(bytes[index]) }
        }
        if arguments.task == .echo {
          pool.retain(slice)
          stack.send(id, slice, pool: &pool, now: now)
        }
        pool.release(slice)
        stack.setReceiveCredit(id, arguments.window, now: now)
      case .finished:
        peerHasFinished = true
        if arguments.task == .sink { doneAt = now }
      case .acknowledged(let id, _):
        if arguments.task != .sink, stack.unacknowledged(id) == 0 { doneAt = now }
      case .closed: outcome = .closed
      case .reset(_, let cause):
        outcome = cause == .refused ? .refused : cause == .timedOut ? .timedOut : .reset
      case .datagramFlowRequested(let id, _): stack.refuse(id, .silent, pool: &pool, now: now)
      case .datagram(_, let slice), .echoRequested(_, let slice): pool.release(slice)
      default: break
      }
    }
    handOver()
  }

  private mutating func handOver() {
    guard let flow, establishedAt != nil, !hasFinished else { return }
    let sent = self.sent
    while handedOver < sent.count, stack.unacknowledged(flow) < arguments.window {
      let size = min(sent.count - handedOver, 64 << 10)
      guard let slice = pool.copy(sent.span.extracting(handedOver..<(handedOver + size)), in: &sendLane) else { return }
      stack.send(flow, slice, pool: &pool, now: now)
      handedOver += size
    }
    if handedOver == sent.count, arguments.task == .source || peerHasFinished {
      hasFinished = true
      stack.finish(flow, now: now)
    }
  }

  /// Bytes that follow from a seed.
  private static func pattern(_ count: Int, seed: UInt64) -> [UInt8] {
    var random = SeededRandom(seed: seed)
    var bytes: [UInt8] = []
    bytes.reserveCapacity(count + 8)
    while bytes.count < count {
      var word = random.next()
      for _ in 0..<8 {
        bytes.append(UInt8(truncatingIfNeeded: word))
        word >>= 8
      }
    }
    bytes.removeLast(bytes.count - count)
    return bytes
  }
}
