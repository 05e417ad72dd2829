public import Primitives

/// How an EtherNet/IP device answers List Identity (CIP volume 2, clause 2-4.2.4). Integers are little-endian.
///
/// ```
/// | command 2 | length 2 | session 4 | status 4 | context 8 | options 4 | items 2 | (type 2 | length 2 | data)… |
/// ```
public struct CIPIdentity: Equatable, Sendable {
  public static let port: UInt16 = 44818
  static let listIdentity: UInt16 = 0x63
  static let headerSize = 24
  static let identityItem: UInt16 = 0x0C
  /// Items of an answer that are read; one is there.
  static let itemLimit = 16

  /// What it says its address is.
  public private(set) var address: IPAddress
  public private(set) var vendor: UInt16
  public private(set) var deviceType: UInt16
  public private(set) var productCode: UInt16
  /// Major, minor.
  public private(set) var revision: (UInt8, UInt8)
  public private(set) var status: UInt16
  public private(set) var serial: UInt32
  public private(set) var productName: String

  /// The request: whoever hears it answers within `delay` ms, at a moment of its own.
  ///
  /// - Parameter context: what comes back in each answer, 6 bytes.
  public static func request(delay: UInt16, context: UInt64) -> [UInt8] {
    var message = [UInt8](repeating: 0, count: headerSize)
    message[0] = UInt8(listIdentity)
    message[12] = UInt8(truncatingIfNeeded: delay)
    message[13] = UInt8(delay >> 8)
    for index in 0..<6 { message[14 + index] = UInt8(truncatingIfNeeded: context >> UInt64(8 * index)) }
    return message
  }

  /// Reads the payload of an answer's datagram.
  public init(parsing bytes: Span<UInt8>) throws(DiscoveryParseError) {
    guard try bytes.little16(0) == Self.listIdentity else { throw .otherMessage }
    guard try bytes.little32(8) == 0 else { throw .otherMessage }
    let data = bytes.extracting(try bytes.range(Self.headerSize, Int(bytes.little16(2))))
    let count = Int(try data.little16(0))
    guard count <= Self.itemLimit else { throw .tooMany }
    var offset = 2
    for _ in 0..<count {
      let type = try data.little16(offset)
      let item = data.extracting(try data.range(offset + 4, Int(data.little16(offset + 2))))
      offset += 4 + item.count
      guard type == Self.identityItem else { continue }
      // The socket address within is in network order: family, port, address, eight zeros.
      address = try item.v4(6)
      vendor = try item.little16(18)
      deviceType = try item.little16(20)
      productCode = try item.little16(22)
      revision = (try item.byte(24), try item.byte(25))
      status = try item.little16(26)
      serial = try item.little32(28)
      productName = item.extracting(try item.range(33, Int(item.byte(32)))).text(limit: DiscoveredDevice.textLimit)
      return
    }
    throw .otherMessage
  }

  public static func == (left: CIPIdentity, right: CIPIdentity) -> Bool {
    left.address == right.address && left.vendor == right.vendor && left.deviceType == right.deviceType
      && left.productCode == right.productCode && left.revision == right.revision && left.status == right.status
      && left.serial == right.serial && left.productName == right.productName
  }
}
