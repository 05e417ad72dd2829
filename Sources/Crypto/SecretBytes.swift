internal import COpenSSL

/// Key material: a buffer of fixed size that is overwritten when the last owner lets go of it.
@safe public final class SecretBytes: @unchecked Sendable {
  public let count: Int
  private let memory: UnsafeMutableRawPointer

  /// Zeroed memory that `fill` then writes, once, before anyone else sees it.
  init(count: Int, fill: (UnsafeMutableRawBufferPointer) throws(CryptoError) -> Void) throws(CryptoError) {
    guard count >= 0, let memory = unsafe copenssl_allocate(max(1, count)) else { throw .last("allocate", .misuse) }
    self.count = count
    unsafe self.memory = memory
    try unsafe fill(UnsafeMutableRawBufferPointer(start: memory, count: count))
  }

  /// A copy; the caller cleanses the original.
  public convenience init(copying bytes: Span<UInt8>) throws(CryptoError) {
    try unsafe self.init(count: bytes.count) { memory throws(CryptoError) in
      unsafe bytes.withUnsafeBytes { unsafe memory.copyMemory(from: $0) }
    }
  }

  /// Fresh random bytes.
  public convenience init(random count: Int) throws(CryptoError) {
    try unsafe self.init(count: count) { memory throws(CryptoError) in
      try check("random", unsafe RAND_bytes(memory.bindMemory(to: UInt8.self).baseAddress, Int32(clamping: count)))
    }
  }

  deinit {
    unsafe copenssl_clear_free(memory, max(1, count))
  }

  /// Lends the bytes; they must not outlive the call.
  public func withSpan<Result: ~Copyable, Failure: Error>(
    _ body: (Span<UInt8>) throws(Failure) -> Result
  ) throws(Failure) -> Result {
    let buffer = unsafe UnsafeBufferPointer(start: memory.assumingMemoryBound(to: UInt8.self), count: count)
    return try unsafe body(buffer.span)
  }

  /// Whether both hold the same bytes, in a time that depends on their sizes only.
  public func equals(_ other: SecretBytes) -> Bool {
    withSpan { left in other.withSpan { right in constantTimeEquals(left, right) } }
  }
}

/// Whether both hold the same bytes, in a time that depends on their sizes only.
public func constantTimeEquals(_ left: Span<UInt8>, _ right: Span<UInt8>) -> Bool {
  guard left.count == right.count else { return false }
  guard left.count > 0 else { return true }
  return unsafe left.withUnsafeBytes { left in
    unsafe right.withUnsafeBytes { right in unsafe CRYPTO_memcmp(left.baseAddress, right.baseAddress, left.count) == 0 }
  }
}

/// Overwrites bytes in a way that the compiler doesn't leave out.
public func cleanse(_ bytes: inout MutableSpan<UInt8>) {
  unsafe bytes.withUnsafeMutableBytes { unsafe OPENSSL_cleanse($0.baseAddress, $0.count) }
}

/// The operating system's randomness, through OpenSSL's generator.
public enum Random {
  public static func fill(_ bytes: inout MutableSpan<UInt8>) throws(CryptoError) {
    let result = unsafe bytes.withUnsafeMutableBytes { buffer in
      unsafe RAND_bytes(buffer.bindMemory(to: UInt8.self).baseAddress, Int32(clamping: buffer.count))
    }
    try check("random", result)
  }

  public static func bytes(_ count: Int) throws(CryptoError) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: count)
    var span = bytes.mutableSpan
    try fill(&span)
    return bytes
  }
}
