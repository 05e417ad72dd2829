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
public struct PcapngWriter: ~Copyable, Sendable {
  public private(set) var packetsWritten: UInt64 = 0
  public private(set) var packetsDropped: UInt64 = 0
  /// Why nothing is written any more; `nil` as long as all is well.
  public private(set) var failure: SystemError? = nil
  /// Bytes of a packet that are kept; longer packets are cut.
  public let snapLength: Int

  private let descriptor: OwnedDescriptor
  /// What waits to be written, and how much of that there may be.
  private var blocks = PcapngBlocks()
  private let capacity: Int

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
    capacity = max(bufferSize, self.snapLength + Self.commentLimit + Self.packetOverhead + 1024)
    blocks.reserveCapacity(capacity)
    blocks.section()
    blocks.interface(
      CaptureInterface(String(interface.prefix(64)), description: "", linkType: linkType), snapLength: self.snapLength,
      filter: "")
  }

  deinit {
    let waiting = blocks.bytes
    if failure == nil, !waiting.isEmpty { _ = try? descriptor.write(waiting.span) }
  }

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
    let captured = min(original, snapLength)
    let needed = captured + Self.packetOverhead + min(comment.utf8.count, Self.commentLimit)
    if capacity - blocks.bytes.count < needed { flush() }
    guard failure == nil, capacity - blocks.bytes.count >= needed else {
      packetsDropped &+= 1
      return
    }
    blocks.beginPacket(interface: 0, nanoseconds: nanoseconds, capturedCount: captured, originalCount: original)
    let first = min(header.count, captured)
    blocks.putPacket(header.extracting(0..<first))
    var left = captured - first
    for index in payload.indices where left > 0 {
      let part = payload[index].prefix(min(payload[index].count, left))
      pool.withSpan(part) { blocks.putPacket($0) }
      left -= part.count
    }
    blocks.endPacket(direction, comment: Array(comment.utf8.prefix(Self.commentLimit)))
    packetsWritten &+= 1
  }

  /// Hands the buffer to the descriptor, as far as it takes it.
  public mutating func flush() {
    var written = 0
    while failure == nil, written < blocks.bytes.count {
      do throws(SystemError) {
        guard
          case .moved(let count) = try descriptor.write(blocks.bytes.span.extracting(written..<blocks.bytes.count))
        else { break }
        written += count
      } catch {
        failure = error
        written = blocks.bytes.count
      }
    }
    blocks.removeFirst(written)
  }
}
