import Packet
import Primitives

/// Packets in order, copied into a ring of bytes that is allocated once.
///
/// Sendable because the ring belongs to this value alone, which can't be copied.
@safe struct PacketQueue: ~Copyable, @unchecked Sendable {
  private struct Entry {
    var start: Int
    var count: Int
    var headerCount: Int
    var offload: Offload
  }

  struct Popped: Sendable {
    var slice: Slice
    var headerCount: Int
    var offload: Offload
  }

  private let bytes: UnsafeMutablePointer<UInt8>
  private let capacity: Int
  private var entries: RingQueue<Entry>
  private let packetLimit: Int
  private var tail = 0

  /// - Parameters:
  ///   - capacity: bytes of all packets; a packet lies in one piece, so a little less than that fits.
  ///   - packetLimit: packets that may wait.
  init(capacity: Int, packetLimit: Int) {
    self.capacity = max(capacity, PacketLimits.size)
    self.packetLimit = packetLimit
    unsafe bytes = .allocate(capacity: self.capacity)
    unsafe bytes.initialize(repeating: 0, count: self.capacity)
    entries = RingQueue(minimumCapacity: packetLimit)
  }

  deinit {
    unsafe bytes.deallocate()
  }

  var isEmpty: Bool { entries.isEmpty }

  /// Copies a packet behind the last one; false if there is no room.
  mutating func append(
    _ offload: Offload, header: Span<UInt8>, payload: Span<Slice>, pool: borrowing SlabPool
  ) -> Bool {
    var count = header.count
    for index in payload.indices { count += payload[index].count }
    guard let start = place(count) else { return false }
    var position = start
    unsafe header.withUnsafeBufferPointer { source in
      if let first = source.baseAddress { unsafe (bytes + position).update(from: first, count: source.count) }
    }
    position += header.count
    for index in payload.indices {
      let slice = payload[index]
      let source = unsafe pool.pointer(to: slice).assumingMemoryBound(to: UInt8.self)
      unsafe (bytes + position).update(from: source, count: slice.count)
      position += slice.count
    }
    entries.append(Entry(start: start, count: count, headerCount: header.count, offload: offload))
    tail = position
    return true
  }

  /// Copies the first packet to the beginning of `slice`, cut if it is longer, and forgets it.
  mutating func popFirst(into slice: Slice, pool: borrowing SlabPool) -> Popped? {
    guard let entry = entries.popFirst() else { return nil }
    let count = min(entry.count, slice.count)
    let target = unsafe pool.pointer(to: slice).assumingMemoryBound(to: UInt8.self)
    unsafe target.update(from: bytes + entry.start, count: count)
    return Popped(
      slice: slice.prefix(count), headerCount: min(entry.headerCount, count), offload: entry.offload)
  }

  /// Where a packet of `count` bytes can lie in one piece.
  private mutating func place(_ count: Int) -> Int? {
    guard entries.count < packetLimit, count <= capacity else { return nil }
    guard let head = entries.first?.start else { return 0 }
    // The tail never catches up with the head from behind: equal means empty.
    if tail < head { return head - tail > count ? tail : nil }
    if capacity - tail >= count { return tail }
    return head > count ? 0 : nil
  }
}
