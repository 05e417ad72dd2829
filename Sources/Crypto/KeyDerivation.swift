internal import COpenSSL

/// HKDF with SHA-256 (RFC 5869).
public enum HKDF {
  /// Concentrates input key material into a pseudorandom key of 32 bytes (RFC 5869 section 2.2).
  public static func extract(_ inputKey: SecretBytes, salt: Span<UInt8>) throws(CryptoError) -> SecretBytes {
    try derive("HKDF extract", copenssl_hkdf_extract_mode(), inputKey, salt: salt, info: [], count: 32)
  }

  /// Derives `count` bytes, at most 8160, for the purpose that `info` names (RFC 5869 section 2.3).
  /// - Parameter key: a pseudorandom key of at least 32 bytes.
  public static func expand(_ key: SecretBytes, info: [UInt8], count: Int) throws(CryptoError) -> SecretBytes {
    guard (1...8160).contains(count) else { throw CryptoError("HKDF expand", .misuse, reason: "output size") }
    let none: [UInt8] = []
    return try derive("HKDF expand", copenssl_hkdf_expand_mode(), key, salt: none.span, info: info, count: count)
  }

  private static func derive(
    _ operation: String, _ mode: Int32, _ key: SecretBytes, salt: Span<UInt8>, info: [UInt8], count: Int
  ) throws(CryptoError) -> SecretBytes {
    guard let algorithm = unsafe Algorithms.shared.hkdf else { throw CryptoError(operation, .library) }
    return try unsafe SecretBytes(count: count) { out throws(CryptoError) in
      let result = key.withSpan { key in
        unsafe key.withUnsafeBytes { key in
          unsafe salt.withUnsafeBytes { salt in
            unsafe info.withUnsafeBytes { info in
              unsafe copenssl_hkdf(
                algorithm, mode, key.baseAddress, key.count, salt.baseAddress, salt.count, info.baseAddress,
                info.count, out.baseAddress, out.count)
            }
          }
        }
      }
      try check(operation, result)
    }
  }
}

/// The password hash scrypt (RFC 7914).
public enum Scrypt {
  /// Bytes that a derivation may use at most, whatever the parameters say.
  public static let memoryLimit: UInt64 = 256 << 20

  /// Derives `count` bytes.
  /// - Parameters:
  ///   - cost: N, a power of two; memory is 128 · N · r bytes.
  ///   - blockSize: r.
  ///   - parallelism: p.
  public static func derive(
    password: Span<UInt8>, salt: Span<UInt8>, cost: UInt64 = 32768, blockSize: UInt64 = 8, parallelism: UInt64 = 1,
    count: Int = 32
  ) throws(CryptoError) -> SecretBytes {
    try unsafe SecretBytes(count: count) { out throws(CryptoError) in
      let result = unsafe password.withUnsafeBytes { password in
        unsafe salt.withUnsafeBufferPointer { salt in
          // OpenSSL takes no password at all for "check the parameters only".
          unsafe withUnsafePointer(to: CChar(0)) { empty in
            unsafe EVP_PBE_scrypt(
              password.bindMemory(to: CChar.self).baseAddress ?? empty, password.count, salt.baseAddress, salt.count,
              cost, blockSize, parallelism, memoryLimit, out.bindMemory(to: UInt8.self).baseAddress, out.count)
          }
        }
      }
      try check("scrypt", result)
    }
  }
}
