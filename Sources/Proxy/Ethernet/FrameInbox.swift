import Packet
import Primitives
import Tun

/// Messages with frames that have come through a session, in order, until a device takes them.
///
/// Their pieces stay where they arrived. Allocates only when it outgrows what it has held before.
package struct FrameInbox: ~Copyable {
  package enum Delivery {
    /// No whole message is there.
    case none
    /// The device takes no more now; the frame stays.
    case blocked
    /// A frame of so many bytes of the stream is through.
    case frame(count: Int, EthernetVerdict, PacketWrite, source: MACAddress)
    case state(count: Int, EthernetLinkState)
    /// Not a message: the peer is at fault.
    case malformed(count: Int)
  }

  private var pieces = RingQueue<Slice>(minimumCapacity: 64)
  /// Pieces of each whole message, and of the one that is still coming.
  private var messages = RingQueue<Int>(minimumCapacity: 64)
  private var open = 0
  /// The first message has passed the filter and waits for the device.
  private var isJudged = false
  private var header: [UInt8] = []
  private var payload: [Slice] = []

  package init() {
    header.reserveCapacity(PacketLimits.headerSize)
    payload.reserveCapacity(PacketLimits.payloadSlices)
  }

  /// Takes over the slice's reference. The start of a message may wait long for its end, and small pieces then hold no
  /// slab.
  package mutating func append(_ piece: Slice, isContinued: Bool, pool: inout SlabPool) {
    pieces.append(isContinued ? pool.compact(piece) : piece)
    open += 1
    if !isContinued {
      messages.append(open)
      open = 0
    }
  }

  /// Gives up on the first message, for which the device has no room.
  package mutating func dropFirst(pool: inout SlabPool) -> Int {
    guard let count = messages.first else { return 0 }
    var total = 0
    for index in 0..<count { total += pieces[index].count }
    drop(pool: &pool)
    return total
  }

  package mutating func removeAll(pool: inout SlabPool) {
    while let piece = pieces.popFirst() { pool.release(piece) }
    messages.removeAll()
    open = 0
    isJudged = false
  }

  package var isEmpty: Bool { messages.isEmpty }

  /// Pieces of the first whole message.
  var firstMessage: [Slice]? {
    messages.first.map { count in (0..<count).map { pieces[$0] } }
  }

  /// Judges the first whole message and hands it to the device.
  package mutating func deliver<Device: PacketDevice & ~Copyable>(
    to device: inout Device, _ direction: EthernetDirection, filter: inout EthernetFilter, pool: inout SlabPool,
    now: Instant
  ) throws(TunError) -> Delivery {
    guard let count = messages.first, let first = pieces.first else { return .none }
    var total = 0
    for index in 0..<count { total += pieces[index].count }
    if total == EthernetLinkState.size, count == 1 {
      let state = pool.withSpan(first) { EthernetLinkState(parsing: $0) }
      drop(pool: &pool)
      return state.map { .state(count: total, $0) } ?? .malformed(count: total)
    }
    let size = total - VirtioNetHeader.size
    guard count <= PacketLimits.payloadSlices, first.count >= min(total, Self.headRoom),
      size >= EthernetHeader.minimumSize,
      let offload = pool.withSpan(first, { try? VirtioNetHeader(parsing: $0).validate(against: size) }),
      pool.withSpan(first.dropping(VirtioNetHeader.size), { offload.fits($0, count: size) })
    else {
      drop(pool: &pool)
      return .malformed(count: total)
    }
    let frame = first.dropping(VirtioNetHeader.size)
    let verdict = isJudged ? .pass : pool.withSpan(frame) { filter.judge($0, direction, now: now) }
    let source = pool.withSpan(frame) { Self.source(of: $0) }
    guard verdict == .pass else {
      drop(pool: &pool)
      return .frame(count: total, verdict, .dropped(.rejected), source: source)
    }
    guard let headerCount = pool.withSpan(frame, { Self.headerCount($0, offload) }) else {
      drop(pool: &pool)
      return .malformed(count: total)
    }
    header.removeAll(keepingCapacity: true)
    pool.withSpan(frame.prefix(headerCount)) { bytes in
      for index in bytes.indices { header.append(bytes[index]) }
    }
    payload.removeAll(keepingCapacity: true)
    if frame.count > headerCount { payload.append(frame.dropping(headerCount)) }
    for index in 1..<max(1, count) { payload.append(pieces[index]) }
    let result = try device.write(offload, header: header.span, payload: payload.span, pool: &pool)
    if result == .dropped(.full), device.isBlocked {
      isJudged = true
      return .blocked
    }
    drop(pool: &pool)
    return .frame(count: total, .pass, result, source: source)
  }

  /// Bytes of a message that are in its first piece: all headers, so that nothing hides behind a cut.
  private static let headRoom = PacketLimits.headerSize + VirtioNetHeader.size

  private static func source(of frame: Span<UInt8>) -> MACAddress {
    var value: UInt64 = 0
    for index in 6..<12 { value = value << 8 | UInt64(frame[index]) }
    return MACAddress(value)
  }

  /// Bytes that are repeated before each segment, or changed by a checksum; `nil` if they aren't all there.
  private static func headerCount(_ frame: Span<UInt8>, _ offload: Offload) -> Int? {
    guard case .partial(let start, let offset) = offload.checksum else { return EthernetHeader.minimumSize }
    var count = max(EthernetHeader.minimumSize, start + offset + 2)
    switch offload.segmentation {
    case .none: break
    case .tcp4, .tcp6:
      guard start + 13 <= frame.count else { return nil }
      count = start + Int(frame[start + 12] >> 4) * 4
    case .udp: count = start + 8
    }
    return count >= EthernetHeader.minimumSize && count <= min(frame.count, PacketLimits.headerSize) ? count : nil
  }

  private mutating func drop(pool: inout SlabPool) {
    guard let count = messages.popFirst() else { return }
    for _ in 0..<count {
      if let piece = pieces.popFirst() { pool.release(piece) }
    }
    isJudged = false
  }
}
