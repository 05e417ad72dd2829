/// A frame that finds loops: who sent it into the PC's network and hears it from the site, or again from the PC, has a loop.
///
/// A frame that goes round in one direction is new to no filter on its way: it always comes from the side that its sender
/// is on. A probe is known by its number. It is a broadcast, so that it goes wherever frames can go round, and both ends
/// of each connection let a few of them a second through, whatever their rules say: they carry nothing.
///
/// IEEE 802's extended EtherType (IEEE Std 802-2014 section 9.2.4) with a local identifier of an organisation.
public struct LoopProbe: Hashable, Sendable {
  /// Drawn at random by each sender.
  public let identifier: UInt64

  public static let type = EtherType(rawValue: 0x88B7)
  /// Without a frame check sequence, the smallest that a frame may be.
  public static let size = 60
  /// Probes a second and direction that a filter lets through: of a few senders that share a loop.
  public static let rate = 16
  /// 02-52-56 is local, as bit 1 of its first byte says; and the protocol's own number behind it.
  private static let protocolIdentifier: [UInt8] = [0x02, 0x52, 0x56, 0x00, 0x01]

  public init(identifier: UInt64) {
    self.identifier = identifier
  }

  /// `nil` for any other frame, such as one that carries something besides.
  public init?(parsing bytes: Span<UInt8>) {
    guard bytes.count == Self.size, bytes[12] == 0x88, bytes[13] == 0xB7 else { return nil }
    for index in 0..<6 where bytes[index] != 0xFF { return nil }
    for index in 0..<5 where bytes[14 + index] != Self.protocolIdentifier[index] { return nil }
    for index in 0..<3 where bytes[6 + index] != Self.protocolIdentifier[index] { return nil }
    for index in 0..<3 where bytes[9 + index] != bytes[19 + index] { return nil }
    for index in 27..<Self.size where bytes[index] != 0 { return nil }
    var identifier: UInt64 = 0
    for index in 19..<27 { identifier = identifier << 8 | UInt64(bytes[index]) }
    self.identifier = identifier
  }

  /// The frame. Its source is local, and made of the number: switches may learn it.
  public var bytes: [UInt8] {
    let number = (0..<8).map { UInt8(truncatingIfNeeded: identifier >> UInt64(56 - 8 * $0)) }
    var bytes = [UInt8](repeating: 0xFF, count: 6) + [0x02, 0x52, 0x56] + number[..<3] + [0x88, 0xB7]
    bytes += Self.protocolIdentifier + number
    return bytes + [UInt8](repeating: 0, count: Self.size - bytes.count)
  }
}
