import Crypto

/// Which keys are taken for the GateManager's.
public enum GatePin: Hashable, Sendable, CustomStringConvertible {
  /// This one: from enrolment or an earlier login.
  case key(KeyHash)
  /// Those whose hash begins so: from an enrolment code. At least 16 bytes, or none matches.
  case prefix([UInt8])
  /// Any: to learn which key it has, never to tell it a secret.
  case unknown

  public func matches(_ found: KeyHash) -> Bool {
    switch self {
    case .key(let expected): found == expected
    case .prefix(let bytes): bytes.count >= 16 && found.bytes.starts(with: bytes)
    case .unknown: true
    }
  }

  public var description: String {
    switch self {
    case .key(let key): key.description
    case .prefix(let bytes): "sha256:\(Hex.encode(bytes))…"
    case .unknown: "any key"
    }
  }
}
