import Packet
import Primitives

/// Puts fragments together again (RFC 791 section 3.2, RFC 8200 section 4.5).
///
/// Fragments are rare on a local link, so that they are copied: on arrival, to let go of the packet's slab, and once
/// more into one piece. Any overlap discards the whole datagram, and what still comes of it (RFC 5722).
struct Reassembly {
  enum Outcome: Equatable {
    case waiting
    case dropped(DropReason)
    /// A packet without a fragment header; the caller owns the reference.
    case complete(Slice)
  }

  private struct Key: Hashable {
    var source, destination: IPAddress
    var identification: UInt32
    /// RFC 791 tells datagrams apart by protocol too; RFC 8200 doesn't, and there this is 0.
    var protocolNumber: UInt8
  }

  private struct Piece {
    var offset: Int
    var slice: Slice
    var end: Int { offset + slice.count }
  }

  private struct Datagram {
    var pieces: [Piece] = []
    /// Bytes in all, once the last fragment is here.
    var total: Int?
    var protocolNumber: UInt8
    var deadline: Instant
    /// Discarded: nothing of it is taken any more.
    var isPoisoned = false
  }

  private var datagrams: [Key: Datagram] = [:]
  private var lane = SlabLane()
  /// Bytes held.
  private(set) var byteCount = 0
  private(set) var nextDeadline: Instant?

  var count: Int { datagrams.count }

  mutating func insert(
    _ fragment: ParsedPacket.Fragment, source: IPAddress, destination: IPAddress, payload: Slice,
    configuration: StackConfiguration, pool: inout SlabPool, now: Instant
  ) -> Outcome {
    // RFC 8200 section 4.5: all but the last carry a multiple of 8; and the whole must fit a packet.
    guard !payload.isEmpty, !fragment.moreFragments || payload.count % 8 == 0,
      fragment.offset + payload.count <= 65_535 - 20
    else { return .dropped(.malformed) }
    if fragment.offset == 0, !Self.holdsTransportHeader(payload, fragment.protocolNumber, pool) {
      return .dropped(.fragmentHeader)
    }
    let key = Key(
      source: source, destination: destination, identification: fragment.identification,
      protocolNumber: source.family == .v4 ? fragment.protocolNumber : 0)
    if datagrams[key] == nil {
      guard datagrams.count < configuration.limits.reassemblyDatagrams else { return .dropped(.fragmentLimit) }
      let deadline = now + configuration.reassemblyTimeout
      datagrams[key] = Datagram(protocolNumber: fragment.protocolNumber, deadline: deadline)
      nextDeadline = .earliest(nextDeadline, deadline)
    }
    guard var datagram = datagrams[key] else { return .dropped(.fragmentLimit) }
    if datagram.isPoisoned { return .dropped(.fragmentOverlap) }
    let end = fragment.offset + payload.count
    guard let index = Self.place(fragment.offset..<end, in: datagram) else {
      // The same fragment twice is no attack but a copy made on the way.
      if datagram.pieces.contains(where: { $0.offset == fragment.offset && $0.end == end }) {
        return .dropped(.duplicate)
      }
      poison(key, pool: &pool)
      return .dropped(.fragmentOverlap)
    }
    let exceedsEnd = datagram.total.map { end > $0 || !fragment.moreFragments } ?? false
    let endsEarly = !fragment.moreFragments && (datagram.pieces.last.map { $0.end > end } ?? false)
    guard !exceedsEnd, !endsEarly else {
      poison(key, pool: &pool)
      return .dropped(.fragmentOverlap)
    }
    guard byteCount + payload.count <= configuration.limits.reassemblyBytes,
      datagram.pieces.count < configuration.limits.fragmentsPerDatagram
    else {
      poison(key, pool: &pool)
      return .dropped(.fragmentLimit)
    }
    guard let copy = pool.copy(payload, in: &lane) else { return .dropped(.noMemory) }
    byteCount += copy.count
    datagram.pieces.insert(Piece(offset: fragment.offset, slice: copy), at: index)
    if fragment.offset == 0 { datagram.protocolNumber = fragment.protocolNumber }
    if !fragment.moreFragments { datagram.total = end }
    datagrams[key] = datagram
    guard let total = datagram.total, datagram.pieces.reduce(0, { $0 + $1.slice.count }) == total else {
      return .waiting
    }
    let packet = assemble(datagram, key: key, total: total, configuration: configuration, pool: &pool)
    remove(key, pool: &pool)
    return packet.map { .complete($0) } ?? .dropped(.noMemory)
  }

