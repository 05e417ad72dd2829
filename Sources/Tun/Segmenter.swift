import Packet
import Primitives

/// Does in software what a packet's offload leaves to the kernel: splits a super-segment into packets of
/// `segmentSize` bytes of payload, each with its own headers and checksums.
///
/// Payload stays where it lies; only the headers are copied. Used when the kernel refuses a super-segment, or the
/// device has no vnet header. Holds room for one set of headers and allocates nothing.
struct Segmenter: ~Copyable {
  /// A stretch of the payload: where it starts, and its bytes.
  struct Segment: Equatable {
    var slice: Int
    var offset: Int
    var count: Int
  }

  /// The headers of the segment that `next` returned last.
  private(set) var header: [UInt8] = []

  private var offload = Offload()
  private var network = 0
  private var transport = 0
  private var checksumField = 0
  private var pseudoHeader: UInt64 = 0
  private var firstSequence: UInt32 = 0
  private var firstIdentification: UInt16 = 0
  private var lastFlags: UInt8 = 0
  private var payloadCount = 0
  private var done = 0
  private var emitted = 0
  private var cursor = Segment(slice: 0, offset: 0, count: 0)

  private static let finAndPush: UInt8 = 0x09
  private static let congestionWindowReduced: UInt8 = 0x80

  init() {
    header.reserveCapacity(PacketLimits.headerSize)
  }

  /// Starts on a packet. False if its headers aren't what `offload` says they are.
  mutating func begin(_ offload: Offload, header bytes: Span<UInt8>, payload: Span<Slice>, isEthernet: Bool) -> Bool {
    guard bytes.count <= PacketLimits.headerSize else { return false }
    header.removeAll(keepingCapacity: true)
    for index in bytes.indices { header.append(bytes[index]) }
    payloadCount = 0
    for index in payload.indices { payloadCount += payload[index].count }
    self.offload = offload
    done = 0
    emitted = 0
    cursor = Segment(slice: 0, offset: 0, count: 0)
    if case .partial(let start, let offset) = offload.checksum {
      transport = start
      checksumField = start + offset
      // Both the field and the first transport byte have to be in the headers, for they are changed there.
      guard start >= 0, offset >= 0, checksumField + 2 <= header.count else { return false }
    } else {
      return offload.segmentation == .none
    }
    return offload.segmentation == .none || beginSegmentation(isEthernet: isEthernet)
  }

  private mutating func beginSegmentation(isEthernet: Bool) -> Bool {
    guard offload.segmentSize > 0 else { return false }
    network = 0
    if isEthernet {
      guard header.count >= 18 else { return false }
      let etherType = load16(12)
      // An 802.1Q or 802.1ad tag is 4 bytes in front of the real type.
      network = etherType == 0x8100 || etherType == 0x88A8 ? 18 : 14
    }
    let isV4: Bool
    switch header.count > network ? header[network] >> 4 : 0 {
    case 4: isV4 = true
    case 6: isV4 = false
    default: return false
    }
    guard transport >= network + (isV4 ? 20 : 40) else { return false }
    let size: Int
    switch offload.segmentation {
    case .none: return false
    case .tcp4, .tcp6:
      guard isV4 == (offload.segmentation == .tcp4), transport + 20 <= header.count else { return false }
      size = Int(header[transport + 12] >> 4) * 4
      guard size >= 20, checksumField == transport + 16 else { return false }
      firstSequence = load32(transport + 4)
      lastFlags = header[transport + 13]
    case .udp:
      size = 8
      guard checksumField == transport + 6 else { return false }
    }
    // The headers must end with the transport header: what follows is cut.
    guard transport + size == header.count else { return false }
    firstIdentification = isV4 ? load16(network + 4) : 0
    let (source, destination) = isV4 ? (network + 12, network + 16) : (network + 8, network + 24)
    let width = isV4 ? 4 : 16
    guard let from = IPAddress(bytes: header.span.extracting(source..<(source + width))),
      let to = IPAddress(bytes: header.span.extracting(destination..<(destination + width)))
    else { return false }
    // The length differs from segment to segment, and is added there.
    pseudoHeader = Checksum.pseudoHeader(
      source: from, destination: to, protocol: offload.segmentation == .udp ? 17 : 6, length: 0)
    return true
  }

