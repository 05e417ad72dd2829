public import Crypto

/// Names a session on all three parts, in grants and in logs: 16 random bytes. Not a secret.
public struct SessionID: Hashable, Sendable, BitwiseCopyable {
  private let value: UInt128

  /// `nil` unless there are 16 bytes.
  public init?(_ bytes: [UInt8]) {
    guard bytes.count == 16 else { return nil }
    value = bytes.reduce(0) { $0 << 8 | UInt128($1) }
  }

  public static func random() throws(CryptoError) -> SessionID {
    guard let id = SessionID(try Random.bytes(16)) else { throw CryptoError("session", .library) }
    return id
  }

  public var bytes: [UInt8] {
    (0..<16).map { UInt8(truncatingIfNeeded: value >> UInt128(120 - 8 * $0)) }
  }
}

extension SessionID: LosslessStringConvertible {
  /// 32 hexadecimal digits.
  public var description: String { Hex.encode(bytes) }

  public init?(_ description: String) {
    guard let bytes = Hex.decode(description) else { return nil }
    self.init(bytes)
  }
}

extension SessionID: Codable {
  public init(from decoder: any Decoder) throws {
    self = try decodeText("session", from: decoder) { SessionID($0) }
  }

  public func encode(to encoder: any Encoder) throws {
    try encodeText(description, to: encoder)
  }
}
