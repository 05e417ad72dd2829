/// The control bits of a TCP header (RFC 9293 section 3.1).
public struct TCPFlags: OptionSet, Hashable, Sendable, BitwiseCopyable, CustomStringConvertible {
  public let rawValue: UInt8

  public init(rawValue: UInt8) {
    self.rawValue = rawValue
  }

  public static let fin = TCPFlags(rawValue: 0x01)
  public static let syn = TCPFlags(rawValue: 0x02)
  public static let rst = TCPFlags(rawValue: 0x04)
  public static let psh = TCPFlags(rawValue: 0x08)
  public static let ack = TCPFlags(rawValue: 0x10)
  public static let urg = TCPFlags(rawValue: 0x20)
  public static let ece = TCPFlags(rawValue: 0x40)
  public static let cwr = TCPFlags(rawValue: 0x80)

  public var description: String {
    let letters: [(TCPFlags, String)] = [
      (.fin, "F"), (.syn, "S"), (.rst, "R"), (.psh, "P"), (.ack, "."), (.urg, "U"), (.ece, "E"), (.cwr, "W"),
    ]
    let text = letters.filter { contains($0.0) }.map(\.1).joined()
    return text.isEmpty ? "none" : text
  }
}

/// A TCP header with the options that matter (RFC 9293 section 3.1).
public struct TCPHeader: Equatable, Sendable, BitwiseCopyable {
  /// Bytes without options.
  public static let minimumSize = 20
  /// Bytes with all the options that fit.
  public static let maximumSize = 60

  public var sourcePort, destinationPort: UInt16
  public var sequence: UInt32
  public var acknowledgement: UInt32
  public var flags: TCPFlags
  /// As on the wire: not scaled.
  public var window: UInt16
  /// As on the wire.
  public var checksum: UInt16
  public var urgentPointer: UInt16
  public var options: TCPOptions {
    didSet { headerLength = Self.minimumSize &+ options.size }
  }
  /// Bytes of header and options, 20 to 60: as it was read, or as it will be written since `options` was set.
  public private(set) var headerLength: Int

  public init(
    sourcePort: UInt16, destinationPort: UInt16, sequence: UInt32, acknowledgement: UInt32 = 0, flags: TCPFlags,
    window: UInt16, checksum: UInt16 = 0, urgentPointer: UInt16 = 0, options: TCPOptions = TCPOptions()
  ) {
    self.sourcePort = sourcePort
    self.destinationPort = destinationPort
    self.sequence = sequence
    self.acknowledgement = acknowledgement
    self.flags = flags
    self.window = window
    self.checksum = checksum
    self.urgentPointer = urgentPointer
    self.options = options
    headerLength = Self.minimumSize &+ options.size
  }

  /// Reads header and options. Malformed options are tolerated: reading them stops there.
  public init(parsing bytes: Span<UInt8>) throws(ParseError) {
    try bytes.require(Self.minimumSize, for: .tcp)
    let length = Int(bytes[12] >> 4) &* 4
    guard length >= Self.minimumSize else { throw ParseError(.tcp, .badHeaderLength(length)) }
    try bytes.require(length, for: .tcp)
    sourcePort = bytes.load16(0)
    destinationPort = bytes.load16(2)
    sequence = bytes.load32(4)
    acknowledgement = bytes.load32(8)
    flags = TCPFlags(rawValue: bytes[13])
    window = bytes.load16(14)
    checksum = bytes.load16(16)
    urgentPointer = bytes.load16(18)
    options = TCPOptions(parsing: bytes.extracting(Self.minimumSize..<length))
    headerLength = length
  }

  /// Writes header and options, the checksum as it is.
  ///
  /// - Returns: bytes written, a multiple of 4.
  @discardableResult
  public func write(into bytes: inout MutableSpan<UInt8>) -> Int {
    let length = Self.minimumSize &+ options.size
    precondition(bytes.count >= length, "no room for the header")
    bytes.store(sourcePort, at: 0)
    bytes.store(destinationPort, at: 2)
    bytes.store(sequence, at: 4)
    bytes.store(acknowledgement, at: 8)
    bytes[12] = UInt8(truncatingIfNeeded: length / 4) << 4
    bytes[13] = flags.rawValue
    bytes.store(window, at: 14)
    bytes.store(checksum, at: 16)
    bytes.store(urgentPointer, at: 18)
    options.write(into: &bytes, at: Self.minimumSize)
    return length
  }
}

extension TCPHeader: CustomStringConvertible {
  public var description: String {
    var text = "\(sourcePort) > \(destinationPort): Flags [\(flags)], seq \(sequence)"
    if flags.contains(.ack) { text += ", ack \(acknowledgement)" }
    text += ", win \(window)"
    if flags.contains(.urg) { text += ", urg \(urgentPointer)" }
    if options.size > 0 { text += ", options [\(options)]" }
    return text
  }
}
