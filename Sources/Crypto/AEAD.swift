internal import COpenSSL

/// AES-256-GCM (NIST SP 800-38D) with 12-byte nonces and 16-byte tags.
public enum AEAD {
  /// Bytes of a key.
  public static let keySize = 32
  /// Bytes of a tag.
  public static let tagSize = 16

  #if FUZZING
    /// Ciphertext is plaintext, and any tag is good: so that fuzzers get to what lies behind. Only the package `Fuzz`
    /// defines FUZZING; no build of the product has this.
    nonisolated(unsafe) public static var isOff = false
  #endif
}

/// Seals records under one key. One context, keyed once; a record only sets its nonce.
///
/// A record is worked on in place and in pieces, wherever they lie: `begin`, `update` for each piece in order,
/// `finish`. No call allocates. One thread at a time.
@safe public struct SealingKey: ~Copyable, Sendable {
  private let context: CipherContext

  /// - Parameter key: 32 bytes; copied into OpenSSL's context, which cleanses it when freed.
  public init(_ key: Span<UInt8>) throws(CryptoError) {
    context = try CipherContext.make(key, sealing: true)
  }

  /// Starts a record. What an unfinished record has gathered is forgotten.
  /// - Parameters:
  ///   - nonce: must never be used twice with this key.
  ///   - additionalData: authenticated, not encrypted; `count` bytes.
  @unsafe public mutating func begin(
    _ nonce: AEADNonce, additionalData: UnsafeRawPointer, count: Int
  ) throws(CryptoError) {
    try unsafe context.begin("seal", nonce, additionalData, count)
  }

  /// Encrypts `count` bytes where they lie, as the next piece of the record.
  @unsafe public mutating func update(_ bytes: UnsafeMutableRawPointer, count: Int) throws(CryptoError) {
    try unsafe context.update("seal", bytes, bytes, count)
  }

  /// Ends the record and writes its tag, 16 bytes.
  @unsafe public mutating func finish(tag: UnsafeMutableRawPointer) throws(CryptoError) {
    #if FUZZING
      if unsafe AEAD.isOff {
        _ = unsafe tag.initializeMemory(as: UInt8.self, repeating: 0, count: AEAD.tagSize)
        return
      }
    #endif
    var moved: Int32 = 0
    var rest: UInt8 = 0
    try check("seal", unsafe EVP_EncryptFinal_ex(context.pointer, &rest, &moved))
    try check("seal", unsafe copenssl_take_tag(context.pointer, tag))
  }
}

/// Opens records under one key. See `SealingKey`.
///
/// `update` decrypts in place before the tag was checked: nothing of a record may be acted on until `finish`
/// has returned, and nothing at all if it throws.
@safe public struct OpeningKey: ~Copyable, Sendable {
  private let context: CipherContext

  /// - Parameter key: 32 bytes; copied into OpenSSL's context, which cleanses it when freed.
  public init(_ key: Span<UInt8>) throws(CryptoError) {
    context = try CipherContext.make(key, sealing: false)
  }

  /// Starts a record. What an unfinished record has gathered is forgotten.
  @unsafe public mutating func begin(
    _ nonce: AEADNonce, additionalData: UnsafeRawPointer, count: Int
  ) throws(CryptoError) {
    try unsafe context.begin("open", nonce, additionalData, count)
  }

  /// Decrypts `count` bytes where they lie, as the next piece of the record.
  @unsafe public mutating func update(_ bytes: UnsafeMutableRawPointer, count: Int) throws(CryptoError) {
    try unsafe context.update("open", bytes, bytes, count)
  }

  /// Ends the record. Throws an error of kind `.authentication` unless the 16 bytes at `tag` are the record's.
  @unsafe public mutating func finish(verifying tag: UnsafeRawPointer) throws(CryptoError) {
    #if FUZZING
      if unsafe AEAD.isOff { return }
    #endif
    try check("open", unsafe copenssl_expect_tag(context.pointer, tag))
    var moved: Int32 = 0
    var rest: UInt8 = 0
    guard unsafe EVP_DecryptFinal_ex(context.pointer, &rest, &moved) == 1 else {
      throw .last("open", .authentication)
    }
  }
}

/// Owns an EVP_CIPHER_CTX that was keyed once, for one direction.
@safe struct CipherContext: ~Copyable, @unchecked Sendable {
  let pointer: OpaquePointer

  private init(owning pointer: OpaquePointer) {
    unsafe self.pointer = pointer
  }

  static func make(_ key: Span<UInt8>, sealing: Bool) throws(CryptoError) -> CipherContext {
    guard key.count == AEAD.keySize else { throw CryptoError("AES-256-GCM", .misuse, reason: "key size") }
    guard let cipher = unsafe Algorithms.shared.aes256GCM, let made = unsafe EVP_CIPHER_CTX_new() else {
      throw .last("AES-256-GCM")
    }
    let context = unsafe CipherContext(owning: made)
    let keyed = unsafe key.withUnsafeBufferPointer { bytes in
      unsafe EVP_CipherInit_ex2(context.pointer, cipher, bytes.baseAddress, nil, sealing ? 1 : 0, nil)
    }
    try check("AES-256-GCM", keyed)
    return context
  }

  deinit {
    unsafe EVP_CIPHER_CTX_free(pointer)
  }

  borrowing func begin(
    _ operation: String, _ nonce: AEADNonce, _ additionalData: UnsafeRawPointer, _ count: Int
  ) throws(CryptoError) {
    #if FUZZING
      if unsafe AEAD.isOff { return }
    #endif
    var words = nonce.words
    let started = unsafe withUnsafeBytes(of: &words) { words in
      // Without cipher and key, and with -1 for the direction, only the nonce changes: no fetch, no key schedule.
      unsafe EVP_CipherInit_ex2(pointer, nil, nil, words.bindMemory(to: UInt8.self).baseAddress, -1, nil)
    }
    try check(operation, started)
    try unsafe update(operation, nil, additionalData, count)
  }

  /// Without `output`, `input` is additional data.
  borrowing func update(
    _ operation: String, _ output: UnsafeMutableRawPointer?, _ input: UnsafeRawPointer, _ count: Int
  ) throws(CryptoError) {
    #if FUZZING
      if unsafe AEAD.isOff { return }
    #endif
    guard count > 0 else { return }
    guard let size = Int32(exactly: count) else { throw CryptoError(operation, .misuse, reason: "size") }
    var moved: Int32 = 0
    let result = unsafe EVP_CipherUpdate(
      pointer, output?.assumingMemoryBound(to: UInt8.self), &moved, input.assumingMemoryBound(to: UInt8.self), size)
    try check(operation, result)
  }
}
