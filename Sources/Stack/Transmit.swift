import Packet
import Primitives

/// One packet to send: its headers in a buffer of its own, its payload as slices, each with a reference.
///
/// Made once and filled again and again by `Stack.nextTransmit`; `clear` lets go of the payload after the write.
public struct Transmit: ~Copyable {
  /// IPv6 and the largest TCP header, or an ICMPv6 error with the headers that it quotes.
  public static let headerCapacity = 128

  private var buffer: [128 of UInt8] = .init(repeating: 0)
  /// Bytes of the IP and transport headers.
  public private(set) var headerCount = 0
  /// The payload, in order.
  public internal(set) var payload: [Slice] = []
  /// Bytes of the payload.
  public private(set) var payloadCount = 0
  /// What the device must still do.
  public private(set) var offload = Offload()

  public init() {
    payload.reserveCapacity(64)
  }

  /// Bytes of the packet.
  public var count: Int { headerCount + payloadCount }

  /// Reads the headers, from the first byte of the IP header on.
  public func withHeader<R, E: Error>(_ body: (Span<UInt8>) throws(E) -> R) throws(E) -> R {
    try body(buffer.span.extracting(0..<headerCount))
  }

  /// Lets go of the payload. To be called once the packet is written, or given up.
  public mutating func clear(pool: inout SlabPool) {
    for slice in payload { pool.release(slice) }
    payload.removeAll(keepingCapacity: true)
    payloadCount = 0
    headerCount = 0
    offload = Offload()
  }

  // MARK: TCP

  /// Writes the headers of a segment whose payload was gathered.
  ///
  /// - Parameters:
  ///   - tuple: as in the packets that arrive: the segment goes to its source.
  ///   - segmentSize: payload of a segment; a packet with more is a super-segment.
  mutating func writeSegment(
    _ header: TCPHeader, to tuple: FiveTuple, payloadCount count: Int, segmentSize: Int,
    configuration: StackConfiguration, pool: borrowing SlabPool
  ) {
    payloadCount = count
    let isV4 = tuple.source.address.family == .v4
    let start = isV4 ? IPv4Header.minimumSize : IPv6Header.size
    let size = header.headerLength
    writeNetworkHeader(
      source: tuple.destination.address, destination: tuple.source.address, protocolNumber: IPProtocol.tcp,
      count: size + count, configuration: configuration)
    headerCount = start + size
    let pseudo = Checksum.pseudoHeader(
      source: tuple.destination.address, destination: tuple.source.address, protocol: IPProtocol.tcp,
      length: size + count)
    var header = header
    if count > segmentSize {
      offload.segmentation = isV4 ? .tcp4 : .tcp6
      offload.segmentSize = segmentSize
    }
    if configuration.checksumOffload || count > segmentSize {
      // The device adds what lies behind `start` to what stands in the field.
      header.checksum = Checksum.fold(pseudo)
      offload.checksum = .partial(start: start, offset: 16)
      write(header, at: start)
    } else {
      write(header, at: start)
      let checksum = transportChecksum(from: start, pseudo: pseudo, pool: pool)
      store(checksum, at: start + 16)
    }
  }

  /// Writes a segment without payload that belongs to no connection.
  mutating func writeStateless(
    _ segment: StatelessSegment, configuration: StackConfiguration, pool: borrowing SlabPool
  ) {
    var header = TCPHeader(
      sourcePort: segment.tuple.destination.port, destinationPort: segment.tuple.source.port,
      sequence: segment.sequence.value, acknowledgement: segment.acknowledgement.value, flags: segment.flags,
      window: 0)
    if let timestamps = segment.timestamps {
      header.options.timestamps = TCPOptions.Timestamps(value: timestamps.value, echo: timestamps.echo)
    }
    writeSegment(
      header, to: segment.tuple, payloadCount: 0, segmentSize: 1, configuration: configuration, pool: pool)
  }

  // MARK: Messages with an 8-byte header

