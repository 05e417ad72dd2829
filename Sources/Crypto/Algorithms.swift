internal import COpenSSL

/// OpenSSL's algorithms, fetched once per process: a fetch by name takes locks and searches all providers.
///
/// An entry is `nil` when no loaded provider has it; its users then throw.
@safe final class Algorithms: @unchecked Sendable {
  static let shared = Algorithms()

  let aes256GCM: OpaquePointer?
  let sha256: OpaquePointer?
  let sha1: OpaquePointer?
  let hkdf: OpaquePointer?

  private init() {
    unsafe aes256GCM = unsafe EVP_CIPHER_fetch(nil, "AES-256-GCM", nil)
    unsafe sha256 = unsafe EVP_MD_fetch(nil, "SHA256", nil)
    unsafe sha1 = unsafe EVP_MD_fetch(nil, "SHA1", nil)
    unsafe hkdf = unsafe EVP_KDF_fetch(nil, "HKDF", nil)
  }
}
