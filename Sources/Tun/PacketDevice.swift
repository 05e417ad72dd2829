import Packet
import Primitives

/// Where packets come from and go to: a TUN device, a fake, or something that wraps another device.
///
/// For use as a generic constraint, so that calls are direct; never as an existential. One thread at a time.
public protocol PacketDevice: ~Copyable {
  /// The descriptor to poll for `readable`; `nil` for a device that has to be asked.
  var descriptor: CInt? { get }

  var counters: DeviceCounters { get }

  /// Whether the packet that the last write gave back as `.full` can be written once the descriptor is writable, or a
  /// moment later: it isn't lost.
  var isBlocked: Bool { get }

  /// Reads one packet into `slice`, a region of `pool` that nobody else uses. It may lie anywhere in it: see what is
  /// returned, and `SlabPool.commit(_:through:in:)`.
  ///
  /// Give room for `PacketLimits.size` bytes: a longer packet is cut.
  mutating func read(into slice: Slice, pool: inout SlabPool) throws(TunError) -> PacketRead

  /// Writes one packet: `header` followed by the bytes of `payload`. The caller keeps its references.
  ///
  /// - Parameters:
  ///   - offload: what is still to be done to the packet. Its offsets count from the first byte of `header`.
  ///   - header: the protocol headers, whole: what is repeated in front of each segment of a super-segment.
  ///   - payload: at most `PacketLimits.payloadSlices`.
  mutating func write(
    _ offload: Offload, header: Span<UInt8>, payload: Span<Slice>, pool: inout SlabPool
  ) throws(TunError) -> PacketWrite
}

extension PacketDevice where Self: ~Copyable {
  public var isBlocked: Bool { false }
}

/// The bounds of what passes a device at once.
public enum PacketLimits {
  /// Bytes of the largest packet: an IPv6 super-segment (40 + 65,535), an Ethernet header and a VLAN tag, rounded
  /// up to cache lines; and one more cache line for what a device has to read before it.
  public static let size = 65_664
  /// Slices behind the header of one packet: IOV_MAX less the two vectors for the headers.
  public static let payloadSlices = 1022
  /// Bytes of protocol headers: Ethernet and VLAN 18, IPv6 40, TCP 60, with room for extension headers.
  public static let headerSize = 512
}

/// What a read came to.
public enum PacketRead: Equatable, Sendable {
  /// A packet in the slice that was given, without a vnet header. Holds no reference of its own.
  case packet(Slice, Offload)
  /// A packet was there and was dropped, and counted; there may be more.
  case dropped
  /// Nothing now: wait until the descriptor is readable.
  case wouldBlock
}

/// What a write came to.
public enum PacketWrite: Equatable, Sendable {
  case written
  /// The packet is lost, as on a wire; it was counted.
  case dropped(WriteDrop)
}

public enum WriteDrop: Hashable, Sendable {
  /// The device's queue or the kernel's memory is full.
  case full
  /// The link is down.
  case down
  /// The kernel refused the packet as malformed.
  case rejected
  /// Header, payload or offload are out of the bounds of `PacketLimits`, or contradict each other.
  case malformed
  /// Lost on purpose, by a fault injector.
  case injected
}

/// What has passed a device since it was made.
public struct DeviceCounters: Hashable, Sendable {
  public var packetsRead: UInt64 = 0
  public var bytesRead: UInt64 = 0
  /// Super-segments among `packetsRead`.
  public var superSegmentsRead: UInt64 = 0
  public var packetsWritten: UInt64 = 0
  public var bytesWritten: UInt64 = 0
  /// Super-segments among `packetsWritten` that left in one piece.
  public var superSegmentsWritten: UInt64 = 0
  /// Super-segments that were split in software, because the kernel or the device wouldn't take them whole.
  public var softwareSegmented: UInt64 = 0
  /// Reads whose vnet header contradicts the packet.
  public var badOffloads: UInt64 = 0
  public var droppedFull: UInt64 = 0
  public var droppedDown: UInt64 = 0
  public var droppedRejected: UInt64 = 0
  public var droppedMalformed: UInt64 = 0

  public init() {}

  mutating func count(_ drop: WriteDrop) -> PacketWrite {
    switch drop {
    case .full: droppedFull &+= 1
    case .down: droppedDown &+= 1
    case .rejected: droppedRejected &+= 1
    case .malformed, .injected: droppedMalformed &+= 1
    }
    return .dropped(drop)
  }

  mutating func countRead(_ bytes: Int, _ offload: Offload) {
    packetsRead &+= 1
    bytesRead &+= UInt64(truncatingIfNeeded: bytes)
    if offload.segmentation != .none { superSegmentsRead &+= 1 }
  }

  mutating func countWritten(_ bytes: Int, _ offload: Offload) {
    packetsWritten &+= 1
    bytesWritten &+= UInt64(truncatingIfNeeded: bytes)
    if offload.segmentation != .none { superSegmentsWritten &+= 1 }
  }

  mutating func countWritten(header: Span<UInt8>, payload: Span<Slice>, _ offload: Offload) {
    var bytes = header.count
    for index in payload.indices { bytes &+= payload[index].count }
    countWritten(bytes, offload)
  }
}
