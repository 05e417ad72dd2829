import Primitives

/// The commands of an FTP control connection, from the client to the device (RFC 959 section 4.1).
///
/// What says where a data connection goes (PORT, EPRT) is held back until the owner has decided about it, and
/// everything behind it with it. All else passes at once and as it is, Telnet codes included.
struct FTPCommands: Sendable {
  /// What the owner has to decide about, or has to know.
  enum Event: Equatable, Sendable {
    /// The client accepts a data connection there. Nothing passes before `decide`.
    case active(Endpoint)
    /// The client asks the device to accept a data connection (PASV, EPSV).
    case passive
    /// A command that names an endpoint couldn't be understood; it goes on with zeros, which no server accepts.
    case spoiled
  }

  /// Bytes of a command that are held at most. The longest one that is understood, EPRT with an IPv6 address, has 60.
  static let maximumHeld = 256

  private enum Phase: Equatable, Sendable {
    /// In the command's word.
    case word
    /// In the argument of a command that names an endpoint: held.
    case argument(Word)
    /// In a line that is of no interest.
    case passing
    /// In a line that no server may take for a good one: its digits become zeros.
    case spoiling
    /// Held for the owner's decision.
    case deciding
  }

  /// Where a server that reads Telnet codes (RFC 854) takes itself to be in a line that is spoiled: in a code, nothing
  /// ends a line.
  private enum Telnet: Equatable, Sendable {
    case text
    /// Behind IAC and WILL, WON'T, DO or DON'T: one byte follows, whatever it is.
    case option
    /// Behind IAC and SB: everything up to IAC and SE.
    case subnegotiation
  }

  private enum Word: Equatable, Sendable { case port, extendedPort, longPort }

  private var phase = Phase.word
  /// The line so far, if it is held.
  private var line: [UInt8] = []
  /// The first letters of the line, in upper case.
  private var letters: [UInt8] = []
  /// What came behind a command that waits for a decision.
  private var waiting: [UInt8] = []
  /// What goes on to the device.
  private var output: [UInt8] = []
  private var events: [Event] = []
  private var dropsLineFeed = false
  private var previous: UInt8 = 0
  private var telnet = Telnet.text
  private var isOpaque = false

  /// Bytes that are held back, for whatever reason.
  var heldCount: Int { line.count + waiting.count }

  mutating func receive(_ bytes: Span<UInt8>) {
    for index in bytes.indices { take(bytes[index]) }
  }

  mutating func decide(_ decision: FTPControl.Decision) {
    guard phase == .deciding else { return }
    switch decision {
    case .keep: output += line
    case .replace(let endpoint): output += FTPAddress.command(endpoint)
    case .refuse: spoil()
    }
    // The line feed that belongs to the command's end is part of what was replaced.
    if case .replace = decision { dropsLineFeed = line.last == 13 }
    line = []
    beginLine()
    let rest = waiting
    waiting = []
    for byte in rest { take(byte) }
  }

  /// The client sends no more: what is held goes on, but no half of a command that names an endpoint.
  mutating func finish() {
    if phase == .deciding { decide(.refuse) }
    if case .argument = phase { spoil() } else { output += line }
    line = []
  }

  /// What follows is encrypted (RFC 4217).
  mutating func becomeOpaque() {
    isOpaque = true
    previous = 0
    guard phase != .deciding else { return }
    output += line
    line = []
    phase = .passing
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
    if dropsLineFeed {
      dropsLineFeed = false
      if byte == 10 { return }
    }
    // Servers differ in what ends a line (RFC 959 section 5.3.1 wants CR LF): each of the two does here.
    let isEnd = !isOpaque && (byte == 13 || byte == 10)
    // A Telnet code of other than two bytes (RFC 854) shows letters and line ends to one server and hides them from
    // another: no line with one may name an endpoint, in whichever reading.
    let isCode = previous == Self.interpretAsCommand
    let isAmbiguous = isCode && !(240...249).contains(byte) || telnet != .text
    if phase != .deciding { previous = byte }
    switch phase {
    case .deciding: waiting.append(byte)
    case .passing:
      output.append(byte)
      if isEnd { beginLine() }
    case .spoiling:
      output.append(Self.spoiled(byte))
      telnet = Self.next(telnet, isCode ? byte : nil)
      if isEnd, !isAmbiguous { beginLine() }
    case .word, .argument:
      line.append(byte)
      if isAmbiguous {
        telnet = Self.next(telnet, byte)
        events.append(.spoiled)
        spoilLine()
      } else if case .argument(let word) = phase {
        takeArgument(word, isEnd)
      } else {
        takeWord(byte, isEnd)
      }
    }
  }

