internal import COpenSSL

/// What all TLS connections of one kind have in common. May be shared between threads.
///
/// TLS 1.3, or 1.2 with ECDHE and AES-256-GCM only; no compression, renegotiation, session tickets, resumption
/// or early data; never reads further than the record that it needs.
@safe public final class TLSContext: @unchecked Sendable {
  public enum Role: Sendable { case client, server }

  /// What is asked of the peer. No certificate chain is ever judged here: who the peer is, is the hash of its
  /// key, which the caller compares. That the peer holds that key is proven by the handshake.
  public enum Peer: Sendable {
    /// A server asks for no certificate; a client doesn't care about the server's.
    case anonymous
    /// A server asks for a certificate and goes on without.
    case requested
    /// Without a certificate there is no connection.
    case required
  }

  public enum Version: Int, Sendable, Comparable {
    case tls12 = 0x0303
    case tls13 = 0x0304

    public static func < (left: Version, right: Version) -> Bool { left.rawValue < right.rawValue }
  }

  /// A certificate with its key and those of its issuers that are to be sent along.
  public struct Credentials: Sendable {
    public var certificate: Certificate
    public var chain: [Certificate]
    public var key: PrivateKey

    public init(_ certificate: Certificate, chain: [Certificate] = [], key: PrivateKey) {
      self.certificate = certificate
      self.chain = chain
      self.key = key
    }
  }

  // Never changed after `init`; OpenSSL counts references by atomics.
  let pointer: OpaquePointer
  /// What the server's ALPN callback reads.
  private let served: UnsafeMutablePointer<copenssl_alpn_names>
  public let role: Role

  /// - Parameters:
  ///   - alpn: protocol names (RFC 7301), the preferred one first, of 1 to 255 bytes each and 255 in all. A server
  ///     refuses a client that offers names of which it has none; one that offers none is let in: ask
  ///     `TLSConnection.alpn`.
  public init(
    _ role: Role, credentials: Credentials? = nil, peer: Peer = .required, alpn: [String] = [],
    versions: ClosedRange<Version> = .tls12 ... .tls13
  ) throws(CryptoError) {
    let operation = "TLS context"
    guard let made = unsafe SSL_CTX_new(role == .client ? TLS_client_method() : TLS_server_method()) else {
      throw .last(operation)
    }
    unsafe pointer = made
    unsafe served = .allocate(capacity: 1)
    unsafe served.initialize(to: copenssl_alpn_names())
    self.role = role

    let configured = unsafe copenssl_configure(
      made, Int32(versions.lowerBound.rawValue), Int32(versions.upperBound.rawValue))
    guard configured != 0 else { throw .last(operation) }
    switch peer {
    case .anonymous: unsafe copenssl_verify_nobody(made)
    case .requested: unsafe copenssl_verify_peer(made, 0)
    case .required: unsafe copenssl_verify_peer(made, 1)
    }
    if let credentials { try unsafe Self.use(credentials, in: made) }
    if !alpn.isEmpty { try offer(alpn) }
  }

  deinit {
    unsafe SSL_CTX_free(pointer)
    unsafe served.deallocate()
  }

  private static func use(_ credentials: Credentials, in context: OpaquePointer) throws(CryptoError) {
    let operation = "TLS credentials"
    guard credentials.certificate.keyHash == credentials.key.keyHash else {
      throw CryptoError(operation, .misuse, reason: "the key is not the certificate's")
    }
    let certificate = try unsafe Certificate.parse(credentials.certificate.der)
    defer { unsafe X509_free(certificate) }
    try check(operation, unsafe SSL_CTX_use_certificate(context, certificate))
    try check(operation, unsafe SSL_CTX_use_PrivateKey(context, credentials.key.pointer))
    for issuer in credentials.chain {
      let issuer = try unsafe Certificate.parse(issuer.der)
      defer { unsafe X509_free(issuer) }
      try check(operation, unsafe copenssl_add_chain_certificate(context, issuer))
    }
  }

  private func offer(_ names: [String]) throws(CryptoError) {
    var wire: [UInt8] = []
    for name in names {
      let bytes = Array(name.utf8)
      guard (1...255).contains(bytes.count), wire.count + 1 + bytes.count <= 256 else {
        throw CryptoError("ALPN", .misuse, reason: name)
      }
      wire.append(UInt8(bytes.count))
      wire += bytes
    }
    if role == .client {
      // The one OpenSSL call of this kind that returns 0 for success.
      guard unsafe SSL_CTX_set_alpn_protos(pointer, wire, UInt32(wire.count)) == 0 else { throw .last("ALPN") }
    } else {
      unsafe served.pointee.size = UInt32(wire.count)
      unsafe withUnsafeMutableBytes(of: &served.pointee.names) { unsafe $0.copyBytes(from: wire) }
      unsafe copenssl_serve_alpn(pointer, served)
    }
  }
}
