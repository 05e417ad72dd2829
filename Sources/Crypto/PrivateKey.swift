internal import COpenSSL

/// A private key on an elliptic curve, P-256 or stronger. May be shared between threads.
@safe public final class PrivateKey: @unchecked Sendable {
  // Never changed after it was made; OpenSSL's own caches in it are locked.
  let pointer: OpaquePointer
  public let publicKey: PublicKey

  public var keyHash: KeyHash { publicKey.keyHash }

  /// Takes over one reference.
  private init(owning pointer: OpaquePointer) throws(CryptoError) {
    unsafe self.pointer = pointer
    // RFC 8446 section 9.1: secp256r1 is what every peer has; 128 bits is the least that is accepted here.
    guard unsafe EVP_PKEY_is_a(pointer, "EC") == 1, unsafe EVP_PKEY_get_security_bits(pointer) >= 128 else {
      unsafe EVP_PKEY_free(pointer)
      throw CryptoError("private key", .malformed, reason: "not an elliptic curve key of 256 bits or more")
    }
    do throws(CryptoError) {
      publicKey = try unsafe PublicKey(pointer)
    } catch {
      unsafe EVP_PKEY_free(pointer)
      throw error
    }
  }

  deinit {
    unsafe EVP_PKEY_free(pointer)
  }

  /// A fresh key on P-256.
  public static func generate() throws(CryptoError) -> PrivateKey {
    guard let made = unsafe copenssl_generate_p256() else { throw .last("generate key") }
    return try unsafe PrivateKey(owning: made)
  }

  /// Reads an unencrypted PEM form, whose two halves must belong together.
  public convenience init(pem: String) throws(CryptoError) {
    try self.init(pem: SecretBytes(copying: Array(pem.utf8).span))
  }

  private convenience init(pem: SecretBytes) throws(CryptoError) {
    let read = try unsafe MemoryBIO.withReader(pem) { bio throws(CryptoError) in
      guard let read = unsafe copenssl_read_private_key(bio) else { throw .last("private key", .malformed) }
      return unsafe read
    }
    try unsafe self.init(owning: read)
    // OpenSSL takes the public half from the text: with another one the key would only fail once it has signed.
    guard let context = unsafe EVP_PKEY_CTX_new_from_pkey(nil, pointer, nil) else { throw .last("private key") }
    defer { unsafe EVP_PKEY_CTX_free(context) }
    guard unsafe EVP_PKEY_pairwise_check(context) == 1 else { throw .last("private key", .malformed) }
  }

  /// PKCS #8 as PEM, unencrypted.
  public func pem() throws(CryptoError) -> String {
    let bio = try MemoryBIO.make()
    try check("private key", unsafe PEM_write_bio_PrivateKey(bio.pointer, pointer, nil, nil, 0, nil, nil))
    return String(decoding: bio.bytes, as: UTF8.self)
  }

  /// Reads a PEM file. No copy of it is left in memory.
  public convenience init(contentsOf path: String) throws(CryptoError) {
    try self.init(pem: AtomicFile.readSecret(path, limit: 64 * 1024))
  }

  /// Writes a PEM file that only its owner may read. It never exists in part, nor with wider permissions.
  /// - Parameter replacing: whether a file that is there already may be replaced.
  public func write(to path: String, replacing: Bool = false) throws(CryptoError) {
    try AtomicFile.write(Array(try pem().utf8), to: path, permissions: 0o600, replacing: replacing)
  }

  /// An ECDSA signature over SHA-256 of `bytes`, in DER form.
  public func sign(_ bytes: [UInt8]) throws(CryptoError) -> [UInt8] {
    guard let context = unsafe EVP_MD_CTX_new() else { throw .last("sign") }
    defer { unsafe EVP_MD_CTX_free(context) }
    try check("sign", unsafe EVP_DigestSignInit_ex(context, nil, "SHA256", nil, nil, pointer, nil))
    var count = Int(unsafe EVP_PKEY_get_size(pointer))
    var signature = [UInt8](repeating: 0, count: count)
    let signed = unsafe bytes.withUnsafeBufferPointer { bytes in
      unsafe signature.withUnsafeMutableBufferPointer { out in
        unsafe EVP_DigestSign(context, out.baseAddress, &count, bytes.baseAddress, bytes.count)
      }
    }
    try check("sign", signed)
    signature.removeLast(signature.count - count)
    return signature
  }
}