  /// - Parameter code: the byte, if it stands behind IAC.
  private static func next(_ telnet: Telnet, _ code: UInt8?) -> Telnet {
    switch (telnet, code) {
    case (.option, _), (.subnegotiation, 240): .text
    case (.subnegotiation, _), (.text, 250): .subnegotiation
    case (.text, (251...254)?): .option
    case (.text, _): .text
    }
  }

  private mutating func takeArgument(_ word: Word, _ isEnd: Bool) {
    if isEnd {
      endCommand(word)
    } else if line.count >= Self.maximumHeld {
      events.append(.spoiled)
      spoilLine()
    }
  }

  /// The word is the line's first four letters, whatever else stands among them: some servers skip Telnet codes,
  /// control characters or blanks, and each reading of a line has to be safe.
  private mutating func takeWord(_ byte: UInt8, _ isEnd: Bool) {
    if isEnd { return passLine(true) }
    if line.count >= Self.maximumHeld { return spoilLine() }
    let letter = byte & 0xDF
    guard (65...90).contains(letter) else { return }
    letters.append(letter)
    guard Self.words.contains(where: { $0.starts(with: letters) }) else { return passLine(false) }
    guard letters.count == 4 else { return }
    switch letters {
    case Self.port: phase = .argument(.port)
    case Self.extendedPort: phase = .argument(.extendedPort)
    case Self.longPort: phase = .argument(.longPort)
    default:
      events.append(.passive)
      passLine(false)
    }
  }

  private static let interpretAsCommand: UInt8 = 255
  private static let port = Array("PORT".utf8)
  private static let extendedPort = Array("EPRT".utf8)
  /// RFC 1639: other networks' addresses, never understood here and so never let through.
  private static let longPort = Array("LPRT".utf8)
  private static let words = [port, extendedPort, longPort, Array("PASV".utf8), Array("EPSV".utf8)]

  private mutating func endCommand(_ word: Word) {
    guard let endpoint = endpoint(word) else {
      events.append(.spoiled)
      spoil()
      line = []
      return beginLine()
    }
    phase = .deciding
    events.append(.active(endpoint))
  }

  /// The endpoint of a line that is just word, blanks, argument, blanks and end.
  private func endpoint(_ word: Word) -> Endpoint? {
    guard word != .longPort, line.prefix(4).elementsEqual(letters, by: { $0 & 0xDF == $1 }) else { return nil }
    var argument = line[4...].dropLast()
    guard argument.first == UInt8(ascii: " ") else { return nil }
    while argument.first == UInt8(ascii: " ") { argument.removeFirst() }
    while argument.last == UInt8(ascii: " ") { argument.removeLast() }
    return word == .port ? FTPAddress.parsePort(argument) : FTPAddress.parseExtendedPort(argument)
  }

  private mutating func passLine(_ isEnd: Bool) {
    output += line
    line = []
    if isEnd { beginLine() } else { phase = .passing }
  }

  private mutating func spoilLine() {
    spoil()
    line = []
    phase = .spoiling
  }

  private mutating func spoil() {
    for byte in line { output.append(Self.spoiled(byte)) }
  }

  private mutating func beginLine() {
    phase = isOpaque ? .passing : .word
    telnet = .text
    letters = []
  }

  /// Zeros for digits: the same length, and neither an address family nor a port.
  private static func spoiled(_ byte: UInt8) -> UInt8 {
    (49...57).contains(byte) ? 48 : byte
  }
}
