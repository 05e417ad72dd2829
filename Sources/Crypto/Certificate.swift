internal import COpenSSL

/// An X.509 certificate (RFC 5280), held as its DER form with the fields that matter here read out.
public struct Certificate: Hashable, Sendable {
  public let der: [UInt8]
  public let publicKey: PublicKey
  /// The subject's common name.
  public let commonName: String?
  /// The subject's organizational unit, which carries the role of the holder.
  public let organizationalUnit: String?
  /// Seconds since 1970.
  public let notBefore, notAfter: Int64

  public var keyHash: KeyHash { publicKey.keyHash }

  /// Reads a DER form; throws an error of kind `.malformed`.
  public init(der: [UInt8]) throws(CryptoError) {
    let certificate = try unsafe Self.parse(der)
    defer { unsafe X509_free(certificate) }
    try unsafe self.init(certificate)
  }

  /// Reads the first certificate of a PEM text.
  public init(pem: String) throws(CryptoError) {
    let bio = try MemoryBIO.make(Array(pem.utf8))
    guard let certificate = unsafe copenssl_read_certificate(bio.pointer) else {
      throw .last("certificate", .malformed)
    }
    defer { unsafe X509_free(certificate) }
    try unsafe self.init(certificate)
  }

  /// Reads a PEM file.
  public init(contentsOf path: String) throws(CryptoError) {
    try self.init(pem: String(decoding: AtomicFile.read(path, limit: 256 * 1024), as: UTF8.self))
  }

  init(_ certificate: OpaquePointer) throws(CryptoError) {
    guard let key = unsafe X509_get0_pubkey(certificate) else { throw .last("certificate", .malformed) }
    publicKey = try unsafe PublicKey(key)
    der = try unsafe encodedDER("certificate") { unsafe i2d_X509(certificate, $0) }
    let subject = unsafe X509_get_subject_name(certificate)
    commonName = unsafe nameEntry(subject, NID_commonName)
    organizationalUnit = unsafe nameEntry(subject, NID_organizationalUnitName)
    notBefore = unsafe copenssl_unix_seconds(X509_get0_notBefore(certificate))
    notAfter = unsafe copenssl_unix_seconds(X509_get0_notAfter(certificate))
    // Reading extensions that make no sense leaves entries in the queue.
    ERR_clear_error()
  }

  static func parse(_ der: [UInt8]) throws(CryptoError) -> OpaquePointer {
    try unsafe parsedDER("certificate", der, { unsafe d2i_X509(nil, $0, $1) }, free: { unsafe X509_free($0) })
  }

  public var pem: String { "-----BEGIN CERTIFICATE-----\n\(pemBody(der))-----END CERTIFICATE-----\n" }

  /// Writes a PEM file that everyone may read.
  public func write(to path: String, replacing: Bool = false) throws(CryptoError) {
    try AtomicFile.write(Array(pem.utf8), to: path, permissions: 0o644, replacing: replacing)
  }

  /// Whether it is signed with `issuer`'s key and names `issuer` as its issuer. Says nothing about time.
  public func isIssued(by issuer: Certificate) -> Bool {
    guard let own = try? unsafe Self.parse(der) else { return false }
    defer { unsafe X509_free(own) }
    guard let other = try? unsafe Self.parse(issuer.der) else { return false }
    defer { unsafe X509_free(other) }
    defer { ERR_clear_error() }
    return unsafe X509_check_issued(other, own) == X509_V_OK && X509_verify(own, X509_get0_pubkey(other)) == 1
  }

  /// Whether it holds at this time, in seconds since 1970.
  public func isValid(at unixSeconds: Int64) -> Bool {
    notBefore <= unixSeconds && unixSeconds <= notAfter
  }
}

/// What an issuer puts into a certificate, besides the key.
public struct CertificateProfile: Hashable, Sendable {
  public enum Usage: Hashable, Sendable {
    /// Issues other certificates (one level).
    case authority
    /// Serves TLS under these names.
    case server([SubjectName])
    /// Logs in by TLS.
    case client
    /// Both ends of TLS, for those who meet without a name: the key is the identity.
    case peer
  }

  public enum SubjectName: Hashable, Sendable {
    case dns(String)
    /// 4 or 16 bytes in network order.
    case address([UInt8])
  }

  /// A certificate of a client or peer outlives the device: identity is the key, and access ends by other means.
  public static let lifetime: Int64 = 10 * 365 * 86400

  /// 1 to 64 characters.
  public var commonName: String
  /// The holder's role; 1 to 64 characters.
  public var organizationalUnit: String?
  public var usage: Usage
  /// Seconds since 1970.
  public var notBefore, notAfter: Int64

  /// - Parameters:
  ///   - now: seconds since 1970. The certificate holds from an hour before, for clocks that are behind.
  ///   - lifetime: seconds from `now` on.
  public init(
    commonName: String, organizationalUnit: String? = nil, usage: Usage, now: Int64,
    lifetime: Int64 = CertificateProfile.lifetime
  ) {
    self.commonName = commonName
    self.organizationalUnit = organizationalUnit
    self.usage = usage
    notBefore = now &- 3600
    notAfter = now &+ lifetime
  }
}
