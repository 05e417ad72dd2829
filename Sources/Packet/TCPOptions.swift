/// Up to four SACK blocks, held inline.
public struct SACKBlocks: Equatable, Sendable, BitwiseCopyable {
  /// A range that arrived: sequence numbers from `start` up to, not including, `end` (RFC 2018 section 3).
  public struct Block: Equatable, Sendable, BitwiseCopyable {
    public var start, end: UInt32

    public init(start: UInt32, end: UInt32) {
      self.start = start
      self.end = end
    }
  }

  /// 40 bytes of options hold four blocks, or three beside timestamps.
  public static let limit = 4

  private var blocks: [4 of Block] = .init(repeating: Block(start: 0, end: 0))
  public private(set) var count = 0

  public init() {}

  public var isEmpty: Bool { count == 0 }

  public subscript(index: Int) -> Block {
    precondition(index >= 0 && index < count, "no such block")
    return blocks[index]
  }

  /// Adds a block behind the others. Returns false when there are four already.
  @discardableResult
  public mutating func append(_ block: Block) -> Bool {
    guard count < Self.limit else { return false }
    blocks[count] = block
    count += 1
    return true
  }

  public static func == (left: SACKBlocks, right: SACKBlocks) -> Bool {
    guard left.count == right.count else { return false }
    for index in 0..<left.count where left.blocks[index] != right.blocks[index] { return false }
    return true
  }
}

/// The TCP options that a stack acts on. Others are skipped when read, and never written.
public struct TCPOptions: Equatable, Sendable, BitwiseCopyable {
  /// RFC 7323 section 3: a clock value of the sender, and the echo of one of the receiver's.
  public struct Timestamps: Equatable, Sendable, BitwiseCopyable {
    public var value, echo: UInt32

    public init(value: UInt32, echo: UInt32) {
      self.value = value
      self.echo = echo
    }
  }

  /// RFC 7323 section 2.3: a larger shift is used as if it were this.
  public static let maximumWindowScale: UInt8 = 14

  /// Bytes of payload that the sender can receive in one segment (RFC 9293 section 3.7.1).
  public var maximumSegmentSize: UInt16?
  /// Bits to shift the window field by, 0 to 14.
  public var windowScale: UInt8?
  public var sackPermitted = false
  public var timestamps: Timestamps?
  /// As many as fit beside the other options are written.
  public var sackBlocks = SACKBlocks()

  public init(
    maximumSegmentSize: UInt16? = nil, windowScale: UInt8? = nil, sackPermitted: Bool = false,
    timestamps: Timestamps? = nil, sackBlocks: SACKBlocks = SACKBlocks()
  ) {
    self.maximumSegmentSize = maximumSegmentSize
    self.windowScale = windowScale
    self.sackPermitted = sackPermitted
    self.timestamps = timestamps
    self.sackBlocks = sackBlocks
  }

  private enum Kind {
    static let end: UInt8 = 0
    static let noOperation: UInt8 = 1
    static let maximumSegmentSize: UInt8 = 2
    static let windowScale: UInt8 = 3
    static let sackPermitted: UInt8 = 4
    static let sack: UInt8 = 5
    static let timestamps: UInt8 = 8
  }

  /// Reads the bytes between header and payload. Never fails: a length that can't be stops the reading, and
  /// an option of the wrong length counts as unknown (RFC 9293 section 3.1, MUST-6 and MUST-7).
  public init(parsing bytes: Span<UInt8>) {
    var offset = 0
    while offset < bytes.count {
      let kind = bytes[offset]
      if kind == Kind.end { return }
      if kind == Kind.noOperation {
        offset &+= 1
        continue
      }
      guard offset &+ 1 < bytes.count else { return }
      let length = Int(bytes[offset &+ 1])
      guard length >= 2, length <= bytes.count &- offset else { return }
      switch (kind, length) {
      case (Kind.maximumSegmentSize, 4): maximumSegmentSize = bytes.load16(offset &+ 2)
      case (Kind.windowScale, 3): windowScale = min(bytes[offset &+ 2], Self.maximumWindowScale)
      case (Kind.sackPermitted, 2): sackPermitted = true
      case (Kind.timestamps, 10):
        timestamps = Timestamps(value: bytes.load32(offset &+ 2), echo: bytes.load32(offset &+ 6))
      case (Kind.sack, 10), (Kind.sack, 18), (Kind.sack, 26), (Kind.sack, 34):
        // A second SACK option replaces the first: only one is ever sent.
        sackBlocks = SACKBlocks()
        for start in stride(from: offset &+ 2, to: offset &+ length, by: 8) {
          sackBlocks.append(.init(start: bytes.load32(start), end: bytes.load32(start &+ 4)))
        }
      default: break
      }
      offset &+= length
    }
  }

