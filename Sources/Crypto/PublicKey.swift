internal import COpenSSL

/// A public key, held as its SubjectPublicKeyInfo (RFC 5280 section 4.1).
public struct PublicKey: Hashable, Sendable {
  /// The DER form.
  public let der: [UInt8]
  public let keyHash: KeyHash

  /// Reads a DER form; throws an error of kind `.malformed`.
  public init(der: [UInt8]) throws(CryptoError) {
    let key = try unsafe Self.parse(der)
    defer { unsafe EVP_PKEY_free(key) }
    // Encoded anew, so that one key has one hash.
    try unsafe self.init(key)
  }

  init(_ key: OpaquePointer) throws(CryptoError) {
    let encoded = try unsafe encodedDER("public key") { unsafe i2d_PUBKEY(key, $0) }
    keyHash = KeyHash(try SHA256.hash(encoded.span))
    der = encoded
  }

  /// Whether `signature`, ECDSA in DER form, is this key's over SHA-256 of `bytes`.
  public func isValid(signature: [UInt8], of bytes: [UInt8]) -> Bool {
    guard let key = try? unsafe Self.parse(der) else { return false }
    defer { unsafe EVP_PKEY_free(key) }
    guard unsafe EVP_PKEY_is_a(key, "EC") == 1, let context = unsafe EVP_MD_CTX_new() else { return false }
    defer { unsafe EVP_MD_CTX_free(context) }
    let verified = unsafe bytes.withUnsafeBufferPointer { bytes in
      unsafe signature.withUnsafeBufferPointer { signature in
        unsafe EVP_DigestVerifyInit_ex(context, nil, "SHA256", nil, nil, key, nil) == 1
          && EVP_DigestVerify(context, signature.baseAddress, signature.count, bytes.baseAddress, bytes.count) == 1
      }
    }
    // A signature that doesn't fit leaves entries in the queue.
    ERR_clear_error()
    return verified
  }

  static func parse(_ der: [UInt8]) throws(CryptoError) -> OpaquePointer {
    try unsafe parsedDER("public key", der, { unsafe d2i_PUBKEY(nil, $0, $1) }, free: { unsafe EVP_PKEY_free($0) })
  }
}

extension PublicKey: Codable {
  /// Base64 of the DER form.
  public init(from decoder: any Decoder) throws {
    let container = try decoder.singleValueContainer()
    guard let der = Base64.decode(try container.decode(String.self)), let key = try? PublicKey(der: der) else {
      throw DecodingError.dataCorruptedError(in: container, debugDescription: "not a public key")
    }
    self = key
  }

  public func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    try container.encode(Base64.encode(der))
  }
}
