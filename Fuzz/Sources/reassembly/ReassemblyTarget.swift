import FuzzDriver
import Packet
import Primitives

@testable import Stack

/// Fragments of a few datagrams in any order, beside a model that keeps a list of ranges: the same outcome for each,
/// the same bytes when a datagram is whole, the same count of bytes held, and nothing kept at the end.
///
/// Each step takes four bytes: which datagram, where (in eighths of 8 bytes), how much and whether more follows, and a
/// salt for the bytes.
@main enum ReassemblyTarget: FuzzTarget {
  nonisolated(unsafe) private static var pool = SlabPool(slabSize: 128 * 1024, limit: 32)

  static func run(_ bytes: UnsafeBufferPointer<UInt8>) {
    var script = Script(bytes)
    var configuration = StackConfiguration()
    configuration.limits.reassemblyDatagrams = 2 + script.choice(8)
    configuration.limits.reassemblyBytes = 1000 + 512 * script.choice(256)
    configuration.limits.fragmentsPerDatagram = 2 + script.choice(40)
    var reassembly = Reassembly()
    var model = SlowReassembly(configuration)
    var lane = SlabLane()
    var now = Instant(nanoseconds: 1_000_000_000)
    var steps = 0
    while !script.isAtEnd, steps < 256 {
      steps += 1
      let which = script.byte()
      if which >= 0xF8 {
        now = now + .milliseconds(Int64(script.byte()) * 100)
        let expired = reassembly.expire(pool: &pool, now: now)
        check(expired == model.expire(now: now), "as many datagrams expire")
        continue
      }
      let place = script.byte()
      let size = script.byte()
      let salt = script.byte()
      // Places near the end of the largest datagram now and then.
      let offset = place < 0xE0 ? Int(place) * 8 : 65_535 / 8 * 8 - (0xFF - Int(place)) * 64
      let more = size & 1 == 0
      let count = size < 0xF0 ? more ? Int(size >> 1) / 4 * 8 : Int(size >> 1) : Int(size & 15) * 512
      guard let region = pool.reserve(count, in: &lane) else { return check(false, "no memory for a packet") }
      let payload = pool.commit(region, count: count, in: &lane)
      Pattern.fill(&pool, payload, from: offset, salt: Int(salt & 3))
      // The first bytes decide whether a transport header is there.
      if offset == 0, count > 12, salt & 4 == 0 { pool.withMutableSpan(payload) { $0[12] = 0x50 } }
      let isV6 = which & 1 != 0
      let source = isV6 ? IPAddress(v6: 1) : IPAddress(10, 0, 0, 1)
      let destination = isV6 ? IPAddress(v6: 2 + UInt128(which >> 1 & 1)) : IPAddress(10, 0, 0, 2 + which >> 1 & 1)
      let number = [IPProtocol.udp, IPProtocol.tcp, IPProtocol.icmp, IPProtocol.icmpv6, 99][Int(which >> 4) % 5]
      let fragment = ParsedPacket.Fragment(
        identification: UInt32(which >> 2 & 3), offset: offset, moreFragments: more, protocolNumber: number)
      let outcome = reassembly.insert(
        fragment, source: source, destination: destination, payload: payload, configuration: configuration,
        pool: &pool, now: now)
      let expected = model.insert(fragment, source, destination, pool.array(payload), now: now)
      pool.release(payload)
      compare(outcome, expected, source)
      check(reassembly.byteCount == model.byteCount, "as many bytes are held")
      check(reassembly.count == model.datagrams.count, "as many datagrams are under way")
      check(reassembly.byteCount <= configuration.limits.reassemblyBytes, "the bound of bytes holds")
      check(reassembly.count <= configuration.limits.reassemblyDatagrams, "the bound of datagrams holds")
    }
    reassembly.removeAll(pool: &pool)
    pool.close(&lane)
    check(pool.slabsInUse == 0, "every slab is back")
  }

  private static func compare(_ outcome: Reassembly.Outcome, _ expected: SlowReassembly.Outcome, _ source: IPAddress) {
    switch (outcome, expected) {
    case (.waiting, .waiting): break
    case (.dropped(let one), .dropped(let other)): check(one == other, "dropped for \(one), and not for \(other)")
    case (.complete(let slice), .complete(let number, let payload)):
      let header = source.family == .v4 ? 20 : 40
      let whole = pool.array(slice)
      pool.release(slice)
      check(whole.count == header + payload.count, "\(whole.count) bytes of \(header + payload.count)")
      check(whole[header...].elementsEqual(payload), "the bytes that were sent")
      // The packet that was made can be read, if it is one of a protocol that is.
      if let packet = try? ParsedPacket(parsing: whole.span) {
        check(packet.fragment == nil && packet.totalLength == whole.count, "a whole packet")
        check(packet.protocolNumber == number && packet.source == source, "the datagram's own")
      }
    default: check(false, "\(outcome) instead of \(expected)")
    }
  }
}

/// What reassembly is, without thought for speed.
struct SlowReassembly {
  enum Outcome {
    case waiting
    case dropped(DropReason)
    case complete(UInt8, [UInt8])
  }

