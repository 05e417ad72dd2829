/// The constant part of the nonces of one key and direction (RFC 8446 section 5.3): 12 bytes.
public struct AEADVector: Hashable, Sendable, BitwiseCopyable {
  public static let size = 12

  // Big-endian numbers: bytes 0 to 3 and 4 to 11.
  @usableFromInline let head: UInt32
  @usableFromInline let tail: UInt64

  /// `nil` unless there are 12 bytes.
  public init?(_ bytes: Span<UInt8>) {
    guard bytes.count == Self.size else { return nil }
    var head: UInt32 = 0
    for index in 0..<4 { head = head << 8 | UInt32(bytes[index]) }
    var tail: UInt64 = 0
    for index in 4..<12 { tail = tail << 8 | UInt64(bytes[index]) }
    self.head = head
    self.tail = tail
  }

  /// The nonce of the record with this number: the counter, as 64-bit big-endian, is xored into the last
  /// 8 bytes (RFC 8446 section 5.3).
  @inlinable public func nonce(_ counter: UInt64) -> AEADNonce {
    AEADNonce(head: head, tail: tail ^ counter)
  }
}

/// A nonce of AES-256-GCM, 12 bytes, used for one record only.
public struct AEADNonce: Hashable, Sendable, BitwiseCopyable {
  /// The 12 bytes as they stand in memory, in three words so that there is no padding.
  @usableFromInline let words: (UInt32, UInt32, UInt32)

  @inlinable init(head: UInt32, tail: UInt64) {
    words = (
      head.bigEndian, UInt32(truncatingIfNeeded: tail >> 32).bigEndian, UInt32(truncatingIfNeeded: tail).bigEndian
    )
  }

  public static func == (left: AEADNonce, right: AEADNonce) -> Bool { left.words == right.words }

  public func hash(into hasher: inout Hasher) {
    hasher.combine(words.0)
    hasher.combine(words.1)
    hasher.combine(words.2)
  }
}
