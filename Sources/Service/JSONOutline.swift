/// Where the fields of a JSON text stand, and where it stops being JSON (RFC 8259): what a decoder doesn't tell.
struct JSONOutline {
  struct Failure: Error, Equatable {
    /// From 1.
    let line: Int
    let reason: String
  }

  /// Objects and arrays within each other; state files have a handful.
  static let depthLimit = 64

  private let bytes: [UInt8]
  private var position = 0
  private var line = 1
  private var path: [String] = []
  private var lines: [[String]: Int] = [:]

  init(_ bytes: [UInt8]) throws(Failure) {
    self.bytes = bytes
    guard bytes.contains(where: { !Self.isSpace($0) }) else { throw fail("is empty") }
    guard String(validating: bytes, as: UTF8.self) != nil else { throw fail("is not UTF-8") }
    try value()
    skipSpace()
    guard position == bytes.count else { throw fail("has something behind its end") }
  }

  /// The line of a field, or of the innermost around it that is there; 0 if there is none.
  func line(of field: [String]) -> Int {
    var field = field[...]
    while !field.isEmpty {
      if let line = lines[Array(field)] { return line }
      field = field.dropLast()
    }
    return 0
  }

  private func fail(_ reason: String) -> Failure { Failure(line: line, reason: reason) }

  private var next: UInt8? { position < bytes.count ? bytes[position] : nil }

  private static func isSpace(_ byte: UInt8) -> Bool { byte == 0x20 || byte == 0x09 || byte == 0x0A || byte == 0x0D }

  private mutating func skipSpace() {
    while let byte = next, Self.isSpace(byte) {
      if byte == 0x0A { line += 1 }
      position += 1
    }
  }

  private mutating func expect(_ byte: UInt8) throws(Failure) {
    skipSpace()
    guard next == byte else { throw unexpected("`\(Character(Unicode.Scalar(byte)))`") }
    position += 1
  }

  private func unexpected(_ wanted: String) -> Failure {
    guard let next else { return fail("ends where \(wanted) should be: it was cut off") }
    let found = (0x21...0x7E).contains(next) ? "`\(Character(Unicode.Scalar(next)))`" : "byte \(next)"
    return fail("isn't JSON: \(found) where \(wanted) should be")
  }

  private mutating func value() throws(Failure) {
    guard path.count < Self.depthLimit else { throw fail("has too many things within each other") }
    skipSpace()
    if !path.isEmpty { lines[path] = line }
    switch next {
    case UInt8(ascii: "{"):
      try elements(UInt8(ascii: "}")) { (outline, _) throws(Failure) in
        outline.skipSpace()
        let name = try outline.string()
        try outline.expect(UInt8(ascii: ":"))
        return name
      }
    case UInt8(ascii: "["): try elements(UInt8(ascii: "]")) { (_, index) throws(Failure) in "\(index)" }
    case UInt8(ascii: "\""): _ = try string()
    case let byte? where byte == UInt8(ascii: "-") || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte):
      while let byte = next, "+-.eE0123456789".utf8.contains(byte) { position += 1 }
    default:
      for word in ["true", "false", "null"] where bytes[position...].starts(with: word.utf8) {
        position += word.utf8.count
        return
      }
      throw unexpected("a value")
    }
  }

  private mutating func elements(
    _ end: UInt8, _ name: (inout JSONOutline, Int) throws(Failure) -> String
  ) throws(Failure) {
    position += 1
    skipSpace()
    if next == end {
      position += 1
      return
    }
    var index = 0
    while true {
      let key = try name(&self, index)
      path.append(key)
      try value()
      path.removeLast()
      index += 1
      skipSpace()
      if next == end {
        position += 1
        return
      }
      guard next == UInt8(ascii: ",") else { throw unexpected("`,` or `\(Character(Unicode.Scalar(end)))`") }
      position += 1
    }
  }

  /// Escapes stay as they are written: names of fields have none.
  private mutating func string() throws(Failure) -> String {
    guard next == UInt8(ascii: "\"") else { throw unexpected("`\"`") }
    position += 1
    let start = position
    while let byte = next, byte != UInt8(ascii: "\"") {
      guard byte >= 0x20 else { throw unexpected("the rest of a text") }
      position += byte == UInt8(ascii: "\\") ? 2 : 1
    }
    guard position < bytes.count else { throw fail("ends within a text: it was cut off") }
    position += 1
    return String(decoding: bytes[start..<(position - 1)], as: UTF8.self)
  }
}