  struct Datagram {
    var pieces: [(start: Int, bytes: [UInt8])] = []
    var end: Int?
    var number: UInt8
    var deadline: Instant
    var isPoisoned = false
  }

  let configuration: StackConfiguration
  var datagrams: [String: Datagram] = [:]

  init(_ configuration: StackConfiguration) {
    self.configuration = configuration
  }

  var byteCount: Int { datagrams.values.reduce(0) { $0 + $1.pieces.reduce(0) { $0 + $1.bytes.count } } }

  mutating func expire(now: Instant) -> Int {
    let before = datagrams.count
    datagrams = datagrams.filter { $0.value.deadline > now }
    return before - datagrams.count
  }

  mutating func insert(
    _ fragment: ParsedPacket.Fragment, _ source: IPAddress, _ destination: IPAddress, _ bytes: [UInt8], now: Instant
  ) -> Outcome {
    let range = fragment.offset..<fragment.offset + bytes.count
    if bytes.isEmpty || (fragment.moreFragments && bytes.count % 8 != 0) || range.upperBound > 65_515 {
      return .dropped(.malformed)
    }
    if fragment.offset == 0 {
      let hasHeader =
        switch fragment.protocolNumber {
        case 6: bytes.count >= 20 && bytes[12] >> 4 >= 5 && Int(bytes[12] >> 4) * 4 <= bytes.count
        case 17, 1, 58: bytes.count >= 8
        default: false
        }
      if !hasHeader { return .dropped(.fragmentHeader) }
    }
    let isV4 = source.family == .v4
    let key = "\(source) \(destination) \(fragment.identification) \(isV4 ? Int(fragment.protocolNumber) : -1)"
    if datagrams[key] == nil, datagrams.count >= configuration.limits.reassemblyDatagrams {
      return .dropped(.fragmentLimit)
    }
    var datagram =
      datagrams[key]
      ?? Datagram(number: fragment.protocolNumber, deadline: now + configuration.reassemblyTimeout)
    let held = byteCount
    var isDone = false
    defer { if !isDone { datagrams[key] = datagram } }
    if datagram.isPoisoned { return .dropped(.fragmentOverlap) }
    if datagram.pieces.contains(where: { $0.start == range.lowerBound && $0.bytes.count == bytes.count }) {
      return .dropped(.duplicate)
    }
    let overlaps = datagram.pieces.contains { range.overlaps($0.start..<$0.start + $0.bytes.count) }
    let isBehindEnd = datagram.end.map { range.upperBound > $0 || !fragment.moreFragments } ?? false
    let cutsOthers =
      !fragment.moreFragments && datagram.pieces.contains { $0.start + $0.bytes.count > range.upperBound }
    let isTooMuch =
      held + bytes.count > configuration.limits.reassemblyBytes
      || datagram.pieces.count >= configuration.limits.fragmentsPerDatagram
    if overlaps || isBehindEnd || cutsOthers || isTooMuch {
      datagram.pieces = []
      datagram.isPoisoned = true
      return .dropped(overlaps || isBehindEnd || cutsOthers ? .fragmentOverlap : .fragmentLimit)
    }
    datagram.pieces.append((range.lowerBound, bytes))
    if fragment.offset == 0 { datagram.number = fragment.protocolNumber }
    if !fragment.moreFragments { datagram.end = range.upperBound }
    guard let end = datagram.end, datagram.pieces.reduce(0, { $0 + $1.bytes.count }) == end else { return .waiting }
    var whole = [UInt8](repeating: 0, count: end)
    for piece in datagram.pieces {
      whole.replaceSubrange(piece.start..<piece.start + piece.bytes.count, with: piece.bytes)
    }
    isDone = true
    datagrams[key] = nil
    return .complete(datagram.number, whole)
  }
}

extension ReassemblyTarget {
  static var seeds: [[UInt8]] {
    let limits: [UInt8] = [6, 200, 30]
    // Three fragments of one datagram by place: in order, backwards, one twice, one that overlaps.
    let pieces: [[UInt8]] = [[0, 0, 0x10, 0], [0, 2, 0x10, 0], [0, 4, 0x09, 0]]
    let v6: [[UInt8]] = pieces.map { [$0[0] | 1] + $0[1...] }
    let tcp: [[UInt8]] = [[0x10, 0, 0x20, 0], [0x10, 4, 0x0D, 0]]
    return [
      limits + pieces.joined(), limits + pieces.reversed().joined(), limits + v6.joined(), limits + tcp.joined(),
      limits + pieces[0] + pieces[0] + pieces[1] + pieces[2], limits + pieces[0] + [0, 1, 0x10, 0] + pieces[1],
      limits + pieces[2] + [0, 5, 0x10, 0], limits + pieces[0] + [0xF8, 200] + pieces[1] + pieces[2],
      [0, 0, 0] + (0..<8).flatMap { [UInt8($0 << 2), 0, 0x10, 0] } + [0xFF, 0xFF],
      [6, 0, 0] + pieces.joined(), limits + [0, 0xFF, 0xFF, 0] + [0, 0xF0, 0xF9, 0],
      limits + (0..<30).flatMap { [0, UInt8($0), 0x08, 0] },
    ]
  }
}
