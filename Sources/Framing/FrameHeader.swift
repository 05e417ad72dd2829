import Primitives

/// What a frame says. Numbers are on the wire: they are never reused for something else.
public enum FrameType: UInt8, Sendable, CaseIterable {
  /// Asks for a stream: `OpenRequest`.
  case open = 1
  /// The stream's far end is reached.
  case opened = 2
  /// The stream was refused: `Refusal`.
  case refused = 3
  /// Payload of a TCP stream.
  case data = 4
  /// How many bytes of a stream may have been sent in all since it began: 8 bytes.
  case window = 5
  /// The sender has sent everything of this stream.
  case finish = 6
  /// The stream is cut: `ResetCode`, 1 byte.
  case reset = 7
  /// One datagram of a UDP flow.
  case datagram = 8
  /// One echo request or reply: identifier and sequence number, 2 bytes each, then its data.
  case echo = 9
  /// An Ethernet frame.
  case ethernet = 10
  /// 8 bytes that come back in a `pong`.
  case ping = 11
  case pong = 12
  /// No new streams from now on: UTF-8 text for a person, which says why; may be empty.
  case goAway = 13
  /// The next record is sealed with the next key. Last in its record.
  case rekey = 14
  /// Nothing follows in this direction: tells a finished connection from a cut one. Last in its record.
  case end = 15
  /// Asks the site to take one connection from a device: `ListenRequest`. Only for sites that announced FTP agents.
  case listen = 16
  /// Where the site listens for it: `ListenAnswer`. `opened` or `refused` follows.
  case listening = 17
}

/// The eight bytes before a frame's payload.
///
/// ```
///  0      1      2      3      4      5      6      7
/// +------+------+------+------+------+------+------+------+
/// | type | flags|   length    |          stream           |   network order
/// +------+------+------+------+------+------+------+------+
/// ```
public struct FrameHeader: Equatable, Sendable {
  public static let size = 8
  /// Bytes of payload in one frame.
  public static let maximumPayload = RecordHeader.maximumPlaintext - size

  public var type: FrameType
  /// The payload goes on in the stream's next frame: for datagrams larger than a frame.
  public var isContinued: Bool
  /// Payload bytes, 0 to `maximumPayload`.
  public var length: Int
  /// Which stream; 0 for what concerns the session.
  public var stream: StreamID

  public init(type: FrameType, length: Int, stream: StreamID, isContinued: Bool = false) {
    self.type = type
    self.isContinued = isContinued
    self.length = length
    self.stream = stream
  }

  public init(parsing bytes: Span<UInt8>) throws(FrameError) {
    guard bytes.count >= Self.size else { throw .truncated }
    guard let type = FrameType(rawValue: bytes[0]) else { throw .unknownType(bytes[0]) }
    guard bytes[1] <= 1 else { throw .reservedBits(bytes[1]) }
    isContinued = bytes[1] == 1
    self.type = type
    length = Int(bytes[2]) << 8 | Int(bytes[3])
    stream = StreamID(rawValue: bytes.bigEndian32(at: 4))
    guard length <= bytes.count - Self.size else { throw .truncated }
  }

  public func write(into bytes: inout MutableSpan<UInt8>) {
    bytes[0] = type.rawValue
    bytes[1] = isContinued ? 1 : 0
    bytes[2] = UInt8(truncatingIfNeeded: length >> 8)
    bytes[3] = UInt8(truncatingIfNeeded: length)
    bytes.store(bigEndian: stream.rawValue, at: 4)
  }
}

/// Names a stream of a session: a slot and which tenant of that slot, both chosen by the LinkManager's side.
///
/// The slot makes lookup an array access at both ends; the tenant's number tells late frames of an
/// earlier stream apart.
public struct StreamID: Hashable, Sendable, BitwiseCopyable, CustomStringConvertible {
  public let rawValue: UInt32

  public init(rawValue: UInt32) {
    self.rawValue = rawValue
  }

  public init(slot: Int, tenant: UInt16) {
    rawValue = UInt32(tenant) << 16 | UInt32(UInt16(truncatingIfNeeded: slot))
  }

  /// The session itself. Slot 0 is never given to a stream.
  public static let session = StreamID(rawValue: 0)

  public var slot: Int { Int(rawValue & 0xFFFF) }
  public var tenant: UInt16 { UInt16(rawValue >> 16) }

  public var description: String { "\(slot).\(tenant)" }
}

/// A frame that can't be understood. The peer misbehaved or is incompatible: the session ends.
public enum FrameError: Error, Equatable, Sendable {
  case truncated
  case unknownType(UInt8)
  case reservedBits(UInt8)
  /// The payload isn't what its type requires.
  case malformed(FrameType)
}

extension FrameError: CustomStringConvertible {
  public var description: String {
    switch self {
    case .truncated: "a frame that ends before its length"
    case .unknownType(let type): "a frame of type \(type), which this version doesn't know"
    case .reservedBits(let bits): "a frame with flags \(bits), which this version doesn't know"
    case .malformed(let type): "a malformed \(type) frame"
    }
  }

  /// Whether a later version may have meant something by it.
  public var isOfLaterVersion: Bool {
    switch self {
    case .unknownType, .reservedBits: true
    case .truncated, .malformed: false
    }
  }
}

extension Span<UInt8> {
  /// Needs `offset + 4 <= count`.
  package func bigEndian32(at offset: Int) -> UInt32 {
    UInt32(self[offset]) << 24 | UInt32(self[offset + 1]) << 16 | UInt32(self[offset + 2]) << 8
      | UInt32(self[offset + 3])
  }

  /// Needs `offset + 8 <= count`.
  package func bigEndian64(at offset: Int) -> UInt64 {
    UInt64(bigEndian32(at: offset)) << 32 | UInt64(bigEndian32(at: offset + 4))
  }
}

extension MutableSpan<UInt8> {
  package mutating func store(bigEndian value: UInt32, at offset: Int) {
    for index in 0..<4 { self[offset + index] = UInt8(truncatingIfNeeded: value >> UInt32(24 - 8 * index)) }
  }

  package mutating func store(bigEndian value: UInt64, at offset: Int) {
    store(bigEndian: UInt32(value >> 32), at: offset)
    store(bigEndian: UInt32(truncatingIfNeeded: value), at: offset + 4)
  }
}
