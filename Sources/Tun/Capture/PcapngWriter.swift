import Glibc
import Kernel
import Packet
import Primitives

/// What the first byte of a captured packet is (https://www.tcpdump.org/linktypes.html).
public enum LinkType: UInt16, Hashable, Sendable {
  case ethernet = 1
  /// An IPv4 or IPv6 header.
  case raw = 101
}

/// Which way a packet went, as seen from the interface: a packet that the kernel sends through a TUN device, and the
/// owner of the device reads, is outbound.
public enum PacketDirection: UInt32, Hashable, Sendable {
  case unknown = 0, inbound = 1, outbound = 2
}

/// Writes packets to a descriptor in the pcapng format (draft-ietf-opsawg-pcapng), for Wireshark and its kin.
///
/// Times are in nanoseconds. What doesn't fit in the buffer while the descriptor isn't ready is dropped and counted:
/// a capture never holds up the packets that it watches.
/// Sendable because its memory belongs to this value alone, and is touched by `mutating` calls only.
@safe public struct PcapngWriter: ~Copyable, @unchecked Sendable {
  public private(set) var packetsWritten: UInt64 = 0
  public private(set) var packetsDropped: UInt64 = 0
  /// Why nothing is written any more; `nil` as long as all is well.
  public private(set) var failure: SystemError? = nil
  /// Bytes of a packet that are kept; longer packets are cut.
  public let snapLength: Int

  private let descriptor: OwnedDescriptor
  private let room: UnsafeMutableBufferPointer<UInt8>
  private var start = 0
  private var end = 0

  private static let commentLimit = 1024
  /// Block header and trailer, fixed fields, flags, the end of options, padding.
  private static let packetOverhead = 64

  /// Starts a section with one interface.
  ///
  /// - Parameters:
  ///   - descriptor: a file, pipe or socket; a pipe or socket should be non-blocking.
  ///   - bufferSize: bytes that may wait to be written; at least one packet fits always.
  public init(
    to descriptor: consuming OwnedDescriptor, linkType: LinkType, interface: String = "",
    snapLength: Int = PacketLimits.size, bufferSize: Int = 1 << 20
  ) {
    self.descriptor = descriptor
    self.snapLength = min(max(snapLength, 64), PacketLimits.size)
    let least = self.snapLength + Self.commentLimit + Self.packetOverhead + 1024
    unsafe room = .allocate(capacity: max(bufferSize, least))
    unsafe room.initialize(repeating: 0)
    putSectionHeader()
    putInterface(linkType, name: String(interface.prefix(64)))
  }

  deinit {
    if failure == nil, start < end {
      let waiting = unsafe UnsafeBufferPointer(rebasing: room[start..<end])
      _ = try? descriptor.write(unsafe waiting.span)
    }
    unsafe room.deallocate()
  }

  // MARK: Packets

  /// Appends a packet: `header` and behind it the bytes of `payload`.
  ///
  /// - Parameters:
  ///   - nanoseconds: when it passed, since 1970.
  ///   - comment: shown beside the packet; cut to 1 KiB.
  public mutating func write(
    header: Span<UInt8>, payload: Span<Slice> = Span(), pool: borrowing SlabPool, at nanoseconds: Int64,
    direction: PacketDirection = .unknown, comment: String = ""
  ) {
    var original = header.count
    for index in payload.indices { original += payload[index].count }
    guard beginPacket(original, at: nanoseconds, comment: comment) else { return }
    var left = min(original, snapLength)
    left -= put(header, limit: left)
    for index in payload.indices {
      let slice = payload[index]
      left -= pool.withSpan(slice) { put($0, limit: left) }
    }
    endPacket(direction, comment: comment)
  }

