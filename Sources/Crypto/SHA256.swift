internal import COpenSSL

/// SHA-256 (FIPS 180-4).
public enum SHA256 {
  /// A hash: 32 bytes as a plain value.
  public struct Digest: Hashable, Sendable, BitwiseCopyable {
    public static let size = 32

    // Big-endian numbers of 8 bytes each.
    private let words: (UInt64, UInt64, UInt64, UInt64)

    /// `nil` unless there are 32 bytes.
    public init?(_ bytes: Span<UInt8>) {
      guard bytes.count == Self.size else { return nil }
      let word = { (start: Int, bytes: Span<UInt8>) -> UInt64 in
        var value: UInt64 = 0
        for index in start..<(start + 8) { value = value << 8 | UInt64(bytes[index]) }
        return value
      }
      words = (word(0, bytes), word(8, bytes), word(16, bytes), word(24, bytes))
    }

    fileprivate init(bytesAt bytes: UnsafeRawBufferPointer) {
      words = unsafe (
        UInt64(bigEndian: bytes.loadUnaligned(fromByteOffset: 0, as: UInt64.self)),
        UInt64(bigEndian: bytes.loadUnaligned(fromByteOffset: 8, as: UInt64.self)),
        UInt64(bigEndian: bytes.loadUnaligned(fromByteOffset: 16, as: UInt64.self)),
        UInt64(bigEndian: bytes.loadUnaligned(fromByteOffset: 24, as: UInt64.self))
      )
    }

    public var bytes: [UInt8] {
      var bytes: [UInt8] = []
      bytes.reserveCapacity(Self.size)
      for word in [words.0, words.1, words.2, words.3] {
        for shift in stride(from: UInt64(56), through: 0, by: -8) {
          bytes.append(UInt8(truncatingIfNeeded: word >> shift))
        }
      }
      return bytes
    }

    /// Compares in constant time: a difference is gathered over all words before it is looked at.
    public static func == (left: Digest, right: Digest) -> Bool {
      (left.words.0 ^ right.words.0) | (left.words.1 ^ right.words.1) | (left.words.2 ^ right.words.2)
        | (left.words.3 ^ right.words.3) == 0
    }

    public func hash(into hasher: inout Hasher) {
      hasher.combine(words.0)
      hasher.combine(words.1)
      hasher.combine(words.2)
      hasher.combine(words.3)
    }
  }

  public static func hash(_ bytes: Span<UInt8>) throws(CryptoError) -> Digest {
    guard let algorithm = unsafe Algorithms.shared.sha256 else { throw CryptoError("SHA-256", .library) }
    var digest: (UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, 0)
    return try unsafe withUnsafeMutableBytes(of: &digest) { out throws(CryptoError) in
      let result = unsafe bytes.withUnsafeBytes { input in
        unsafe EVP_Digest(
          input.baseAddress, input.count, out.bindMemory(to: UInt8.self).baseAddress, nil, algorithm, nil)
      }
      try check("SHA-256", result)
      return unsafe Digest(bytesAt: UnsafeRawBufferPointer(out))
    }
  }

  /// The hash of several parts, each preceded by its size as 8 bytes big-endian, so that no two lists of parts
  /// have the same hash.
  public static func hash(lengthPrefixed parts: [[UInt8]]) throws(CryptoError) -> Digest {
    var all: [UInt8] = []
    all.reserveCapacity(parts.reduce(0) { $0 + 8 + $1.count })
    for part in parts {
      for shift in stride(from: 56, through: 0, by: -8) { all.append(UInt8(truncatingIfNeeded: part.count >> shift)) }
      all += part
    }
    return try hash(all.span)
  }
}

/// HMAC (RFC 2104), with SHA-256 unless another hash is named.
public enum HMAC {
  public static func authenticate(_ bytes: Span<UInt8>, key: Span<UInt8>) throws(CryptoError) -> SHA256.Digest {
    guard let algorithm = unsafe Algorithms.shared.sha256 else { throw CryptoError("HMAC", .library) }
    var digest: (UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, 0)
    return try unsafe withUnsafeMutableBytes(of: &digest) { out throws(CryptoError) in
      let done = unsafe bytes.withUnsafeBufferPointer { input in
        unsafe key.withUnsafeBytes { key in
          unsafe COpenSSL.HMAC(
            algorithm, key.baseAddress, Int32(clamping: key.count), input.baseAddress, input.count,
            out.bindMemory(to: UInt8.self).baseAddress, nil) != nil
        }
      }
      guard done else { throw .last("HMAC") }
      return unsafe SHA256.Digest(bytesAt: UnsafeRawBufferPointer(out))
    }
  }

  /// With SHA-1, for one-time codes alone (RFC 6238): that hash's collisions are none of HMAC. 20 bytes.
  public static func authenticateSHA1(_ bytes: Span<UInt8>, key: Span<UInt8>) throws(CryptoError) -> [UInt8] {
    guard let algorithm = unsafe Algorithms.shared.sha1 else { throw CryptoError("HMAC", .library) }
    var code = [UInt8](repeating: 0, count: 20)
    let done = unsafe code.withUnsafeMutableBufferPointer { out in
      unsafe bytes.withUnsafeBufferPointer { input in
        unsafe key.withUnsafeBytes { key in
          unsafe COpenSSL.HMAC(
            algorithm, key.baseAddress, Int32(clamping: key.count), input.baseAddress, input.count, out.baseAddress, nil
          )
            != nil
        }
      }
    }
    guard done else { throw .last("HMAC") }
    return code
  }
}
