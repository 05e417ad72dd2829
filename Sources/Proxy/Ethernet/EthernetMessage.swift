import Packet
import Primitives
import Tun

/// What a stream of Ethernet frames carries.
///
/// ```
/// +--------------------------+------------------- - -
/// | what is left undone, 10  | frame, from its destination address on
/// +--------------------------+------------------- - -
/// | state | MTU, 2           |        a message of 3 bytes: the site's link
/// +-------+------------------+
/// ```
///
/// What is left undone is a virtio-net header in little-endian order (Virtual I/O Device 1.2 section 5.1.6), as packet
/// sockets and TAP devices have it: a super-segment passes whole.
package enum EthernetMessage {
  /// Bytes of the largest message.
  package static let sizeLimit = VirtioNetHeader.size + PacketLimits.size
  /// Pieces of a message before its last one. Whoever fills its records needs seven; each may hold a slab.
  package static let pieceLimit = 16
  /// Credit without which no frame is read: the next one might be as large.
  package static let wantedCredit = sizeLimit

  /// Puts the description before a frame that was read into `slice`, which has room for it there.
  ///
  /// - Returns: the message.
  package static func make(_ frame: Slice, _ offload: Offload, pool: inout SlabPool) -> Slice {
    let size = VirtioNetHeader.size
    let message = Slice(slab: frame.slab, offset: Int(frame.offset) - size, count: frame.count + size)
    pool.withMutableSpan(message.prefix(size)) { VirtioNetHeader(offload, headerLength: 0).write(into: &$0) }
    return message
  }
}

/// The state of an interface at a site, as both ends know it.
public struct EthernetLinkState: Hashable, Sendable, CustomStringConvertible {
  public enum Condition: UInt8, Sendable {
    case up = 0
    /// Set down by an administrator.
    case down = 1
    /// Up, and nothing is plugged in.
    case noCarrier = 2
    /// There is no interface of this name.
    case gone = 3
  }

  public var condition: Condition
  /// Bytes of a frame's payload; 0 if it isn't known.
  public var mtu: Int

  public init(_ condition: Condition, mtu: Int = 0) {
    self.condition = condition
    self.mtu = mtu
  }

  static let size = 3

  var bytes: [UInt8] { [condition.rawValue, UInt8(truncatingIfNeeded: mtu >> 8), UInt8(truncatingIfNeeded: mtu)] }

  /// `nil` for what a later version may say.
  init?(parsing bytes: Span<UInt8>) {
    guard bytes.count == Self.size, let condition = Condition(rawValue: bytes[0]) else { return nil }
    self.init(condition, mtu: Int(bytes[1]) << 8 | Int(bytes[2]))
  }

  public var isUp: Bool { condition == .up }

  public var description: String {
    switch condition {
    case .up: "up"
    case .down: "down"
    case .noCarrier: "nothing plugged in"
    case .gone: "not there"
    }
  }
}
