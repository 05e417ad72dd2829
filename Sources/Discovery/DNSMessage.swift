public import Primitives

/// A message of multicast DNS, as far as discovery needs it (RFC 1035 section 4, RFC 6762, RFC 6763).
public struct DNSMessage: Equatable, Sendable {
  public enum RecordType {
    public static let a: UInt16 = 1
    public static let ptr: UInt16 = 12
    public static let txt: UInt16 = 16
    public static let aaaa: UInt16 = 28
    public static let srv: UInt16 = 33
  }

  public enum Content: Equatable, Sendable {
    case address(IPAddress)
    case pointer(DNSName)
    case service(host: DNSName, port: UInt16)
    /// `key=value` texts (RFC 6763 section 6.3).
    case texts([String])
    case other(UInt16)
  }

  public struct Record: Equatable, Sendable {
    public let name: DNSName
    public let content: Content
  }

  public static let port: UInt16 = 5353
  public static let group = IPAddress(224, 0, 0, 251)
  /// Under which all kinds of services of a link are listed (RFC 6763 section 9).
  public static let services = DNSName(["_services", "_dns-sd", "_udp", "local"])
  static let headerSize = 12
  /// Records of a message that are read; questions are skipped.
  static let recordLimit = 256
  static let textLimit = 32

  public let id: UInt16
  public let isResponse: Bool
  /// Of all three sections.
  public let records: [Record]

  /// Reads the payload of a datagram.
  public init(parsing bytes: Span<UInt8>) throws(DiscoveryParseError) {
    try bytes.require(Self.headerSize)
    id = try bytes.field16(0)
    let flags = try bytes.field16(2)
    isResponse = flags & 0x8000 != 0
    // Other operations and errors aren't for multicast (RFC 6762 section 18).
    guard flags & 0x780F == 0 else { throw .otherMessage }
    let questions = Int(try bytes.field16(4))
    let count = Int(try bytes.field16(6)) + Int(try bytes.field16(8)) + Int(try bytes.field16(10))
    guard questions <= Self.recordLimit, count <= Self.recordLimit else { throw .tooMany }
    var offset = Self.headerSize
    for _ in 0..<questions {
      _ = try DNSName(parsing: bytes, at: &offset)
      _ = try bytes.range(offset, 4)
      offset += 4
    }
    var records: [Record] = []
    for _ in 0..<count {
      let name = try DNSName(parsing: bytes, at: &offset)
      let type = try bytes.field16(offset)
      let size = Int(try bytes.field16(offset + 8))
      let start = offset + 10
      let data = bytes.extracting(try bytes.range(start, size))
      offset = start + size
      records.append(Record(name: name, content: try Self.content(type, data, start, bytes)))
    }
    self.records = records
  }

  private static func content(
    _ type: UInt16, _ data: Span<UInt8>, _ start: Int, _ message: Span<UInt8>
  ) throws(DiscoveryParseError) -> Content {
    switch type {
    case RecordType.a:
      return .address(try data.v4(0))
    case RecordType.aaaa:
      guard let address = IPAddress(bytes: data.extracting(try data.range(0, 16))) else { throw .badLength(data.count) }
      return .address(address)
    case RecordType.ptr:
      var offset = start
      return .pointer(try DNSName(parsing: message, at: &offset))
    case RecordType.srv:
      let port = try data.field16(4)
      var offset = start + 6
      return .service(host: try DNSName(parsing: message, at: &offset), port: port)
    case RecordType.txt:
      var texts: [String] = []
      var offset = 0
      while offset < data.count, texts.count < textLimit {
        let text = data.extracting(try data.range(offset + 1, Int(data[offset])))
        offset += 1 + text.count
        if !text.isEmpty { texts.append(text.text(limit: DiscoveredDevice.textLimit)) }
      }
      return .texts(texts)
    default:
      return .other(type)
    }
  }

  /// A query for one name. Sent from another port than 5353, it is answered to that port (RFC 6762 section 6.7).
  ///
  /// - Parameter types: of records; each is a question.
  public static func query(_ name: DNSName, _ types: [UInt16], id: UInt16) -> [UInt8] {
    var message: [UInt8] = []
    message.append16(id)
    message.append16(0)
    message.append16(UInt16(types.count))
    for _ in 0..<3 { message.append16(0) }
    for (index, type) in types.enumerated() {
      // The first question's name follows the header; the others point there.
      message += index == 0 ? name.bytes : [0xC0, UInt8(headerSize)]
      message.append16(type)
      message.append16(1)
    }
    return message
  }
}
