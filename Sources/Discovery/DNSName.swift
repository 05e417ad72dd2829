import Primitives

/// A domain name as labels of bytes (RFC 1035 section 3.1).
public struct DNSName: Hashable, Sendable {
  /// Bytes on the wire at most, without compression.
  static let sizeLimit = 255
  /// Pointers that are followed: each has to lead backwards, so that this many make no loop anyway.
  static let pointerLimit = 16

  /// Lower case as compared, since names are without it (RFC 1035 section 2.3.3); their text keeps it.
  public let labels: [String]

  public init(_ labels: [String]) {
    self.labels = labels
  }

  /// Reads the name at `offset` of a message, following pointers (RFC 1035 section 4.1.4).
  ///
  /// - Parameter offset: is moved behind the name.
  public init(parsing message: Span<UInt8>, at offset: inout Int) throws(DiscoveryParseError) {
    var labels: [String] = []
    var size = 1
    var place = offset
    var pointers = 0
    /// Where the name in its own place ends.
    var end: Int?
    while true {
      let length = Int(try message.byte(place))
      switch length >> 6 {
      case 0:
        if length == 0 {
          offset = end ?? place + 1
          self.labels = labels
          return
        }
        size += length + 1
        guard size <= Self.sizeLimit else { throw .badName }
        let label = message.extracting(try message.range(place + 1, length)).text(limit: 63)
        // Of zeros alone nothing is left, and written again it would end the name.
        guard !label.isEmpty else { throw .badName }
        labels.append(label)
        place += 1 + length
      case 3:
        let target = Int(try message.field16(place) & 0x3FFF)
        pointers += 1
        guard target < place, pointers <= Self.pointerLimit else { throw .badName }
        if end == nil { end = place + 2 }
        place = target
      default: throw .badName
      }
    }
  }

  /// On the wire, without compression. Labels are cut to 63 bytes.
  var bytes: [UInt8] {
    var bytes: [UInt8] = []
    for label in labels {
      let text = Array(label.utf8.prefix(63))
      bytes.append(UInt8(text.count))
      bytes += text
    }
    return bytes + [0]
  }

  /// Whether both are the same but for case.
  public func matches(_ other: DNSName) -> Bool {
    labels.count == other.labels.count
      && zip(labels, other.labels).allSatisfy { $0.lowercased() == $1.lowercased() }
  }

  /// Whether it lies below another one.
  public func isBelow(_ other: DNSName) -> Bool {
    labels.count > other.labels.count && DNSName(Array(labels.suffix(other.labels.count))).matches(other)
  }

  public var description: String { labels.joined(separator: ".") }
}
