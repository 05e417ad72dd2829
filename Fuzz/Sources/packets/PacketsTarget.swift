import FuzzDriver
import Packet
import Primitives

/// Every header's parser on the same bytes. What is read and written again is the same value, and where the layout
/// leaves no choice the same bytes; offsets and lengths lie within the packet.
@main enum PacketsTarget: FuzzTarget {
  static func run(_ bytes: UnsafeBufferPointer<UInt8>) {
    let span = bytes.span
    readPacket(span)
    readHeaders(span)
    if let quote = try? QuotedPacket(parsing: span) {
      check(quote.fiveTuple.protocol == .tcp || quote.fiveTuple.protocol == .udp || quote.sequence >= 0, "a quote")
      check(quote.fiveTuple.reversed.reversed == quote.fiveTuple, "reversed twice is the same")
    }
  }

  private static func readPacket(_ bytes: Span<UInt8>) {
    // Checksums would keep the fuzzer out: the IPv4 header's is put right first, as if it had been found.
    withMendedChecksum(bytes) { span in
      guard let packet = try? ParsedPacket(parsing: span) else { return }
      check(packet.totalLength <= span.count, "within the packet")
      check(packet.ipHeaderLength >= 20 && packet.transportHeaderLength >= 0, "headers have a size")
      check(packet.payloadLength >= 0, "payload has a size")
      check(packet.payloadOffset + packet.payloadLength <= packet.totalLength, "payload within the packet")
      check((packet.fragment != nil) == (packet.transport == .fragment), "a fragment is one")
      check(packet.fiveTuple == nil || packet.fragment == nil, "a fragment names no flow")
      if let fragment = packet.fragment {
        check(fragment.offset % 8 == 0 && fragment.offset + packet.payloadLength <= 65_535, "a fragment's place")
        check(!fragment.moreFragments || packet.payloadLength % 8 == 0, "a fragment's size")
      }
      try? packet.verifyChecksum(in: span)
      // Padding of the link changes nothing.
      let exact = try? ParsedPacket(parsing: span.extracting(0..<packet.totalLength))
      check(exact == packet, "padding changes nothing")
      if span.count < 80 { check(!packet.description.isEmpty, "can be described") }
    }
  }

  private static func withMendedChecksum(_ bytes: Span<UInt8>, _ body: (Span<UInt8>) -> Void) {
    guard bytes.count >= 20, bytes.count <= 4096, bytes[0] >> 4 == 4, Int(bytes[0] & 15) * 4 <= bytes.count else {
      return body(bytes)
    }
    withUnsafeTemporaryAllocation(of: UInt8.self, capacity: bytes.count) { copy in
      for index in bytes.indices { copy[index] = bytes[index] }
      let header = 4 * Int(bytes[0] & 15)
      guard header >= 20 else { return body(copy.span) }
      copy[10] = 0
      copy[11] = 0
      let sum = Checksum.of(UnsafeBufferPointer(rebasing: copy[0..<header]).span)
      check(sum == slowChecksum(copy, header), "the fast sum is the slow one")
      copy[10] = UInt8(sum >> 8)
      copy[11] = UInt8(truncatingIfNeeded: sum)
      body(UnsafeBufferPointer(copy).span)
    }
  }

  private static func slowChecksum(_ bytes: UnsafeMutableBufferPointer<UInt8>, _ count: Int) -> UInt16 {
    var sum = 0
    for index in stride(from: 0, to: count, by: 2) { sum += Int(bytes[index]) << 8 | Int(bytes[index + 1]) }
    while sum > 0xFFFF { sum = (sum & 0xFFFF) + (sum >> 16) }
    return ~UInt16(sum)
  }

