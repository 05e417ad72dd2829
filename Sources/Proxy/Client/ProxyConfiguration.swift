/// A corporate HTTP proxy on the way out: `http://[user:password@]host:port`.
public struct ProxyConfiguration: Hashable, Sendable {
  public struct Credentials: Hashable, Sendable {
    public let user: String
    public let password: String

    public init(user: String, password: String) {
      self.user = user
      self.password = password
    }
  }

  public let server: HostPort
  public let credentials: Credentials?

  public init(server: HostPort, credentials: Credentials? = nil) {
    self.server = server
    self.credentials = credentials
  }

  /// What is wrong with a proxy's URL. The text never repeats the password.
  public enum ParseError: Error, Hashable, Sendable, CustomStringConvertible {
    case scheme
    case server(String)
    case credentials

    public var description: String {
      switch self {
      case .scheme: "a proxy is given as http://[user:password@]host:port"
      case .server(let text): "\"\(text)\" is not host:port of a proxy"
      case .credentials: "user and password of the proxy: percent-encode special characters, no control characters"
      }
    }
  }

  /// Reads the URL form. User and password may be percent-encoded (RFC 3986 section 2.1). Port 80 by default.
  public init(parsing url: String) throws(ParseError) {
    let prefix = "http://"
    guard url.utf8.count > prefix.utf8.count, url.prefix(prefix.count).lowercased() == prefix else { throw .scheme }
    var rest = url.dropFirst(prefix.count)
    if rest.last == "/" { rest = rest.dropLast() }
    var credentials: Credentials?
    // The last @: an unencoded one in the password is then read as it was meant.
    if let at = rest.lastIndex(of: "@") {
      let parts = rest[..<at].split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
      guard let user = Self.decode(parts[0]), let password = Self.decode(parts.count == 2 ? parts[1] : ""),
        !user.isEmpty, !user.contains(":")
      else { throw .credentials }
      credentials = Credentials(user: user, password: password)
      rest = rest[rest.index(after: at)...]
    }
    guard let server = HostPort(String(rest), defaultPort: 80) else { throw .server(String(rest)) }
    self.init(server: server, credentials: credentials)
  }

  private static func decode(_ text: Substring) -> String? {
    var bytes: [UInt8] = []
    var rest = text.utf8[...]
    while let byte = rest.popFirst() {
      if byte == UInt8(ascii: "%") {
        guard let high = rest.popFirst().flatMap(digit), let low = rest.popFirst().flatMap(digit) else { return nil }
        bytes.append(high << 4 | low)
      } else {
        bytes.append(byte)
      }
    }
    // RFC 7617 section 2: no control characters in either part.
    guard bytes.allSatisfy({ $0 >= 0x20 && $0 != 0x7F }) else { return nil }
    return String(validating: bytes, as: UTF8.self)
  }

  private static func digit(_ byte: UInt8) -> UInt8? {
    Character(UnicodeScalar(byte)).hexDigitValue.map { UInt8($0) }
  }
}

extension ProxyConfiguration: CustomStringConvertible {
  /// Without the password: for logs and status.
  public var description: String {
    credentials.map { "http://\($0.user):***@\(server)" } ?? "http://\(server)"
  }
}
