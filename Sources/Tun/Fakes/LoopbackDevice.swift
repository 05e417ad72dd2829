import Packet
import Primitives

/// A device in memory that gives back what was written to it, in order.
public struct LoopbackDevice: ~Copyable, PacketDevice, Sendable {
  public private(set) var counters = DeviceCounters()
  private var queue: PacketQueue

  /// - Parameters:
  ///   - capacity: bytes that may wait.
  ///   - packetLimit: packets that may wait; more are dropped.
  public init(capacity: Int = 1 << 20, packetLimit: Int = 1024) {
    queue = PacketQueue(capacity: capacity, packetLimit: packetLimit)
  }

  public var descriptor: CInt? { nil }

  public mutating func read(into slice: Slice, pool: inout SlabPool) throws(TunError) -> PacketRead {
    guard let packet = queue.popFirst(into: slice, pool: pool) else { return .wouldBlock }
    counters.countRead(packet.slice.count, packet.offload)
    return .packet(packet.slice, packet.offload)
  }

  public mutating func write(
    _ offload: Offload, header: Span<UInt8>, payload: Span<Slice>, pool: inout SlabPool
  ) throws(TunError) -> PacketWrite {
    guard queue.append(offload, header: header, payload: payload, pool: pool) else { return counters.count(.full) }
    counters.countWritten(header: header, payload: payload, offload)
    return .written
  }
}