  private static func readHeaders(_ bytes: Span<UInt8>) {
    if let header = try? IPv4Header(parsing: bytes) {
      again(bytes, 20, sameBytes: header.headerLength == 20 && bytes[6] & 0x80 == 0, except: 10..<12) {
        header.write(into: &$0)
      } compare: {
        var read = try? IPv4Header(parsing: $0)
        read?.headerLength = header.headerLength
        // Below its own header's size a length can't be read again.
        return header.headerLength > 20 && header.totalLength < 60 || read == header
      }
    }
    if let header = try? IPv6Header(parsing: bytes) {
      again(bytes, 40, sameBytes: true) {
        header.write(into: &$0)
      } compare: {
        (try? IPv6Header(parsing: $0)) == header
      }
    }
    if let header = try? IPv6FragmentHeader(parsing: bytes) {
      again(bytes, 8, sameBytes: bytes[1] == 0 && bytes[3] & 6 == 0) {
        header.write(into: &$0)
      } compare: {
        (try? IPv6FragmentHeader(parsing: $0)) == header
      }
    }
    if !bytes.isEmpty, let chain = try? IPv6ExtensionHeaders(parsing: bytes.extracting(1...), nextHeader: bytes[0]) {
      check(chain.offset >= 0 && chain.offset <= bytes.count - 1, "the chain ends within the bytes")
      check(chain.fragmentOffset <= chain.offset, "a fragment header lies before the end")
    }
    if let header = try? TCPHeader(parsing: bytes) {
      check((20...60).contains(header.headerLength) && header.headerLength <= bytes.count, "a TCP header's size")
      check(header.options.size % 4 == 0 && header.options.size <= 40, "options are words")
      check((header.options.windowScale ?? 0) <= 14, "a scale in range")
      again(bytes, 20 + header.options.size, sameBytes: false) {
        header.write(into: &$0)
      } compare: {
        guard var read = try? TCPHeader(parsing: $0) else { return false }
        check(read.headerLength == 20 + header.options.size, "the length that was promised")
        // Not all blocks fit beside the other options, if these came in another layout.
        check(read.options.sackBlocks.count <= header.options.sackBlocks.count, "no block out of nowhere")
        if read.options.sackBlocks.count < header.options.sackBlocks.count {
          read.options.sackBlocks = header.options.sackBlocks
        }
        var same = header
        same.options = header.options
        read.options = read.options
        return read == same
      }
    }
    if let header = try? UDPHeader(parsing: bytes) {
      check(Int(header.length) <= bytes.count, "a datagram within the bytes")
      again(bytes, 8, sameBytes: true) {
        header.write(into: &$0)
      } compare: { _ in
        true
      }
    }
    for family in [IPAddress.Family.v4, .v6] {
      guard let message = try? ICMPMessage(parsing: bytes, family: family) else { continue }
      let address = family == .v4 ? IPAddress(10, 0, 0, 1) : IPAddress(v6: 1)
      again(bytes, 8, sameBytes: false) {
        message.write(into: &$0, source: address, destination: address)
      } compare: {
        check(
          ICMPMessage.hasValidChecksum($0, source: address, destination: address), "what is written has a checksum")
        return (try? ICMPMessage(parsing: $0, family: family)) == message
      }
    }
  }

  /// Writes what was read, and compares: with the bytes, if the layout leaves no choice, and with the value.
  @inline(__always)
  private static func again(
    _ bytes: Span<UInt8>, _ size: Int, sameBytes: Bool, except: Range<Int> = 0..<0,
    write: (inout MutableSpan<UInt8>) -> Void, compare: (Span<UInt8>) -> Bool
  ) {
    // With room behind, which must stay untouched.
    withUnsafeTemporaryAllocation(of: UInt8.self, capacity: 64) { room in
      room.initialize(repeating: 0xA5)
      var span = room.mutableSpan
      write(&span)
      for index in size..<64 { check(room[index] == 0xA5, "nothing behind the header") }
      if sameBytes {
        for index in 0..<size where !except.contains(index) { check(room[index] == bytes[index], "byte \(index)") }
      }
      check(compare(UnsafeBufferPointer(rebasing: room[0..<size]).span), "what is read again is the same")
    }
  }
}
