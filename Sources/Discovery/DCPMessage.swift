public import Packet
public import Primitives

/// A message of PROFINET's Discovery and Configuration Protocol (IEC 61158-6-10, clause 4.3).
///
/// ```
/// | frame ID 2 | service 1 | type 1 | xid 4 | response delay or 0: 2 | data length 2 | blocks … |
/// ```
/// A block is option 1, suboption 1, length 2, then as many bytes, and one more where that makes it even.
public struct DCPMessage: Equatable, Sendable {
  public enum Service: UInt8, Sendable { case get = 3, set = 4, identify = 5, hello = 6 }
  public enum Direction: UInt8, Sendable { case request = 0, success = 1, unsupported = 5 }

  /// Where requests to all go.
  public static let multicast = MACAddress(0x010E_CF00_0000)
  /// Bytes from the frame's identifier to the blocks.
  static let headerSize = 12
  /// Blocks of a message that are read; a device has some ten.
  static let blockLimit = 64

  public let service: Service
  public let direction: Direction
  /// What joins an answer to its request.
  public let xid: UInt32
  public let blocks: [DCPBlock]

  /// Reads what follows an Ethernet header of type PROFINET.
  public init(parsing bytes: Span<UInt8>) throws(DiscoveryParseError) {
    try bytes.require(Self.headerSize)
    let frameID = try bytes.field16(0)
    guard let service = Service(rawValue: bytes[2]), let direction = Direction(rawValue: bytes[3]),
      frameID == Self.frameID(service, direction)
    else { throw .otherMessage }
    self.service = service
    self.direction = direction
    xid = try bytes.field32(4)
    let data = bytes.extracting(try bytes.range(Self.headerSize, Int(bytes.field16(10))))
    var blocks: [DCPBlock] = []
    var offset = 0
    if service == .get, direction == .request {
      // Only names of what is wanted, and no lengths.
      guard data.count / 2 <= Self.blockLimit else { throw .tooMany }
      self.blocks = stride(from: 0, to: data.count - 1, by: 2).map {
        .other(option: data[$0], suboption: data[$0 + 1])
      }
      return
    }
    // An odd last block may lack the byte that makes it even.
    while offset < data.count {
      guard blocks.count < Self.blockLimit else { throw .tooMany }
      let size = Int(try data.field16(offset + 2))
      let content = data.extracting(try data.range(offset + 4, size))
      blocks.append(
        try DCPBlock(option: data[offset], suboption: data[offset + 1], content: content, service, direction))
      offset += 4 + size + size % 2
    }
    self.blocks = blocks
  }

  static func frameID(_ service: Service, _ direction: Direction) -> UInt16 {
    switch service {
    case .hello: 0xFEFC
    case .get, .set: 0xFEFD
    case .identify: direction == .request ? 0xFEFE : 0xFEFF
    }
  }
}

/// One block of a message, as far as it is understood.
public enum DCPBlock: Equatable, Sendable {
  /// State of the address as the device tells it, address, mask and gateway; all zero if it has none.
  case ip(info: UInt16, IPAddress, mask: IPAddress, gateway: IPAddress)
  case nameOfStation(String)
  /// What the maker calls the kind of device.
  case stationType(String)
  case deviceID(vendor: UInt16, device: UInt16)
  /// 1 device, 2 controller, 4 multidevice, 8 supervisor; together.
  case role(UInt8)
  case alias(String)
  /// What a Set has come to for one option; 0 is done.
  case result(option: UInt8, suboption: UInt8, error: UInt8)
  /// Another one, or one of a request.
  case other(option: UInt8, suboption: UInt8)

  /// In `info` of an address: there is another device that has it.
  public static let conflict: UInt16 = 0x80

  init(
    option: UInt8, suboption: UInt8, content: Span<UInt8>, _ service: DCPMessage.Service,
    _ direction: DCPMessage.Direction
  ) throws(DiscoveryParseError) {
    self = .other(option: option, suboption: suboption)
    if service == .set {
      if direction != .request, (option, suboption) == (5, 4) {
        self = .result(
          option: try content.byte(0), suboption: try content.byte(1), error: try content.byte(2))
      }
      return
    }
    // Answers have two bytes of information before each value, and requests have filters instead.
    guard service == .hello || direction == .success, option == 1 || option == 2 else { return }
    let info = try content.field16(0)
    let value = content.extracting(try content.range(2, content.count - 2))
    switch (option, suboption) {
    // 1.3 has the addresses of DNS servers behind the same fields.
    case (1, 2), (1, 3): self = .ip(info: info, try value.v4(0), mask: try value.v4(4), gateway: try value.v4(8))
    case (2, 1): self = .stationType(value.text(limit: DiscoveredDevice.textLimit))
    case (2, 2): self = .nameOfStation(value.text(limit: StationName.sizeLimit))
    case (2, 3): self = .deviceID(vendor: try value.field16(0), device: try value.field16(2))
    case (2, 4): self = .role(try value.byte(0))
    case (2, 6): self = .alias(value.text(limit: DiscoveredDevice.textLimit))
    default: break
    }
  }
}
