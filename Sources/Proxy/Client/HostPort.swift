import Primitives

/// A server as people write it: a name or an address, and a port.
public struct HostPort: Hashable, Sendable, CustomStringConvertible {
  /// A DNS name, or an address without brackets.
  public let host: String
  public let port: UInt16

  /// - Returns: `nil` if `host` is neither a name (RFC 1123 section 2.1; `_` allowed) nor an address, or the port is 0.
  public init?(host: String, port: UInt16) {
    guard port != 0, IPAddress(host) != nil || Self.isName(host) else { return nil }
    self.host = host
    self.port = port
  }

  public init(_ endpoint: Endpoint) {
    host = endpoint.address.description
    port = endpoint.port
  }

  /// Reads `name:port`, `192.0.2.1:port`, `[2001:db8::1]:port`, or the same without a port where there is a default.
  public init?(_ text: String, defaultPort: UInt16? = nil) {
    let host: Substring
    let rest: Substring
    if text.first == "[" {
      guard let close = text.firstIndex(of: "]") else { return nil }
      host = text[text.index(after: text.startIndex)..<close]
      rest = text[text.index(after: close)...]
      guard IPAddress(String(host))?.family == .v6 else { return nil }
    } else if let colon = text.firstIndex(of: ":") {
      host = text[..<colon]
      rest = text[colon...]
    } else {
      host = text[...]
      rest = ""
    }
    var port = defaultPort
    if !rest.isEmpty {
      let digits = rest.dropFirst()
      guard rest.first == ":", !digits.isEmpty, digits.utf8.allSatisfy({ (48...57).contains($0) }) else { return nil }
      port = UInt16(digits)
    }
    guard let port else { return nil }
    self.init(host: String(host), port: port)
  }

  /// The form of an authority (RFC 3986 section 3.2): an IPv6 address stands in brackets.
  public var description: String {
    host.utf8.contains(UInt8(ascii: ":")) ? "[\(host)]:\(port)" : "\(host):\(port)"
  }

  /// Whether the host is written as an address: then it is no name for TLS to ask for (RFC 6066 section 3).
  public var isAddress: Bool { IPAddress(host) != nil }

  private static func isName(_ host: String) -> Bool {
    (1...253).contains(host.utf8.count)
      && host.split(separator: ".", omittingEmptySubsequences: false).allSatisfy { label in
        (1...63).contains(label.utf8.count)
          && label.utf8.allSatisfy {
            switch $0 {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
              UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "_"):
              true
            default: false
            }
          }
      }
  }
}
