import Crypto
import Proxy

/// Where the audit is sent as it grows.
struct SyslogTarget: Hashable, Sendable {
  let server: HostPort
  /// The key that a receiver over TLS has to have; `nil` for plain TCP.
  let key: KeyHash?
}

extension SyslogTarget: CustomStringConvertible {
  var description: String { "\(key == nil ? "tcp" : "tls")://\(server)" }

  static let rule = "tcp://HOST[:514], or tls://HOST[:6514] together with --syslog-key"

  /// Reads `tcp://HOST:PORT` or `tls://HOST:PORT`, the ports being those of RFC 6587 and RFC 5425 if left out.
  /// - Parameter key: of a receiver over TLS; without it there is none.
  init?(_ text: String, key: KeyHash?) {
    let schemes: [(String, port: UInt16, isTLS: Bool)] = [("tcp://", 514, false), ("tls://", 6514, true)]
    guard let scheme = schemes.first(where: { text.hasPrefix($0.0) }), scheme.isTLS == (key != nil),
      let server = HostPort(String(text.dropFirst(scheme.0.count)), defaultPort: scheme.port)
    else { return nil }
    self.server = server
    self.key = key
  }
}
