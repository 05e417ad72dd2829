/// Reads decisions from an input: what to do next, with what, and how much of it. Past the end everything is zero.
public struct Script {
  private let bytes: UnsafeBufferPointer<UInt8>
  public private(set) var offset = 0

  /// The input must live as long as the script.
  public init(_ bytes: UnsafeBufferPointer<UInt8>) {
    self.bytes = bytes
  }

  public var isAtEnd: Bool { offset >= bytes.count }
  public var left: Int { max(0, bytes.count - offset) }

  @inline(__always)
  public mutating func byte() -> UInt8 {
    guard offset < bytes.count else { return 0 }
    defer { offset &+= 1 }
    return bytes[offset]
  }

  /// The next byte, which stays.
  public var peek: UInt8 { isAtEnd ? 0 : bytes[offset] }

  /// Big-endian.
  public mutating func word() -> UInt16 { UInt16(byte()) << 8 | UInt16(byte()) }
  public mutating func long() -> UInt32 { UInt32(word()) << 16 | UInt32(word()) }
  public mutating func quad() -> UInt64 { UInt64(long()) << 32 | UInt64(long()) }

  /// 0 up to, not including, `limit`, which must be 1 to 256.
  public mutating func choice(_ limit: Int) -> Int { Int(byte()) % limit }

  /// 0 up to, not including, `limit`; takes two bytes.
  public mutating func number(below limit: Int) -> Int { Int(word()) % max(1, limit) }

  public mutating func flag() -> Bool { byte() & 1 != 0 }

  /// The next bytes, as many as there are up to `count`.
  public mutating func take(_ count: Int) -> UnsafeBufferPointer<UInt8> {
    let end = min(bytes.count, offset + max(0, count))
    defer { offset = end }
    return UnsafeBufferPointer(rebasing: bytes[offset..<end])
  }

  public mutating func rest() -> UnsafeBufferPointer<UInt8> { take(left) }
}
