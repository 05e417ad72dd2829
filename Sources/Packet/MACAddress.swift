/// A 48-bit Ethernet address.
public struct MACAddress: Hashable, Sendable, BitwiseCopyable {
  /// The address as a number, first byte on top; the upper 16 bits are zero.
  public let value: UInt64

  /// Takes the low 48 bits.
  public init(_ value: UInt64) {
    self.value = value & 0xFFFF_FFFF_FFFF
  }

  public static let broadcast = MACAddress(0xFFFF_FFFF_FFFF)

  public var isBroadcast: Bool { self == .broadcast }
  /// The group bit (IEEE 802, clause 8.2); set in the broadcast address too.
  public var isMulticast: Bool { value >> 40 & 1 != 0 }
  /// Given by an administrator or a program, not by a manufacturer.
  public var isLocallyAdministered: Bool { value >> 41 & 1 != 0 }
}

extension MACAddress: LosslessStringConvertible {
  /// Six pairs of lower-case hexadecimal digits, by colons.
  public var description: String {
    stride(from: 40, through: 0, by: -8).map { shift in
      let text = String((value >> UInt64(shift)) & 0xFF, radix: 16)
      return text.utf8.count == 1 ? "0" + text : text
    }.joined(separator: ":")
  }

  /// Reads six pairs of hexadecimal digits, by colons or by hyphens.
  public init?(_ text: String) {
    let separator: Character = text.contains("-") ? "-" : ":"
    let parts = text.split(separator: separator, omittingEmptySubsequences: false)
    guard parts.count == 6 else { return nil }
    var value: UInt64 = 0
    for part in parts {
      guard part.utf8.count == 2, part.utf8.first != UInt8(ascii: "+"), let byte = UInt8(part, radix: 16) else {
        return nil
      }
      value = value << 8 | UInt64(byte)
    }
    self.init(value)
  }
}
