import Primitives

/// The Internet checksum (RFC 1071): a ones-complement sum of 16-bit words, gathered over any number of spans.
///
/// A *partial* is a sum that has not been folded yet. Partials are added with `&+`; 2³² full-sized
/// packets would have to be summed before one could overflow.
public struct Checksum: Sendable, BitwiseCopyable {
  /// The sum so far. Not folded.
  public private(set) var partial: UInt64
  /// Whether an odd number of bytes went in, so that the next one is the low half of a word.
  private var isOdd = false

  public init(_ partial: UInt64 = 0) {
    self.partial = partial
  }

  /// Appends bytes. A span of odd length may be followed by another one.
  public mutating func add(_ bytes: Span<UInt8>) {
    let sum = Self.fold(Self.sum(bytes))
    // RFC 1071 section 2(B): a sum over bytes shifted by one is the byte-swapped sum.
    partial &+= UInt64(isOdd ? sum.byteSwapped : sum)
    isOdd = isOdd != (bytes.count & 1 == 1)
  }

  /// Adds a sum over an even number of bytes, such as a pseudo-header.
  public mutating func add(partial other: UInt64) {
    partial &+= UInt64(Self.fold(other))
  }

  /// What belongs in the checksum field: the complement of the folded sum.
  public var value: UInt16 { ~Self.fold(partial) }

  /// Whether the bytes, which had their checksum field among them, are intact.
  public var isValid: Bool { Self.fold(partial) == 0xFFFF }

  // MARK: Parts

  /// Folds the carries back in: the 16-bit ones-complement sum, *not* complemented. A partial
  /// checksum for the kernel to complete is this, over the pseudo-header.
  @inlinable public static func fold(_ partial: UInt64) -> UInt16 {
    var sum = (partial >> 32) &+ (partial & 0xFFFF_FFFF)
    sum = (sum >> 32) &+ (sum & 0xFFFF_FFFF)
    sum = (sum >> 16) &+ (sum & 0xFFFF)
    sum = (sum >> 16) &+ (sum & 0xFFFF)
    sum = (sum >> 16) &+ (sum & 0xFFFF)
    return UInt16(truncatingIfNeeded: sum)
  }

  /// The checksum of one piece of bytes, complemented.
  public static func of(_ bytes: Span<UInt8>, adding partial: UInt64 = 0) -> UInt16 {
    ~fold(UInt64(fold(sum(bytes))) &+ UInt64(fold(partial)))
  }

  /// The partial of the pseudo-header (RFC 9293 section 3.1, RFC 8200 section 8.1).
  ///
  /// - Parameter length: bytes of transport header and payload.
  public static func pseudoHeader(
    source: IPAddress, destination: IPAddress, protocol protocolNumber: UInt8, length: Int
  ) -> UInt64 {
    var sum = UInt64(protocolNumber) &+ UInt64(truncatingIfNeeded: length) & 0xFFFF_FFFF
    sum &+= wordSum(source.value)
    sum &+= wordSum(destination.value)
    return sum
  }

  // Words of 32 bits may be added as they are: folding brings both halves together.
  private static func wordSum(_ value: UInt128) -> UInt64 {
    let high = UInt64(truncatingIfNeeded: value >> 64)
    let low = UInt64(truncatingIfNeeded: value)
    return (high >> 32) &+ (high & 0xFFFF_FFFF) &+ (low >> 32) &+ (low & 0xFFFF_FFFF)
  }

  /// The checksum after one 16-bit word of what it covers was changed (RFC 1624, equation 3).
  public static func update(_ checksum: UInt16, replacing old: UInt16, with new: UInt16) -> UInt16 {
    ~fold(UInt64(~checksum) &+ UInt64(~old) &+ UInt64(new))
  }

  /// The checksum after an aligned 32-bit word of what it covers was changed, such as an IPv4 address.
  public static func update(_ checksum: UInt16, replacing old: UInt32, with new: UInt32) -> UInt16 {
    ~fold(UInt64(~checksum) &+ UInt64(~old) &+ UInt64(new))
  }

  /// The partial over `bytes`, as if a zero byte followed an odd one (RFC 1071 section 4.1).
  public static func sum(_ bytes: Span<UInt8>) -> UInt64 {
    unsafe bytes.withUnsafeBytes { unsafe sum($0) }
  }

  // Words are added in host order and the folded sum is swapped at the end (RFC 1071 section 2(B)).
  // 32-bit words in 64-bit lanes need no carry, and eight independent lanes become vector additions.
  private static func sum(_ bytes: UnsafeRawBufferPointer) -> UInt64 {
    guard var cursor = bytes.baseAddress else { return 0 }
    var left = bytes.count
    var lanes = SIMD8<UInt64>()
    while left >= 32 {
      let words = unsafe cursor.loadUnaligned(as: SIMD8<UInt32>.self)
      lanes &+= SIMD8<UInt64>(truncatingIfNeeded: words)
      unsafe cursor += 32
      left &-= 32
    }
    var sum = lanes.wrappedSum()
    while left >= 4 {
      sum &+= UInt64(unsafe cursor.loadUnaligned(as: UInt32.self))
      unsafe cursor += 4
      left &-= 4
    }
    if left >= 2 {
      sum &+= UInt64(unsafe cursor.loadUnaligned(as: UInt16.self))
      unsafe cursor += 2
      left &-= 2
    }
    if left == 1 {
      sum &+= UInt64(UInt16(bigEndian: UInt16(unsafe cursor.load(as: UInt8.self)) << 8))
    }
    return UInt64(UInt16(bigEndian: fold(sum)))
  }
}
