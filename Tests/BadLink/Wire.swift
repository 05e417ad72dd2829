import Packet
import Primitives
import Tun

/// One direction of the link: what was read at one end and is not yet due at the other.
struct Wire: ~Copyable {
  private struct Packet {
    var due: Instant
    var slice: Slice
    var offload: Offload
  }

  private let arguments: Arguments
  private var random: SeededRandom
  /// In order of `due`, because the delay is the same for all.
  private var packets = RingQueue<Packet>(minimumCapacity: 1024)
  /// Those that come late, likewise.
  private var latePackets = RingQueue<Packet>(minimumCapacity: 64)
  private var busyUntil = Instant.zero
  /// Packets that found the bottleneck's queue full.
  private(set) var overflows: UInt64 = 0

  init(_ arguments: Arguments, seed: UInt64) {
    self.arguments = arguments
    random = SeededRandom(seed: seed)
  }

  var nextDue: Instant? { Instant.earliest(packets.first?.due, latePackets.first?.due) }

  /// Takes over a reference of the packet.
  mutating func append(_ slice: Slice, _ offload: Offload, pool: inout SlabPool, now: Instant) {
    var departure = now
    if arguments.rate > 0 {
      let start = max(now, busyUntil)
      guard start - now <= arguments.queue else {
        overflows &+= 1
        return pool.release(slice)
      }
      departure = start + Interval(nanoseconds: Int64(slice.count) * 8_000 / arguments.rate)
      busyUntil = departure
    }
    let packet = Packet(due: departure + arguments.delay, slice: slice, offload: offload)
    if random.chance(arguments.reordering) {
      var late = packet
      late.due = packet.due + arguments.lateness
      latePackets.append(late)
    } else {
      packets.append(packet)
    }
  }

  /// Writes what is due.
  mutating func deliver<Device: PacketDevice & ~Copyable>(
    to device: inout Device, pool: inout SlabPool, now: Instant
  ) throws(TunError) {
    while true {
      let packet: Packet
      if let first = packets.first, first.due <= now, first.due <= latePackets.first?.due ?? first.due {
        packet = first
        _ = packets.popFirst()
      } else if let late = latePackets.first, late.due <= now {
        packet = late
        _ = latePackets.popFirst()
      } else {
        return
      }
      defer { pool.release(packet.slice) }
      // What goes into each segment of a super-segment has to be told from the payload.
      let headerCount = pool.withSpan(packet.slice) { (try? ParsedPacket(parsing: $0))?.payloadOffset }
      guard let headerCount, headerCount <= packet.slice.count else { continue }
      let header = pool.array(packet.slice.prefix(headerCount))
      let payload = [packet.slice.dropping(headerCount)]
      _ = try device.write(packet.offload, header: header.span, payload: payload.span, pool: &pool)
    }
  }
}
