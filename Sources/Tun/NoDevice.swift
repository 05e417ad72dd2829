import Packet
import Primitives

/// A device through which nothing passes.
package struct NoDevice: PacketDevice, ~Copyable {
  package init() {}

  package var descriptor: CInt? { nil }
  package var counters: DeviceCounters { DeviceCounters() }

  package mutating func read(into slice: Slice, pool: inout SlabPool) throws(TunError) -> PacketRead {
    .wouldBlock
  }

  package mutating func write(
    _ offload: Offload, header: Span<UInt8>, payload: Span<Slice>, pool: inout SlabPool
  ) throws(TunError) -> PacketWrite {
    .dropped(.down)
  }
}
