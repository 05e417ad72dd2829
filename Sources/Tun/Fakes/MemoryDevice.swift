import Kernel
import Packet
import Primitives
import Synchronization

/// One end of a wire in memory: what is written here is read at the other end, which may belong to another thread.
///
/// For an application that has its packets in memory, and for tests of what drives a device.
public struct MemoryDevice: ~Copyable, Sendable, PacketDevice {
  /// One direction of the wire.
  private final class Lane: Sendable {
    let queue: Mutex<PacketQueue>
    let wakeup: Wakeup

    init(capacity: Int, packetLimit: Int) throws(TunError) {
      queue = Mutex(PacketQueue(capacity: capacity, packetLimit: packetLimit))
      wakeup = try Self.makeWakeup()
    }

    private static func makeWakeup() throws(TunError) -> Wakeup {
      do throws(SystemError) { return try Wakeup() } catch { throw TunError(error) }
    }
  }

  public private(set) var counters = DeviceCounters()
  private let inbound: Lane
  private let outbound: Lane

  /// One end of a new wire; `peer` gives the other.
  ///
  /// - Parameters:
  ///   - capacity: bytes that may wait in each direction.
  ///   - packetLimit: packets that may wait in each direction; more are dropped.
  public init(capacity: Int = 1 << 20, packetLimit: Int = 1024) throws(TunError) {
    let there = try Lane(capacity: capacity, packetLimit: packetLimit)
    let back = try Lane(capacity: capacity, packetLimit: packetLimit)
    self.init(inbound: back, outbound: there)
  }

  private init(inbound: Lane, outbound: Lane) {
    self.inbound = inbound
    self.outbound = outbound
  }

  /// The other end. Ends that were made by several calls read from one queue.
  public borrowing func peer() -> MemoryDevice {
    MemoryDevice(inbound: outbound, outbound: inbound)
  }

  /// An eventfd that is readable while packets wait.
  public var descriptor: CInt? { inbound.wakeup.descriptor.rawValue }

  public mutating func read(into slice: Slice, pool: inout SlabPool) throws(TunError) -> PacketRead {
    let packet = inbound.queue.withLock { queue in
      let packet = queue.popFirst(into: slice, pool: pool)
      if queue.isEmpty { inbound.wakeup.clear() }
      return packet
    }
    guard let packet else { return .wouldBlock }
    counters.countRead(packet.slice.count, packet.offload)
    return .packet(packet.slice, packet.offload)
  }

  public mutating func write(
    _ offload: Offload, header: Span<UInt8>, payload: Span<Slice>, pool: inout SlabPool
  ) throws(TunError) -> PacketWrite {
    let fits = outbound.queue.withLock { queue in
      let wasEmpty = queue.isEmpty
      let fits = queue.append(offload, header: header, payload: payload, pool: pool)
      if fits, wasEmpty { outbound.wakeup.signal() }
      return fits
    }
    guard fits else { return counters.count(.full) }
    counters.countWritten(header: header, payload: payload, offload)
    return .written
  }
}
