/// Who someone is: SHA-256 of the DER form of their public key (SubjectPublicKeyInfo, RFC 5280 section 4.1).
///
/// Certificates come and go; the key hash is what peers pin.
public struct KeyHash: Hashable, Sendable, BitwiseCopyable {
  public let digest: SHA256.Digest

  public init(_ digest: SHA256.Digest) {
    self.digest = digest
  }

  /// `nil` unless there are 32 bytes.
  public init?(_ bytes: [UInt8]) {
    guard let digest = SHA256.Digest(bytes.span) else { return nil }
    self.digest = digest
  }

  public var bytes: [UInt8] { digest.bytes }

  /// 64 lower-case hexadecimal digits.
  public var hex: String { Hex.encode(bytes) }
}

extension KeyHash: LosslessStringConvertible {
  /// `sha256:` and 64 hexadecimal digits.
  public var description: String { "sha256:" + hex }

  /// Reads the form of `description`; the prefix may be missing.
  public init?(_ description: String) {
    let prefix = "sha256:"
    let digits = description.hasPrefix(prefix) ? description.dropFirst(prefix.count) : description[...]
    guard let bytes = Hex.decode(digits) else { return nil }
    self.init(bytes)
  }
}

extension KeyHash: Codable {
  public init(from decoder: any Decoder) throws {
    let container = try decoder.singleValueContainer()
    guard let hash = KeyHash(try container.decode(String.self)) else {
      throw DecodingError.dataCorruptedError(in: container, debugDescription: "not a key hash")
    }
    self = hash
  }

  public func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    try container.encode(description)
  }
}
