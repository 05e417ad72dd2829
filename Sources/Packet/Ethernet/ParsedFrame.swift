/// An Ethernet frame's headers with all of its VLAN tags, read in one pass. Holds no bytes.
public struct ParsedFrame: Equatable, Sendable, BitwiseCopyable {
  /// Tags that are read: a customer's own in a provider's (IEEE 802.1ad).
  public static let tagLimit = 2

  public var destination: MACAddress
  public var source: MACAddress
  public var tagCount: Int
  /// The first tag's identifier and that of the one behind it; 0 where there is none.
  public var outer: UInt16
  public var inner: UInt16
  /// What the frame carries behind its tags; see `EtherType.isLength`.
  public var type: EtherType
  /// Where that begins, in bytes from the frame's first byte.
  public var payloadOffset: Int

  /// Reads a frame that begins with its destination address. Only the headers have to be there.
  public init(parsing bytes: Span<UInt8>) throws(ParseError) {
    try bytes.require(EthernetHeader.minimumSize, for: .ethernet)
    destination = MACAddress(UInt64(bytes.load32(0)) << 16 | UInt64(bytes.load16(4)))
    source = MACAddress(UInt64(bytes.load16(6)) << 32 | UInt64(bytes.load32(8)))
    type = EtherType(rawValue: bytes.load16(12))
    payloadOffset = EthernetHeader.minimumSize
    (tagCount, outer, inner) = (0, 0, 0)
    while type.isTag {
      guard tagCount < Self.tagLimit else { throw ParseError(.vlan, .tooManyHeaders) }
      try bytes.require(payloadOffset &+ EthernetHeader.tagSize, for: .vlan)
      let identifier = bytes.load16(payloadOffset) & 0xFFF
      if tagCount == 0 { outer = identifier } else { inner = identifier }
      type = EtherType(rawValue: bytes.load16(payloadOffset &+ 2))
      payloadOffset &+= EthernetHeader.tagSize
      tagCount &+= 1
    }
  }
}

extension EtherType {
  /// Whether a VLAN tag follows and not what the frame carries.
  public var isTag: Bool { self == .vlan || self == .serviceVLAN }
}
