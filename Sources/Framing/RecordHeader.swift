import Primitives

/// The five bytes before a record; they are also its additional authenticated data.
///
/// ```
///  0      1      2      3      4
/// +------+------+------+------+------+
/// | 0x17 | 0x03 | 0x03 |   length    |   TLS 1.2 application data to every box on the way
/// +------+------+------+------+------+
/// ```
public struct RecordHeader: Equatable, Sendable {
  public static let size = 5
  /// Bytes of the authentication tag that ends a record.
  public static let tagSize = 16
  /// Bytes of frames in one record (RFC 8446 section 5.1 has the same bound).
  public static let maximumPlaintext = 16_384
  /// Bytes of the largest record, header and tag included.
  public static let maximumRecord = size + maximumPlaintext + tagSize

  /// Bytes behind the header: ciphertext and tag.
  public let length: Int

  public init(plaintextCount: Int) {
    length = plaintextCount + Self.tagSize
  }

  /// Refuses whatever isn't a record of this protocol: a peer that sends anything else is not our peer.
  public init(parsing bytes: Span<UInt8>) throws(RecordError) {
    guard bytes.count >= Self.size else { throw .truncated }
    guard bytes[0] == 0x17, bytes[1] == 0x03, bytes[2] == 0x03 else { throw .notARecord }
    let length = Int(bytes[3]) << 8 | Int(bytes[4])
    guard length > Self.tagSize, length <= Self.maximumPlaintext + Self.tagSize else {
      throw .badLength(length)
    }
    self.length = length
  }

  public func write(into bytes: inout MutableSpan<UInt8>) {
    bytes[0] = 0x17
    bytes[1] = 0x03
    bytes[2] = 0x03
    bytes[3] = UInt8(truncatingIfNeeded: length >> 8)
    bytes[4] = UInt8(truncatingIfNeeded: length)
  }
}

/// Why a record was not accepted. All of them end the connection: the peer misbehaved, or somebody between.
public enum RecordError: Error, Equatable, Sendable {
  case truncated
  case notARecord
  /// The length field's value.
  case badLength(Int)
  /// The tag doesn't fit: the record was changed, lost, repeated or reordered on the way.
  case badTag
  /// This many records under one key are the most that AES-GCM is good for; the peer didn't rekey.
  case keyExhausted
  /// The cipher itself failed: local, not the peer.
  case cipher(String)
}

extension RecordError: CustomStringConvertible {
  public var description: String {
    switch self {
    case .truncated: "a record that ends before its length"
    case .notARecord: "bytes that are no record"
    case .badLength(let length): "a record of \(length) bytes"
    case .badTag: "a record that was changed, lost, repeated or reordered on the way"
    case .keyExhausted: "more records under one key than are safe"
    case .cipher(let reason): "the cipher failed: \(reason)"
    }
  }
}
