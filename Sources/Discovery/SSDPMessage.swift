public import Primitives

/// What a device says of itself by SSDP (UPnP Device Architecture 2.0, clause 1): an answer to a search, or a NOTIFY.
public struct SSDPMessage: Equatable, Sendable {
  public static let port: UInt16 = 1900
  public static let group = IPAddress(239, 255, 255, 250)
  /// Bytes of a message, of a line, and lines.
  static let sizeLimit = 2048
  static let lineLimit = 64

  /// What answers: a kind of device or service.
  public private(set) var target: String?
  public private(set) var uniqueName: String?
  /// Operating system and product, as the device has them.
  public private(set) var server: String?
  /// Where its description is. Nobody fetches it: a device doesn't get to say where this host connects to.
  public private(set) var location: String?

  /// A search for all devices that answers within `seconds`, 1 to 5.
  public static func search(seconds: Int) -> [UInt8] {
    Array(
      ("M-SEARCH * HTTP/1.1\r\nHOST: \(group):\(port)\r\nMAN: \"ssdp:discover\"\r\nMX: \(min(max(seconds, 1), 5))\r\n"
        + "ST: upnp:rootdevice\r\n\r\n").utf8)
  }

  /// Reads the payload of a datagram.
  public init(parsing bytes: Span<UInt8>) throws(DiscoveryParseError) {
    guard bytes.count <= Self.sizeLimit else { throw .badLength(bytes.count) }
    var lines = 0
    var start = 0
    while start < bytes.count {
      var end = start
      while end < bytes.count, bytes[end] != 0x0A { end += 1 }
      let stop = end > start && bytes[end - 1] == 0x0D ? end - 1 : end
      let line = bytes.extracting(start..<stop)
      start = end + 1
      guard lines < Self.lineLimit else { throw .tooMany }
      if lines == 0 {
        let first = line.text(limit: 64)
        guard first.hasPrefix("HTTP/1.1 200") || first.hasPrefix("HTTP/1.0 200") || first.hasPrefix("NOTIFY * HTTP/1.")
        else { throw .otherMessage }
      } else if line.isEmpty {
        return
      } else {
        take(line)
      }
      lines += 1
    }
    guard lines > 0 else { throw .truncated(needed: 1, have: 0) }
  }

  private mutating func take(_ line: Span<UInt8>) {
    guard let colon = line.indices.first(where: { line[$0] == 0x3A }) else { return }
    var first = colon + 1
    while first < line.count, line[first] == 0x20 || line[first] == 0x09 { first += 1 }
    let value = line.extracting(first..<line.count).text(limit: DiscoveredDevice.textLimit)
    switch line.extracting(0..<colon).text(limit: 32).lowercased() {
    case "st", "nt": target = value
    case "usn": uniqueName = value
    case "server": server = value
    case "location": location = value
    default: break
    }
  }
}