  /// Forgets what took too long.
  ///
  /// - Returns: how many datagrams.
  mutating func expire(pool: inout SlabPool, now: Instant) -> Int {
    guard let nextDeadline, nextDeadline <= now else { return 0 }
    let expired = datagrams.filter { $0.value.deadline <= now }.map(\.key)
    for key in expired { remove(key, pool: &pool) }
    self.nextDeadline = datagrams.values.map(\.deadline).min()
    return expired.count
  }

  mutating func removeAll(pool: inout SlabPool) {
    for key in Array(datagrams.keys) { remove(key, pool: &pool) }
    nextDeadline = nil
  }

  /// Where a range belongs among the pieces; `nil` if it overlaps one.
  private static func place(_ range: Range<Int>, in datagram: Datagram) -> Int? {
    var index = 0
    while index < datagram.pieces.count, datagram.pieces[index].end <= range.lowerBound { index += 1 }
    if index < datagram.pieces.count, datagram.pieces[index].offset < range.upperBound { return nil }
    return index
  }

  /// RFC 7112: the first fragment must hold all headers, or a filter could be fooled. Extension headers behind the
  /// fragment header aren't supported, so that the transport header must come first.
  private static func holdsTransportHeader(
    _ payload: Slice, _ protocolNumber: UInt8, _ pool: borrowing SlabPool
  ) -> Bool {
    switch protocolNumber {
    case IPProtocol.tcp: pool.withSpan(payload) { (try? TCPHeader(parsing: $0)) != nil }
    case IPProtocol.udp, IPProtocol.icmp, IPProtocol.icmpv6: payload.count >= 8
    default: false
    }
  }

  private mutating func assemble(
    _ datagram: Datagram, key: Key, total: Int, configuration: StackConfiguration, pool: inout SlabPool
  ) -> Slice? {
    let isV4 = key.source.family == .v4
    let headerCount = isV4 ? IPv4Header.minimumSize : IPv6Header.size
    guard headerCount + total <= pool.slabSize, let region = pool.reserve(headerCount + total, in: &lane) else {
      return nil
    }
    let packet = pool.commit(region, count: headerCount + total, in: &lane)
    pool.withMutableSpan(packet) { bytes in
      if isV4 {
        IPv4Header(
          source: key.source, destination: key.destination, protocolNumber: datagram.protocolNumber,
          totalLength: UInt16(headerCount + total)
        ).write(into: &bytes)
      } else {
        IPv6Header(
          source: key.source, destination: key.destination, nextHeader: datagram.protocolNumber,
          payloadLength: UInt16(total)
        ).write(into: &bytes)
      }
    }
    for piece in datagram.pieces {
      pool.copyBytes(
        of: piece.slice, to: packet.range(from: headerCount + piece.offset, count: piece.slice.count))
    }
    return packet
  }

  private mutating func poison(_ key: Key, pool: inout SlabPool) {
    guard let datagram = datagrams[key] else { return }
    release(datagram, pool: &pool)
    datagrams[key]?.pieces = []
    datagrams[key]?.isPoisoned = true
  }

  private mutating func remove(_ key: Key, pool: inout SlabPool) {
    guard let datagram = datagrams.removeValue(forKey: key) else { return }
    release(datagram, pool: &pool)
    if datagrams.isEmpty {
      pool.close(&lane)
      nextDeadline = nil
    }
  }

  private mutating func release(_ datagram: Datagram, pool: inout SlabPool) {
    for piece in datagram.pieces {
      byteCount -= piece.slice.count
      pool.release(piece.slice)
    }
  }
}