  /// Writes a datagram, or the fragment of it that begins at `offset`.
  ///
  /// - Parameters:
  ///   - offset: where the fragment begins in the transport header and payload; bytes, a multiple of 8.
  ///   - identification: what the fragments of a datagram have in common.
  /// - Returns: where the next fragment begins; `nil` when this was the last or only one.
  mutating func writeDatagram(
    _ datagram: OutgoingDatagram, from offset: Int, identification: UInt32, configuration: StackConfiguration,
    pool: inout SlabPool
  ) -> Int? {
    let isV4 = datagram.source.family == .v4
    let networkSize = isV4 ? IPv4Header.minimumSize : IPv6Header.size
    let total = 8 + datagram.payload.count
    let isFragmented = networkSize + total > configuration.mtu
    let start = networkSize + (isFragmented && !isV4 ? 8 : 0)
    let count = isFragmented ? min(total - offset, (configuration.mtu - start) & ~7) : total
    let end = offset + count
    let protocolNumber = datagram.protocolNumber
    writeNetworkHeader(
      source: datagram.source, destination: datagram.destination,
      protocolNumber: isFragmented && !isV4 ? IPProtocol.fragment : protocolNumber,
      count: count + (start - networkSize), configuration: configuration,
      fragment: isFragmented ? (identification, offset, end < total) : nil)
    if isFragmented, !isV4 {
      // RFC 8200 section 4.5.
      store(UInt16(protocolNumber) << 8, at: networkSize)
      store(UInt16(offset) | (end < total ? 1 : 0), at: networkSize + 2)
      store(UInt16(identification >> 16), at: networkSize + 4)
      store(UInt16(truncatingIfNeeded: identification), at: networkSize + 6)
    }
    var part = datagram.payload.range(from: max(0, offset - 8), count: min(end, total) - 8 - max(0, offset - 8))
    headerCount = start
    if offset == 0 {
      headerCount += 8
      writeTransportHeader(
        of: datagram, at: start, isWhole: !isFragmented, configuration: configuration, pool: pool)
      part = datagram.payload.prefix(count - 8)
    }
    payloadCount = part.count
    if !part.isEmpty {
      pool.retain(part)
      payload.append(part)
    }
    return end < total ? end : nil
  }

  /// Writes the headers of a super-datagram, whose payload was gathered: the device cuts it into datagrams as large as
  /// the first one, and completes their headers.
  ///
  /// - Parameter count: bytes of all payload.
  mutating func writeRun(
    _ first: OutgoingDatagram, payloadCount count: Int, configuration: StackConfiguration
  ) {
    guard case .udp(let source, let destination) = first.kind else { return }
    let isV4 = first.source.family == .v4
    let start = isV4 ? IPv4Header.minimumSize : IPv6Header.size
    let length = 8 + count
    writeNetworkHeader(
      source: first.source, destination: first.destination, protocolNumber: IPProtocol.udp, count: length,
      configuration: configuration)
    let pseudo = Checksum.pseudoHeader(
      source: first.source, destination: first.destination, protocol: IPProtocol.udp, length: length)
    let header = UDPHeader(
      sourcePort: source, destinationPort: destination, length: UInt16(clamping: length),
      checksum: Checksum.fold(pseudo))
    withHeaderSpan(from: start) { header.write(into: &$0) }
    headerCount = start + 8
    payloadCount = count
    offload.checksum = .partial(start: start, offset: 6)
    offload.segmentation = .udp
    offload.segmentSize = first.payload.count
  }

  private mutating func writeTransportHeader(
    of datagram: OutgoingDatagram, at start: Int, isWhole: Bool, configuration: StackConfiguration,
    pool: borrowing SlabPool
  ) {
    let message: ICMPMessage
    switch datagram.kind {
    case .udp(let source, let destination):
      let length = 8 + datagram.payload.count
      let pseudo = Checksum.pseudoHeader(
        source: datagram.source, destination: datagram.destination, protocol: IPProtocol.udp, length: length)
      var header = UDPHeader(
        sourcePort: source, destinationPort: destination, length: UInt16(clamping: length))
      if configuration.checksumOffload, isWhole {
        header.checksum = Checksum.fold(pseudo)
        offload.checksum = .partial(start: start, offset: 6)
      } else {
        var sum = Checksum(pseudo)
        sum.add(partial: UInt64(source) + UInt64(destination) + UInt64(length))
        pool.withSpan(datagram.payload) { sum.add($0) }
        // RFC 768: zero means that there is none.
        header.checksum = sum.value == 0 ? 0xFFFF : sum.value
      }
      withHeaderSpan(from: start) { header.write(into: &$0) }
      return
    case .echoReply(let identifier, let sequence):
      message = .echoReply(identifier: identifier, sequence: sequence)
    case .unreachable(let what):
      message = .destinationUnreachable(code: what.code(datagram.source.family), mtu: nil)
    }
    var sum = Checksum()
    pool.withSpan(datagram.payload) { sum.add($0) }
    withHeaderSpan(from: start) {
      message.write(
        into: &$0, source: datagram.source, destination: datagram.destination, payload: sum,
        payloadLength: datagram.payload.count)
    }
  }

