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
  /// Records under one key; at most 2²³ (RFC 8446 section 5.5 bounds AES-GCM at 2²⁴·⁵ full records), and at least 2, since
  /// the last of them may be there for REKEY alone.
  public var records: UInt64
  /// Time under one key.
  public var interval: Interval

  public init(records: UInt64 = 1 << 23, interval: Interval = .seconds(3600)) {
    self.records = min(max(records, 2), 1 << 23)
    self.interval = interval
  }
}

/// One direction's secret, and the way from one key to the next.
///
/// Derived as in RFC 8446 section 7.2: the secret yields key, IV and the next secret by HKDF-Expand, so that a
/// later secret doesn't tell an earlier one.
struct KeySchedule {
  private var secret: SecretBytes
  /// Records under the present key.
  private(set) var counter: UInt64 = 0
  private(set) var vector: AEADVector

  init(secret: SecretBytes) throws(RecordError) {
    self.secret = secret
    vector = try Self.vector(of: secret)
  }

  func makeKey() throws(RecordError) -> SecretBytes {
    try Self.expand(secret, "relayvpn key", AEAD.keySize)
  }

  /// The nonce of the next record; each is used once.
  mutating func nextNonce() -> AEADNonce {
    defer { counter += 1 }
    return vector.nonce(counter)
  }

  mutating func advance() throws(RecordError) {
    secret = try Self.expand(secret, "relayvpn next", RecordSecrets.size)
    vector = try Self.vector(of: secret)
    counter = 0
  }

  private static func vector(of secret: SecretBytes) throws(RecordError) -> AEADVector {
    let bytes = try expand(secret, "relayvpn iv", AEADVector.size)
    guard let vector = bytes.withSpan({ AEADVector($0) }) else { throw .cipher("no IV") }
    return vector
  }

  private static func expand(_ secret: SecretBytes, _ info: String, _ count: Int) throws(RecordError) -> SecretBytes {
    do {
      return try HKDF.expand(secret, info: Array(info.utf8), count: count)
    } catch {
      throw .cipher("\(error)")
    }
  }
}

extension SealingKey {
  init(_ schedule: KeySchedule) throws(RecordError) {
    let key = try schedule.makeKey()
    do throws(CryptoError) {
      self = try key.withSpan { bytes throws(CryptoError) in try SealingKey(bytes) }
    } catch {
      throw .cipher("\(error)")
    }
  }
}

extension OpeningKey {
  init(_ schedule: KeySchedule) throws(RecordError) {
    let key = try schedule.makeKey()
    do throws(CryptoError) {
      self = try key.withSpan { bytes throws(CryptoError) in try OpeningKey(bytes) }
    } catch {
      throw .cipher("\(error)")
    }
  }
}
