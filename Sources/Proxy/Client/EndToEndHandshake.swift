import Crypto
import Framing
import Kernel
import Primitives

/// Why the two ends didn't come together.
public enum HandshakeError: Error, Hashable, Sendable, CustomStringConvertible {
  case tls(TLSError)
  /// The peer has proven another key than the one that was pinned or granted.
  case wrongKey(expected: KeyHash, found: KeyHash?)
  /// More bytes than any handshake needs.
  case tooLong
  case timedOut
  case cancelled
  case system(SystemError)

  public var description: String {
    switch self {
    case .tls(let error): "end-to-end handshake: \(error)"
    case .wrongKey(let expected, let found):
      "end-to-end handshake: expected key \(expected), found \(found.map(\.description) ?? "none")"
    case .tooLong: "end-to-end handshake: too many bytes"
    case .timedOut: "end-to-end handshake: timed out"
    case .cancelled: "end-to-end handshake: cancelled"
    case .system(let error): "end-to-end handshake: \(error)"
    }
  }
}

/// The handshake between LinkManager (TLS client) and SiteManager (TLS server) over the spliced pipe, without I/O.
///
/// TLS 1.3 only, a certificate on both sides, no session tickets: after Finished nothing of TLS follows, so that
/// the bytes behind it are records. Its only fruits are the peer's proven key and the secrets of the session.
public struct EndToEndHandshake: ~Copyable {
  /// Bytes that a handshake may take on the way in; certificates of a few hundred bytes are usual.
  public static let byteLimit = 64 << 10

  /// What both ends agree on.
  public struct Outcome: Sendable {
    public let peerKeyHash: KeyHash
    /// Bound to session and grant: with another context at the other end, its secrets are others.
    public let secrets: RecordSecrets
    /// What has arrived behind Finished: the first bytes of the peer's records.
    public let surplus: [UInt8]
  }

  static let exporterLabel = "EXPORTER-relayvpn-records"

  private var connection: TLSConnection
  private let role: Session.Role
  private let expected: KeyHash
  private let exporterContext: [UInt8]
  private var received = 0

  /// - Parameters:
  ///   - expected: the site's pinned key at the link's end; the client key of the grant at the site's end.
  ///   - exporterContext: the hash over session and grant; both ends must have the same.
  public init(
    role: Session.Role, credentials: TLSContext.Credentials, expecting expected: KeyHash, exporterContext: [UInt8]
  ) throws(HandshakeError) {
    self.role = role
    self.expected = expected
    self.exporterContext = exporterContext
    do throws(CryptoError) {
      let context = try TLSContext(
        role == .link ? .client : .server, credentials: credentials, peer: .required, versions: .tls13 ... .tls13)
      connection = try TLSConnection(context)
    } catch {
      throw .tls(.local(error))
    }
  }

  /// Makes the link's first flight; the site's end has nothing to say yet.
  public mutating func start() throws(HandshakeError) {
    _ = try advance()
  }

  /// Takes bytes from the peer. Call `takeOutput` afterwards, on success and on failure.
  ///
  /// - Returns: `nil` while more bytes are needed. Not to be called again after an outcome or an error.
  public mutating func receive(_ bytes: Span<UInt8>) throws(HandshakeError) -> Outcome? {
    guard bytes.count <= Self.byteLimit - received else { throw .tooLong }
    received += bytes.count
    do throws(CryptoError) {
      try connection.receive(bytes)
    } catch {
      throw .tls(.local(error))
    }
    return try advance()
  }

  /// The peer has ended its direction.
  public mutating func receiveEnd() throws(HandshakeError) {
    connection.receiveEnd()
    _ = try advance()
    throw .tls(.truncated)
  }

  /// What is to be sent to the peer; after an error, the alert that says why.
  public mutating func takeOutput() -> [UInt8] {
    connection.takeOutput()
  }

  private mutating func advance() throws(HandshakeError) -> Outcome? {
    do throws(TLSError) {
      guard try connection.handshake() == .done else { return nil }
    } catch {
      throw .tls(error)
    }
    let found = connection.peerKeyHash
    guard let found, found == expected else {
      // The last flight stays here: a stranger doesn't learn who was calling.
      _ = connection.takeOutput()
      throw .wrongKey(expected: expected, found: found)
    }
    do throws(CryptoError) {
      let secrets = try deriveSecrets()
      return Outcome(peerKeyHash: found, secrets: secrets, surplus: connection.surplus())
    } catch {
      throw .tls(.local(error))
    }
  }

  /// One exporter call yields both directions (RFC 8446 section 7.5): link to site first.
  private func deriveSecrets() throws(CryptoError) -> RecordSecrets {
    let size = RecordSecrets.size
    let both = try connection.exportKeyingMaterial(
      label: Self.exporterLabel, context: exporterContext, count: 2 * size)
    func half(_ range: Range<Int>) throws(CryptoError) -> SecretBytes {
      try both.withSpan { (bytes) throws(CryptoError) in try SecretBytes(copying: bytes.extracting(range)) }
    }
    let toSite = try half(0..<size)
    let toLink = try half(size..<2 * size)
    return switch role {
    case .link: RecordSecrets(send: toSite, receive: toLink)
    case .site: RecordSecrets(send: toLink, receive: toSite)
    }
  }
}
