import Kernel
import Packet
import Primitives
import Stack
import Tun

/// A TUN device, a stack, and two services.
struct StackServer: ~Copyable {
  private static let sinkPort: UInt16 = 7100
  private static let sourcePort: UInt16 = 7101
  /// What a flow may have unread, and what a source hands over ahead of acknowledgements.
  private static let window = 1 << 20
  private static let piece = 64 * 1024

  private var device: TunDevice
  private let poller: Poller
  private var stack: Stack
  private var pool = SlabPool(limit: 256)
  private var lane = SlabLane()
  private var transmit = Transmit()
  private var now = Clock.now
  /// What a source sends, again and again: in a host a system call puts it there.
  private let payload: Slice

  init(device name: String) throws {
    let device = try TunDevice(opening: TunConfiguration(name: name, offloads: .all))
    let poller = try Poller()
    if let descriptor = device.descriptor { try poller.add(descriptor, token: 0, for: .readable) }
    var configuration = StackConfiguration()
    configuration.maximumReceiveWindow = Self.window
    configuration.initialReceiveCredit = Self.window
    stack = Stack(configuration: configuration, secret: (1, 2))
    var payloadLane = SlabLane()
    guard let region = pool.reserve(Self.piece, in: &payloadLane) else { fatalError("the pool is empty") }
    payload = pool.commit(region, count: Self.piece, in: &payloadLane)
    self.device = device
    self.poller = poller
  }

  mutating func run() throws {
    while true {
      try write()
      let timeout = stack.nextDeadline.map { $0 - now }
      let count = try poller.wait(timeout: timeout)
      now = Clock.now
      stack.handleTimeout(pool: &pool, now: now)
      if count > 0 { try read() }
      takeEvents()
    }
  }

  /// Four super-segments, then the stack may answer, as in the adapter.
  private mutating func read() throws {
    for _ in 0..<4 {
      guard let region = pool.reserve(PacketLimits.size, in: &lane) else { return }
      switch try device.read(into: region, pool: &pool) {
      case .wouldBlock: return
      case .dropped: continue
      case .packet(let found, let offload):
        let packet = pool.commit(region, through: found, in: &lane)
        stack.receive(packet, offload: offload, pool: &pool, now: now)
        pool.release(packet)
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

  private mutating func takeEvents() {
    while let event = stack.nextEvent() {
      switch event {
      case .openRequested(let flow, let tuple):
        guard [Self.sinkPort, Self.sourcePort].contains(tuple.destination.port) else {
          stack.refuse(flow, .reset, pool: &pool, now: now)
          continue
        }
        stack.accept(flow, pool: &pool, now: now)
        // Until it is established, this waits.
        if tuple.destination.port == Self.sourcePort { fill(flow) }
      case .received(let flow, let slice):
        pool.release(slice)
        stack.setReceiveCredit(flow, Self.window, now: now)
      case .acknowledged(let flow, _): fill(flow)
      case .finished(let flow): stack.finish(flow, now: now)
      case .datagramFlowRequested(let flow, _): stack.refuse(flow, .silent, pool: &pool, now: now)
      case .datagram(_, let slice), .echoRequested(_, let slice): pool.release(slice)
      default: break
      }
    }
  }

  private mutating func fill(_ flow: FlowID) {
    while stack.unacknowledged(flow) < Self.window {
      pool.retain(payload)
      stack.send(flow, payload, pool: &pool, now: now)
      // A flow that has ended takes nothing.
      guard stack.unacknowledged(flow) > 0 else { return }
    }
  }
}
