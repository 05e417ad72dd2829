import Kernel
import Packet
import Primitives

/// Wraps a device and writes what passes to a pcapng capture.
///
/// Super-segments are captured whole, and with the checksums that they have: those that are left to the kernel
/// are not there yet.
public struct CaptureDevice<Inner: PacketDevice & ~Copyable>: ~Copyable, PacketDevice {
  public var inner: Inner
  public var capture: PcapngWriter

  @inlinable public init(_ inner: consuming Inner, to capture: consuming PcapngWriter) {
    self.inner = inner
    self.capture = capture
  }

  @inlinable public var descriptor: CInt? { inner.descriptor }
  @inlinable public var counters: DeviceCounters { inner.counters }

  @inlinable public mutating func read(into slice: Slice, pool: inout SlabPool) throws(TunError) -> PacketRead {
    let result = try inner.read(into: slice, pool: &pool)
    switch result {
    case .packet(let packet, _):
      let now = Clock.unixNanoseconds
      pool.withSpan(packet) { capture.write(header: $0, pool: pool, at: now, direction: .outbound) }
    case .wouldBlock: capture.flush()
    case .dropped: break
    }
    return result
  }

  @inlinable public mutating func write(
    _ offload: Offload, header: Span<UInt8>, payload: Span<Slice>, pool: inout SlabPool
  ) throws(TunError) -> PacketWrite {
    let result = try inner.write(offload, header: header, payload: payload, pool: &pool)
    if result == .written {
      capture.write(header: header, payload: payload, pool: pool, at: Clock.unixNanoseconds, direction: .inbound)
    }
    return result
  }
}

extension CaptureDevice: Sendable where Inner: Sendable & ~Copyable {}