  /// Makes the headers of the next segment; `nil` after the last one.
  mutating func next(payload: Span<Slice>, pool: borrowing SlabPool) -> Segment? {
    guard done < payloadCount || emitted == 0 else { return nil }
    let limit = offload.segmentation == .none ? payloadCount : offload.segmentSize
    var segment = cursor
    segment.count = min(limit, payloadCount - done)
    if offload.segmentation != .none { setHeaders(of: segment) }
    if case .partial = offload.checksum { setChecksum(of: segment, payload: payload, pool: pool) }
    done += segment.count
    emitted += 1
    advance(by: segment.count, payload: payload)
    return segment
  }

  /// The parts of the payload's slices that make up a segment.
  borrowing func forEachPiece(of segment: Segment, payload: Span<Slice>, _ body: (Slice) -> Void) {
    var left = segment.count
    var index = segment.slice
    var offset = segment.offset
    while left > 0, index < payload.count {
      let piece = payload[index].dropping(offset)
      let used = piece.prefix(min(left, piece.count))
      if !used.isEmpty { body(used) }
      left -= used.count
      index += 1
      offset = 0
    }
  }

  private mutating func advance(by count: Int, payload: Span<Slice>) {
    cursor.offset += count
    while cursor.slice < payload.count, cursor.offset >= payload[cursor.slice].count {
      cursor.offset -= payload[cursor.slice].count
      cursor.slice += 1
    }
  }

  private mutating func setHeaders(of segment: Segment) {
    let total = header.count - network + segment.count
    if header[network] >> 4 == 4 {
      let headerLength = min(Int(header[network] & 0x0F) * 4, transport - network)
      store16(UInt16(truncatingIfNeeded: total), at: network + 2)
      store16(firstIdentification &+ UInt16(truncatingIfNeeded: emitted), at: network + 4)
      store16(0, at: network + 10)
      store16(Checksum.of(header.span.extracting(network..<(network + headerLength))), at: network + 10)
    } else {
      store16(UInt16(truncatingIfNeeded: total - 40), at: network + 4)
    }
    if offload.segmentation == .udp {
      store16(UInt16(truncatingIfNeeded: 8 + segment.count), at: transport + 4)
    } else {
      store32(firstSequence &+ UInt32(truncatingIfNeeded: done), at: transport + 4)
      var flags = lastFlags
      if done + segment.count < payloadCount { flags &= ~Self.finAndPush }
      // RFC 3168 section 6.1.2: CWR is sent once, on the first segment.
      if emitted > 0 { flags &= ~Self.congestionWindowReduced }
      header[transport + 13] = flags
    }
  }

  private mutating func setChecksum(of segment: Segment, payload: Span<Slice>, pool: borrowing SlabPool) {
    var sum = Checksum()
    if offload.segmentation != .none {
      // The field of an unsplit packet holds its pseudo-header sum already.
      store16(0, at: checksumField)
      sum.add(partial: pseudoHeader &+ UInt64(header.count - transport + segment.count))
    }
    sum.add(header.span.extracting(transport..<header.count))
    forEachPiece(of: segment, payload: payload) { piece in
      pool.withSpan(piece) { sum.add($0) }
    }
    // RFC 768: a computed 0 is sent as 0xFFFF; elsewhere both mean the same.
    let value = sum.value
    store16(value == 0 ? 0xFFFF : value, at: checksumField)
  }

  // MARK: Fields

  private borrowing func load16(_ offset: Int) -> UInt16 {
    UInt16(header[offset]) << 8 | UInt16(header[offset + 1])
  }

  private borrowing func load32(_ offset: Int) -> UInt32 {
    UInt32(load16(offset)) << 16 | UInt32(load16(offset + 2))
  }

  private mutating func store16(_ value: UInt16, at offset: Int) {
    header[offset] = UInt8(truncatingIfNeeded: value >> 8)
    header[offset + 1] = UInt8(truncatingIfNeeded: value)
  }

  private mutating func store32(_ value: UInt32, at offset: Int) {
    store16(UInt16(truncatingIfNeeded: value >> 16), at: offset)
    store16(UInt16(truncatingIfNeeded: value), at: offset + 2)
  }
}