  private mutating func beginPacket(_ original: Int, at nanoseconds: Int64, comment: String) -> Bool {
    let captured = min(original, snapLength)
    let needed = captured + Self.packetOverhead + min(comment.utf8.count, Self.commentLimit)
    if unsafe room.count - end < needed { flush() }
    guard failure == nil, unsafe room.count - end >= needed else {
      packetsDropped &+= 1
      return false
    }
    blockStart = end
    let time = UInt64(max(0, nanoseconds))
    put32(6)
    put32(0)
    put32(0)
    put32(UInt32(truncatingIfNeeded: time >> 32))
    put32(UInt32(truncatingIfNeeded: time))
    put32(UInt32(truncatingIfNeeded: captured))
    put32(UInt32(truncatingIfNeeded: original))
    return true
  }

  private mutating func endPacket(_ direction: PacketDirection, comment: String) {
    pad()
    if direction != .unknown {
      putOption(2, count: 4)
      put32(direction.rawValue)
    }
    if !comment.isEmpty { putText(1, comment, limit: Self.commentLimit) }
    putOption(0, count: 0)
    endBlock()
    packetsWritten &+= 1
  }

  /// Hands the buffer to the descriptor, as far as it takes it.
  public mutating func flush() {
    while failure == nil, start < end {
      let waiting = unsafe UnsafeBufferPointer(rebasing: room[start..<end])
      do throws(SystemError) {
        guard case .moved(let count) = try descriptor.write(unsafe waiting.span) else { break }
        start += count
      } catch {
        failure = error
        start = end
      }
    }
    if start == end {
      start = 0
      end = 0
    } else if start > 0 {
      let target = unsafe room.baseAddress.unsafelyUnwrapped
      unsafe target.update(from: target + start, count: end - start)
      end -= start
      start = 0
    }
  }

  // MARK: Blocks

  private var blockStart = 0

  private mutating func putSectionHeader() {
    blockStart = end
    put32(0x0A0D_0D0A)
    put32(0)
    // The magic tells readers the byte order, here little-endian; version 1.0; section of unknown length.
    put32(0x1A2B_3C4D)
    put32(0x0000_0001)
    put32(.max)
    put32(.max)
    putText(4, "RelayVPN", limit: 64)
    putOption(0, count: 0)
    endBlock()
  }

  private mutating func putInterface(_ linkType: LinkType, name: String) {
    blockStart = end
    put32(1)
    put32(0)
    put32(UInt32(linkType.rawValue))
    put32(UInt32(truncatingIfNeeded: snapLength))
    if !name.isEmpty { putText(2, name, limit: 64) }
    // if_tsresol: 10⁻⁹ seconds.
    putOption(9, count: 1)
    put8(9)
    pad()
    putOption(0, count: 0)
    endBlock()
  }

  private mutating func endBlock() {
    let length = UInt32(truncatingIfNeeded: end - blockStart + 4)
    put32(length)
    let last = end
    end = blockStart + 4
    put32(length)
    end = last
  }

  private mutating func putOption(_ code: UInt16, count: Int) {
    put32(UInt32(code) | UInt32(truncatingIfNeeded: count) << 16)
  }

  private mutating func putText(_ code: UInt16, _ text: String, limit: Int) {
    let bytes = Array(text.utf8.prefix(limit))
    putOption(code, count: bytes.count)
    _ = put(bytes.span, limit: limit)
    pad()
  }

  // MARK: Bytes

  private mutating func put8(_ value: UInt8) {
    unsafe room[end] = value
    end += 1
  }

  private mutating func put32(_ value: UInt32) {
    for index in 0..<4 { put8(UInt8(truncatingIfNeeded: value >> UInt32(8 * index))) }
  }

  private mutating func put(_ bytes: Span<UInt8>, limit: Int) -> Int {
    let count = min(bytes.count, limit)
    guard count > 0 else { return 0 }
    unsafe bytes.withUnsafeBufferPointer { source in
      guard let first = source.baseAddress, let target = unsafe room.baseAddress else { return }
      unsafe (target + end).update(from: first, count: count)
    }
    end += count
    return count
  }

  /// Up to the next multiple of 4 bytes of the block.
  private mutating func pad() {
    while (end - blockStart) & 3 != 0 { put8(0) }
  }
}