  /// SACK blocks that fit into 40 bytes beside the other options.
  private var writableBlocks: Int {
    min(sackBlocks.count, (40 &- fixedSize &- 4) / 8)
  }

  // Every option is padded to 4 bytes at its front, timestamps to the layout of RFC 7323 appendix A, which
  // receivers recognise on their fast path.
  private var fixedSize: Int {
    (maximumSegmentSize != nil ? 4 : 0) &+ (windowScale != nil ? 4 : 0)
      &+ (timestamps != nil ? 12 : sackPermitted ? 4 : 0)
  }

  /// Bytes when written: a multiple of 4, at most 40.
  public var size: Int {
    let blocks = writableBlocks
    return fixedSize &+ (blocks > 0 ? 4 &+ 8 &* blocks : 0)
  }

  /// Writes `size` bytes from `start` on.
  func write(into bytes: inout MutableSpan<UInt8>, at start: Int) {
    var offset = start
    if let maximumSegmentSize {
      bytes.store(UInt32(Kind.maximumSegmentSize) << 24 | 4 << 16 | UInt32(maximumSegmentSize), at: offset)
      offset &+= 4
    }
    if let windowScale {
      let shift = UInt32(min(windowScale, Self.maximumWindowScale))
      bytes.store(UInt32(Kind.noOperation) << 24 | UInt32(Kind.windowScale) << 16 | 3 << 8 | shift, at: offset)
      offset &+= 4
    }
    // "SACK permitted" takes the place of the two bytes of padding before the timestamps.
    let padding: UInt32 = sackPermitted ? UInt32(Kind.sackPermitted) << 8 | 2 : 0x0101
    if let timestamps {
      bytes.store(padding << 16 | UInt32(Kind.timestamps) << 8 | 10, at: offset)
      bytes.store(timestamps.value, at: offset &+ 4)
      bytes.store(timestamps.echo, at: offset &+ 8)
      offset &+= 12
    } else if sackPermitted {
      bytes.store(0x0101 << 16 | padding, at: offset)
      offset &+= 4
    }
    let blocks = writableBlocks
    guard blocks > 0 else { return }
    bytes.store(0x0101 << 16 | UInt32(Kind.sack) << 8 | UInt32(2 &+ 8 &* blocks), at: offset)
    offset &+= 4
    for index in 0..<blocks {
      bytes.store(sackBlocks[index].start, at: offset)
      bytes.store(sackBlocks[index].end, at: offset &+ 4)
      offset &+= 8
    }
  }
}

extension TCPOptions: CustomStringConvertible {
  public var description: String {
    var parts: [String] = []
    if let maximumSegmentSize { parts.append("mss \(maximumSegmentSize)") }
    if let windowScale { parts.append("wscale \(windowScale)") }
    if sackPermitted { parts.append("sackOK") }
    if let timestamps { parts.append("TS val \(timestamps.value) ecr \(timestamps.echo)") }
    if !sackBlocks.isEmpty {
      let ranges = (0..<sackBlocks.count).map { "{\(sackBlocks[$0].start):\(sackBlocks[$0].end)}" }
      parts.append("sack \(sackBlocks.count) \(ranges.joined())")
    }
    return parts.joined(separator: ",")
  }
}
