public import Crypto

/// Where the audit stands: an entry's number, and a hash that depends on all entries up to it.
public struct AuditHead: Hashable, Sendable, Codable {
  public var number: Int64
  public var hash: KeyHash

  public init(number: Int64, hash: KeyHash) {
    self.number = number
    self.hash = hash
  }
}

extension AuditHead: LosslessStringConvertible {
  /// `17:sha256:…`, to be noted down somewhere else.
  public var description: String { "\(number):\(hash)" }

  public init?(_ description: String) {
    let parts = description.split(separator: ":", maxSplits: 1)
    guard parts.count == 2, let number = Int64(parts[0]), let hash = KeyHash(String(parts[1])) else { return nil }
    self.init(number: number, hash: hash)
  }
}

/// Each entry's hash is SHA-256 over the hash before it and its own bytes. Whoever changes, removes, adds or moves one
/// would have to change all hashes behind it, and can't sign the last of them.
enum AuditChain {
  /// Before the first entry.
  static let start = [UInt8](repeating: 0, count: SHA256.Digest.size)
  private static let label = Array("relayvpn audit entry 1".utf8)
  /// No grant begins like this, whose key signs it.
  private static let sealLabel = Array("relayvpn audit seal 1".utf8)

  static func hash(_ body: [UInt8], after previous: [UInt8]) throws(CryptoError) -> [UInt8] {
    try SHA256.hash(lengthPrefixed: [label, previous, body]).bytes
  }

  static func sealed(_ number: Int64, _ hash: [UInt8]) -> [UInt8] {
    var bytes = sealLabel
    for shift in stride(from: Int64(56), through: 0, by: -8) {
      bytes.append(UInt8(truncatingIfNeeded: number >> shift))
    }
    return bytes + hash
  }
}

/// What is wrong with an audit, and where.
public struct AuditFlaw: Error, Hashable, Sendable, CustomStringConvertible {
  public enum Kind: Hashable, Sendable {
    /// It doesn't fit the hash that stands beside it and the entry before: it was changed, or that one was.
    case changed
    /// Entries from here on are missing, up to one that is there.
    case missing(next: Int64)
    /// It stands in another place than it was written at.
    case moved(from: Int64)
    /// All from here on, to the one that was last.
    case cutOff(last: Int64)
    /// It isn't what the service had signed: the chain was made anew from here or before.
    case forged
    /// It has no valid signature, though it is the last.
    case unsealed
    /// What was noted elsewhere says something else.
    case otherThanNoted
    case unreadable
  }

  public let number: Int64
  public let kind: Kind

  public var description: String {
    switch kind {
    case .changed: "entry \(number) was changed"
    case .missing(let next): "entries are missing from \(number) on: the next one is \(next)"
    case .moved(let place): "entry \(number) was moved: it was entry \(place)"
    case .cutOff(let last): "the end was cut off from entry \(number) on: there were \(last)"
    case .forged: "entry \(number) isn't the one that was signed: it, or one before it, was replaced"
    case .unsealed: "entry \(number) is the last and isn't signed: it was added from outside, or the end was cut off"
    case .otherThanNoted: "entry \(number) isn't the one that was noted"
    case .unreadable: "entry \(number) can't be read"
    }
  }
}
