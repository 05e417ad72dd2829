import Primitives

/// The replies of an FTP control connection, from the device to the client (RFC 959 section 4.2).
///
/// Lines that could announce a data connection are held until they are whole; all else passes at once and as it is.
struct FTPReplies: Sendable {
  enum Event: Equatable, Sendable {
    /// The device accepts a data connection on this port (227, 229).
    case passive(port: UInt16)
    /// The device agreed to encrypt (234): nothing behind can be read.
    case encrypted
  }

  /// Bytes of a reply that are held at most; longer ones pass unread.
  static let maximumHeld = 512

  private enum Phase: Equatable, Sendable {
    /// In the reply's code, of three digits and what follows it.
    case code
    /// In a reply that is read to its end.
    case announcement
    case passing
  }

  private var phase = Phase.code
  private var line: [UInt8] = []
  /// The code of a reply of several lines, until its last one (RFC 959 section 4.2).
  private var openReply: [UInt8] = []
  private var output: [UInt8] = []
  private var events: [Event] = []
  private var isOpaque = false
  /// What the client is to see instead of the address in a reply to PASV; `nil` leaves it as it is.
  private let alias: IPAddress?

  init(alias: IPAddress?) {
    self.alias = alias?.family == .v4 ? alias : nil
  }

  var heldCount: Int { line.count }

  mutating func receive(_ bytes: Span<UInt8>) {
    for index in bytes.indices {
      if isOpaque { output.append(bytes[index]) } else { take(bytes[index]) }
    }
  }

  /// The device sends no more: what is held goes on.
  mutating func finish() {
    output += line
    line = []
  }

  mutating func takeOutput() -> [UInt8] {
    defer { output = [] }
    return output
  }

  mutating func nextEvent() -> Event? {
    events.isEmpty ? nil : events.removeFirst()
  }

  // MARK: Bytes

  private mutating func take(_ byte: UInt8) {
    guard phase != .passing else {
      output.append(byte)
      if byte == 10 { phase = .code }
      return
    }
    line.append(byte)
    if byte == 10 { return endLine() }
    if phase == .code, !isCode(byte) { decideByCode() }
    if phase == .announcement, line.count >= Self.maximumHeld { pass() }
  }

  /// Whether the line may still begin with a code: three digits, then a blank or a hyphen.
  private func isCode(_ byte: UInt8) -> Bool {
    line.count < 4 && (48...57).contains(byte)
  }

  private mutating func decideByCode() {
    let code = Array(line.prefix(3))
    guard line.count == 4, code.allSatisfy({ (48...57).contains($0) }) else { return pass() }
    let separator = line[3]
    guard openReply.isEmpty else {
      // Within a reply of several lines, nothing counts but its last line: file names stand in such replies, too.
      if code == openReply, separator == UInt8(ascii: " ") || separator == 13 { openReply = [] }
      return pass()
    }
    switch separator {
    case UInt8(ascii: "-"):
      openReply = code
      pass()
    case UInt8(ascii: " ") where Self.announcements.contains(code): phase = .announcement
    default: pass()
    }
  }

  private static let passive = Array("227".utf8)
  private static let extendedPassive = Array("229".utf8)
  private static let encrypted = Array("234".utf8)
  private static let announcements = [passive, extendedPassive, encrypted]

  private mutating func pass() {
    output += line
    line = []
    phase = .passing
  }

  private mutating func endLine() {
    defer {
      line = []
      phase = .code
    }
    guard phase == .announcement else { return output += line }
    switch Array(line.prefix(3)) {
    case Self.passive: endPassive()
    case Self.extendedPassive:
      if let range = parentheses, let port = FTPAddress.parseExtendedPassive(line[range]) {
        events.append(.passive(port: port))
      }
      output += line
    default:
      events.append(.encrypted)
      isOpaque = true
      output += line
    }
  }

  /// RFC 959 doesn't say what stands around the six numbers (RFC 1123 section 4.1.2.6): they are searched for.
  private mutating func endPassive() {
    guard let range = numbers, let endpoint = FTPAddress.parsePort(line[range]) else { return output += line }
    events.append(.passive(port: endpoint.port))
    guard let alias else { return output += line }
    output += line[..<range.lowerBound]
    output += FTPAddress.portArgument(Endpoint(alias, endpoint.port)).utf8
    output += line[range.upperBound...]
  }

  /// The first run of digits and commas behind the code that has five commas.
  private var numbers: Range<Int>? {
    var start = 4
    while start < line.count {
      var end = start
      while end < line.count, (48...57).contains(line[end]) || line[end] == UInt8(ascii: ",") { end += 1 }
      if line[start..<end].count(where: { $0 == UInt8(ascii: ",") }) == 5 { return start..<end }
      start = end + 1
    }
    return nil
  }

  /// What stands in the line's parentheses.
  private var parentheses: Range<Int>? {
    guard let open = line.firstIndex(of: UInt8(ascii: "(")), let close = line.lastIndex(of: UInt8(ascii: ")")),
      open < close
    else { return nil }
    return open + 1..<close
  }
}
