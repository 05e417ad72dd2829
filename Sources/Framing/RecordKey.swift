import Crypto
import Primitives

/// The secrets of both directions, from the end-to-end handshake's exporter.
public struct RecordSecrets: Sendable {
  /// Bytes of one direction's secret.
  public static let size = 32

  /// What this end seals with.
  public let send: SecretBytes
  /// What this end opens with.
  public let receive: SecretBytes

  public init(send: SecretBytes, receive: SecretBytes) {
    self.send = send
    self.receive = receive
  }
}

/// When a key has done enough.
public struct RekeyPolicy: Sendable {
  /// Records under one key; at most 2²³ (RFC 8446 section 5.5 bounds AES-GCM at 2²⁴·⁵ full records).
  public var records: UInt64
  /// Time under one key.
  public var interval: Interval

  public init(records: UInt64 = 1 << 23, interval: Interval = .seconds(3600)) {
    self.records = min(records, 1 << 23)
    self.interval = interval
  }
}

/// One direction's key, its record counter, and the way to the next key.
///
/// Keys are derived as in RFC 8446 section 7.2: the secret yields key, IV and the next secret by
/// HKDF-Expand, so that a later secret doesn't tell an earlier one.
struct RecordKey: ~Copyable {
  private var secret: SecretBytes
  private(set) var cipher: AEADKey
  private let ivSize = 12
  private var iv: [UInt8]
  /// Records sealed or opened under this key.
  private(set) var counter: UInt64 = 0
  private(set) var epoch: UInt64 = 0

  init(secret: SecretBytes, direction: AEADKey.Direction) throws(RecordError) {
    self.secret = secret
    (cipher, iv) = try Self.derive(secret, direction)
  }

  /// The nonce of the next record; each is used once.
  mutating func nextNonce() -> AEADNonce {
    defer { counter += 1 }
    return AEADNonce(iv: iv, counter: counter)
  }

  mutating func advance(_ direction: AEADKey.Direction) throws(RecordError) {
    do {
      secret = try HKDF.expand(secret, info: "relayvpn next", count: RecordSecrets.size)
    } catch {
      throw .cipher("\(error)")
    }
    (cipher, iv) = try Self.derive(secret, direction)
    counter = 0
    epoch += 1
  }
}
