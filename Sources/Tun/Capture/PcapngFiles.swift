import Glibc
import Kernel
import Primitives

/// Files that a capture goes to: one, or a ring of which the oldest are removed.
///
/// Takes a pcapng stream in pieces of any size, cuts it between blocks, and begins each file with the section's header
/// and its interfaces, so that each can be read alone.
public struct PcapngFiles: ~Copyable {
  public struct Limits: Hashable, Sendable {
    /// Bytes after which another file is begun, and seconds.
    public var bytes: Int?
    public var time: Interval?
    /// Files that are kept; all if `nil`.
    public var files: Int?

    public init(bytes: Int? = nil, time: Interval? = nil, files: Int? = nil) {
      self.bytes = bytes
      self.time = time
      self.files = files
    }

    var isRing: Bool { bytes != nil || time != nil }
  }

  /// Bytes of a block at most: more is no capture.
  static let blockLimit = 1 << 24
  /// Bytes of a section's header and its interfaces, which each file of a ring begins with: more than `Capture` writes.
  static let preambleLimit = 1 << 24

  public let path: String
  public let limits: Limits
  /// Files that were begun.
  public private(set) var count = 0
  /// Packets that were written, and those that the capture had no room for, by its own account at its end.
  public private(set) var packets: UInt64 = 0
  public private(set) var dropped: UInt64 = 0
  private var file: OwnedDescriptor?
  private var began = Instant.zero
  private var size = 0
  /// Of a ring: the section's header and its interfaces so far.
  private var preamble: [UInt8] = []
  /// The beginning of a block whose end is still to come.
  private var pending: [UInt8] = []

  /// - Parameter path: of the file; those of a ring have a number before the last dot of its name.
  public init(path: String, limits: Limits = Limits()) throws(SystemError) {
    self.path = path
    self.limits = limits
    try open()
  }

  /// Writes to a descriptor, whatever it is; no ring.
  public init(descriptor: consuming OwnedDescriptor) {
    path = "-"
    limits = Limits()
    file = consume descriptor
    count = 1
  }

  /// The name of a file of the ring, counted from 1.
  public func name(of number: Int) -> String {
    guard limits.isRing else { return path }
    let digits = String(number)
    let text = "-" + String(repeating: "0", count: max(0, 5 - digits.count)) + digits
    let folder = path.lastIndex(of: "/").map { path.index(after: $0) } ?? path.startIndex
    guard let dot = path[folder...].lastIndex(of: "."), dot > folder else { return path + text }
    return path[..<dot] + text + path[dot...]
  }

  /// Takes the next bytes of the stream.
  public mutating func write(_ bytes: Span<UInt8>) throws(SystemError) {
    unsafe bytes.withUnsafeBufferPointer { unsafe pending.append(contentsOf: $0) }
    var start = 0
    // What goes to the file as it is.
    var first = 0
    while let length = try blockLength(at: start) {
      let block = start..<(start + length)
      let type = word(at: start)
      note(type, block)
      if type == 0x0A0D_0D0A { preamble = [] }
      if type == 0x0A0D_0D0A || type == 1 {
        try keep(block)
      } else if isOver(size + (block.upperBound - first)) {
        try put(first..<start)
        try open()
        try put(preamble)
        first = start
      }
      start = block.upperBound
    }
    try put(first..<start)
    pending.removeFirst(start)
  }

  private mutating func note(_ type: UInt32, _ block: Range<Int>) {
    if type == 6 { packets &+= 1 }
    guard type == 5 else { return }
    // Interface, time, then options: the one of what was dropped is a number of 64 bits.
    var place = block.lowerBound + 20
    while place + 12 <= block.upperBound {
      let (code, count) = (word(at: place) & 0xFFFF, Int(word(at: place) >> 16))
      if code == 5, count == 8 { dropped &+= UInt64(word(at: place + 4)) | UInt64(word(at: place + 8)) << 32 }
      place += 4 + (count + 3) & ~3
    }
  }

  private mutating func keep(_ block: Range<Int>) throws(SystemError) {
    guard limits.isRing else { return }
    guard preamble.count + block.count <= Self.preambleLimit else {
      throw SystemError(call: "write", subject: path, code: EMSGSIZE)
    }
    preamble += pending[block]
  }

  /// Whether a file that has come to so many bytes is to be followed by another one.
  private func isOver(_ bytes: Int) -> Bool {
    guard limits.isRing, size > preamble.count else { return false }
    if let limit = limits.bytes, bytes > limit { return true }
    if let time = limits.time, Clock.now - began >= time { return true }
    return false
  }

  private func word(at position: Int) -> UInt32 {
    (0..<4).reduce(UInt32(0)) { $0 | UInt32(pending[position + $1]) << UInt32(8 * $1) }
  }

  /// How long the block is that begins here; `nil` if it isn't there in full.
  private func blockLength(at position: Int) throws(SystemError) -> Int? {
    guard pending.count - position >= 8 else { return nil }
    let length = Int(word(at: position + 4))
    guard length >= 12, length & 3 == 0, length <= Self.blockLimit else {
      throw SystemError(call: "write", subject: path, code: EBADMSG)
    }
    return pending.count - position >= length ? length : nil
  }

  private mutating func open() throws(SystemError) {
    count += 1
    let name = name(of: count)
    let descriptor = try checked("open", name) {
      unsafe Glibc.open(name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
    }
    file = OwnedDescriptor(owning: descriptor)
    began = Clock.now
    size = 0
    if let files = limits.files, limits.isRing, count > files {
      let oldest = self.name(of: count - files)
      unsafe unlink(oldest)
    }
  }

  private mutating func put(_ range: Range<Int>) throws(SystemError) {
    if !range.isEmpty { try put(Array(pending[range])) }
  }

  private mutating func put(_ bytes: [UInt8]) throws(SystemError) {
    try file?.writeAll(bytes)
    size += bytes.count
  }
}