  /// Writes the error that answers a ping whose packet wasn't kept: its headers are quoted as they must have been.
  mutating func writeEchoUnreachable(_ echo: Echo, _ what: Unreachable, configuration: StackConfiguration) {
    let family = echo.source.family
    let networkSize = family == .v4 ? IPv4Header.minimumSize : IPv6Header.size
    // The quote comes first, since the error's checksum covers it.
    let quote = networkSize + 8
    writeNetworkHeader(
      source: echo.source, destination: echo.destination,
      protocolNumber: family == .v4 ? IPProtocol.icmp : IPProtocol.icmpv6, count: 8 + echo.payloadCount,
      configuration: configuration, at: quote)
    withHeaderSpan(from: quote + networkSize) {
      ICMPMessage.echoRequest(identifier: echo.identifier, sequence: echo.sequence).write(
        into: &$0, source: echo.source, destination: echo.destination, payloadLength: 0)
    }
    let quoteCount = networkSize + 8
    var sum = Checksum()
    sum.add(buffer.span.extracting(quote..<(quote + quoteCount)))
    writeNetworkHeader(
      source: echo.destination, destination: echo.source,
      protocolNumber: family == .v4 ? IPProtocol.icmp : IPProtocol.icmpv6, count: 8 + quoteCount,
      configuration: configuration)
    withHeaderSpan(from: networkSize) {
      ICMPMessage.destinationUnreachable(code: what.code(family), mtu: nil).write(
        into: &$0, source: echo.destination, destination: echo.source, payload: sum, payloadLength: quoteCount)
    }
    headerCount = quote + quoteCount
    payloadCount = 0
  }

  // MARK: Parts

  private mutating func writeNetworkHeader(
    source: IPAddress, destination: IPAddress, protocolNumber: UInt8, count: Int, configuration: StackConfiguration,
    fragment: (identification: UInt32, offset: Int, hasMore: Bool)? = nil, at start: Int = 0
  ) {
    if source.family == .v4 {
      // RFC 6864 section 4.1: a datagram that can't be fragmented needs no identification.
      let header = IPv4Header(
        source: source, destination: destination, protocolNumber: protocolNumber,
        totalLength: UInt16(clamping: IPv4Header.minimumSize + count),
        identification: UInt16(truncatingIfNeeded: fragment?.identification ?? 0), dontFragment: fragment == nil,
        moreFragments: fragment?.hasMore ?? false, fragmentOffset: fragment?.offset ?? 0,
        timeToLive: configuration.hopLimit)
      withHeaderSpan(from: start) { header.write(into: &$0) }
    } else {
      let header = IPv6Header(
        source: source, destination: destination, nextHeader: protocolNumber,
        payloadLength: UInt16(clamping: count), hopLimit: configuration.hopLimit)
      withHeaderSpan(from: start) { header.write(into: &$0) }
    }
  }

  private mutating func write(_ header: TCPHeader, at start: Int) {
    withHeaderSpan(from: start) { _ = header.write(into: &$0) }
  }

  private mutating func withHeaderSpan(from start: Int, _ body: (inout MutableSpan<UInt8>) -> Void) {
    var span = buffer.mutableSpan
    var part = span._mutatingExtracting(start..<Self.headerCapacity)
    body(&part)
  }

  private mutating func store(_ value: UInt16, at offset: Int) {
    buffer[offset] = UInt8(value >> 8)
    buffer[offset + 1] = UInt8(truncatingIfNeeded: value)
  }

  private func transportChecksum(from start: Int, pseudo: UInt64, pool: borrowing SlabPool) -> UInt16 {
    var sum = Checksum(pseudo)
    sum.add(buffer.span.extracting(start..<headerCount))
    for slice in payload { pool.withSpan(slice) { sum.add($0) } }
    return sum.value
  }
}

extension OutgoingDatagram {
  var protocolNumber: UInt8 {
    switch kind {
    case .udp: IPProtocol.udp
    case .echoReply, .unreachable: source.family == .v4 ? IPProtocol.icmp : IPProtocol.icmpv6
    }
  }
}
