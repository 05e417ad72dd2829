import Crypto

/// What went wrong at an HTTP proxy.
public enum HTTPConnectError: Error, Hashable, Sendable, CustomStringConvertible {
  /// 407: the proxy wants a user and password, or doesn't like the ones given. The schemes that it offers.
  case authenticationRequired(schemes: [String])
  /// Any other status that isn't 2xx.
  case refused(status: Int, reason: String)
  /// What came isn't an HTTP response.
  case malformed
  /// The header is longer than `HTTPConnect.headerLimit`.
  case tooLong
  /// The proxy closed the connection before its header was complete.
  case closed

  public var description: String {
    switch self {
    case .authenticationRequired(let schemes):
      "the proxy asks for a user and password" + (schemes.isEmpty ? "" : " (\(schemes.joined(separator: ", ")))")
    case .refused(let status, let reason): "the proxy refused: \(status) \(reason)"
    case .malformed: "the proxy's answer is not HTTP"
    case .tooLong: "the proxy's answer has too long a header"
    case .closed: "the proxy closed the connection"
    }
  }
}

/// A tunnel through an HTTP proxy (RFC 9110 section 9.3.6): the request, and the machine that reads the answer.
///
/// Takes bytes up to the blank line and not one more: what follows belongs to TLS. Interim answers (1xx) are
/// passed over. HTTP/1.0 and a bare LF as line end are accepted (RFC 9112 section 2.2).
public struct HTTPConnect: Sendable {
  /// Bytes of the whole answer's header, interim ones included.
  public static let headerLimit = 8192

  public enum Progress: Hashable, Sendable {
    case needsMore
    case established
  }

  /// What is to be sent first.
  public let request: [UInt8]

  private var header: [UInt8] = []
  private var received = 0

  /// - Parameters:
  ///   - target: what the proxy is to connect to.
  ///   - credentials: sent as Basic (RFC 7617) at once, without being asked.
  public init(to target: HostPort, credentials: ProxyConfiguration.Credentials? = nil) {
    var text = "CONNECT \(target) HTTP/1.1\r\nHost: \(target)\r\n"
    if let credentials {
      let pair = Array("\(credentials.user):\(credentials.password)".utf8)
      text += "Proxy-Authorization: Basic \(Base64.encode(pair))\r\n"
    }
    text += "User-Agent: RelayVPN\r\n\r\n"
    request = Array(text.utf8)
  }

  /// Takes what belongs to the header.
  ///
  /// - Returns: how many of the bytes those were, which is all of them until the tunnel is established.
  public mutating func receive(
    _ bytes: Span<UInt8>
  ) throws(HTTPConnectError) -> (consumed: Int, progress: Progress) {
    for index in bytes.indices {
      guard received < Self.headerLimit else { throw .tooLong }
      received += 1
      header.append(bytes[index])
      guard endsWithBlankLine else { continue }
      if try judge() { return (index + 1, .established) }
      header.removeAll(keepingCapacity: true)
    }
    return (bytes.count, .needsMore)
  }

  private var endsWithBlankLine: Bool {
    guard header.last == UInt8(ascii: "\n") else { return false }
    var before = header.dropLast()
    if before.last == UInt8(ascii: "\r") { before = before.dropLast() }
    return before.last == UInt8(ascii: "\n")
  }

  /// Reads a complete header; false for an interim answer.
  private func judge() throws(HTTPConnectError) -> Bool {
    let lines = header.split(separator: UInt8(ascii: "\n")).map { line in
      line.last == UInt8(ascii: "\r") ? line.dropLast() : line
    }
    // RFC 9112 section 4: HTTP-version SP status-code SP [reason-phrase]
    guard let first = lines.first else { throw .malformed }
    let parts = first.split(separator: UInt8(ascii: " "), maxSplits: 2, omittingEmptySubsequences: false)
    guard parts.count >= 2, parts[0].starts(with: "HTTP/1.".utf8), parts[1].count == 3,
      parts[1].allSatisfy({ (48...57).contains($0) })
    else { throw .malformed }
    let status = parts[1].reduce(0) { $0 * 10 + Int($1) - 48 }
    switch status {
    case 100..<200 where status != 101: return false
    case 200..<300: return true
    case 407: throw .authenticationRequired(schemes: Self.schemes(lines.dropFirst()))
    default:
      let reason = parts.count == 3 ? Self.printable(parts[2]) : ""
      throw .refused(status: status, reason: reason)
    }
  }

  /// The first word of each Proxy-Authenticate field (RFC 9110 section 11.7.1).
  private static func schemes(_ lines: ArraySlice<ArraySlice<UInt8>>) -> [String] {
    lines.compactMap { line in
      guard let colon = line.firstIndex(of: UInt8(ascii: ":")),
        printable(line[..<colon]).lowercased() == "proxy-authenticate"
      else { return nil }
      return printable(line[line.index(after: colon)...]).split(separator: " ").first.map(String.init)
    }
  }

  /// What a peer wrote goes to logs and terminals: plain ASCII only, and not much of it.
  private static func printable(_ bytes: ArraySlice<UInt8>) -> String {
    String(decoding: bytes.prefix(80).map { (0x20..<0x7F).contains($0) ? $0 : UInt8(ascii: "?") }, as: UTF8.self)
  }
}
