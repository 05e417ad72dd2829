internal import COpenSSL

/// A request for a certificate (PKCS #10, RFC 2986): a public key, and proof that its sender holds the private one.
///
/// The names in it are the applicant's wish only; an issuer decides on its own.
public struct CertificateRequest: Hashable, Sendable {
  public let der: [UInt8]
  public let publicKey: PublicKey
  /// The common name that was asked for.
  public let commonName: String?

  /// Makes and signs a request.
  /// - Parameter commonName: 1 to 64 characters.
  public init(key: PrivateKey, commonName: String) throws(CryptoError) {
    guard let request = unsafe X509_REQ_new() else { throw .last("certificate request") }
    defer { unsafe X509_REQ_free(request) }
    try check("certificate request", unsafe X509_REQ_set_version(request, 0))
    try unsafe addName(commonName, "CN", to: X509_REQ_get_subject_name(request))
    try check("certificate request", unsafe X509_REQ_set_pubkey(request, key.pointer))
    guard unsafe X509_REQ_sign(request, key.pointer, Algorithms.shared.sha256) > 0 else {
      throw .last("certificate request")
    }
    try unsafe self.init(request)
  }

  /// Reads a DER form and checks that it is signed with the key that it names.
  public init(der: [UInt8]) throws(CryptoError) {
    let request = try unsafe parsedDER(
      "certificate request", der, { unsafe d2i_X509_REQ(nil, $0, $1) }, free: { unsafe X509_REQ_free($0) })
    defer { unsafe X509_REQ_free(request) }
    try unsafe self.init(request)
  }

  /// Reads a PEM form and checks that it is signed with the key that it names.
  public init(pem: String) throws(CryptoError) {
    let bio = try MemoryBIO.make(Array(pem.utf8))
    guard let request = unsafe copenssl_read_request(bio.pointer) else {
      throw .last("certificate request", .malformed)
    }
    defer { unsafe X509_REQ_free(request) }
    try unsafe self.init(request)
  }

  private init(_ request: OpaquePointer) throws(CryptoError) {
    guard let key = unsafe X509_REQ_get0_pubkey(request) else { throw .last("certificate request", .malformed) }
    guard unsafe X509_REQ_verify(request, key) == 1 else { throw .last("certificate request", .authentication) }
    publicKey = try unsafe PublicKey(key)
    der = try unsafe encodedDER("certificate request") { unsafe i2d_X509_REQ(request, $0) }
    commonName = unsafe nameEntry(X509_REQ_get_subject_name(request), NID_commonName)
  }

  public var pem: String {
    "-----BEGIN CERTIFICATE REQUEST-----\n\(pemBody(der))-----END CERTIFICATE REQUEST-----\n"
  }
}

/// Base64 in lines of 64 characters (RFC 7468 section 2).
func pemBody(_ der: [UInt8]) -> String {
  var lines = ""
  var start = 0
  while start < der.count {
    lines += Base64.encode(Array(der[start..<min(start + 48, der.count)])) + "\n"
    start += 48
  }
  return lines
}

/// Appends an entry to a distinguished name. OpenSSL refuses what is empty or longer than the attribute allows.
func addName(_ text: String, _ attribute: String, to name: OpaquePointer?) throws(CryptoError) {
  let bytes = Array(text.utf8)
  let added = unsafe bytes.withUnsafeBufferPointer {
    unsafe X509_NAME_add_entry_by_txt(
      name, attribute, copenssl_utf8_text(), $0.baseAddress, Int32(clamping: $0.count), -1, 0)
  }
  guard !bytes.isEmpty, added == 1 else { throw .last("certificate name", .misuse) }
}

/// The first entry of one kind in a distinguished name.
func nameEntry(_ name: OpaquePointer?, _ kind: Int32) -> String? {
  var count: Int32 = 0
  guard let name = unsafe name, let text = unsafe copenssl_name_entry(name, kind, &count) else { return nil }
  defer { unsafe copenssl_free(text) }
  return unsafe String(decoding: UnsafeBufferPointer(start: text, count: Int(count)), as: UTF8.self)
}
