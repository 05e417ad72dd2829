import Packet
import Primitives
import Stack

/// The applications' host: a stack in the place of its kernel, and a socket for each connection.
final class ApplicationHost {
  var stack: Stack
  var pool = SlabPool(limit: 512)
  private var sendLane = SlabLane()
  private var packetLane = SlabLane()
  private var transmit = Transmit()
  var connectionOf: [FlowID: Int] = [:]
  var needsFlush = false

  static let sendBuffer = 256 * 1024

  init(_ configuration: StackConfiguration, seed: UInt64) {
    stack = Stack(configuration: configuration, secret: (seed &* 3, ~seed))
  }

  func receive(_ packet: FaultyLink.Packet, now: Instant) {
    guard let slice = pool.copy(packet.bytes.span, in: &packetLane) else { return }
    stack.receive(slice, offload: packet.offload, pool: &pool, now: now)
    pool.release(slice)
    needsFlush = true
  }

  /// Queues bytes of a stream; `false` if there is no memory.
  func send(_ flow: FlowID, _ count: Int, key: Int, from position: Int, now: Instant) -> Bool {
    guard let region = pool.reserve(count, in: &sendLane) else { return false }
    let slice = pool.commit(region, count: count, in: &sendLane)
    pool.withMutableSpan(slice) { Pattern.write(key, from: position, into: &$0) }
    stack.send(flow, slice, pool: &pool, now: now)
    needsFlush = true
    return true
  }

  /// The next packet for the device.
  func nextPacket(now: Instant) -> FaultyLink.Packet? {
    guard stack.nextTransmit(into: &transmit, pool: &pool, now: now) else { return nil }
    defer { transmit.clear(pool: &pool) }
    return FaultyLink.join(transmit, pool: pool)
  }

  /// Slabs that are still held once everything is let go: must be none.
  func close() -> Int {
    stack.removeAll(pool: &pool)
    transmit.clear(pool: &pool)
    pool.close(&sendLane)
    pool.close(&packetLane)
    return pool.slabsInUse - pool.cellSlabs + pool.cellsInUse
  }
}
