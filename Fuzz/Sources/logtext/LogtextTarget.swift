import FuzzDriver

@testable import Service

/// Text from peers on its way to logs and terminals: one line, nothing that moves a cursor, hides or turns text, no
/// longer than its bound, and no two texts that look the same.
@main enum LogtextTarget: FuzzTarget {
  static func run(_ bytes: UnsafeBufferPointer<UInt8>) {
    let text = String(decoding: bytes, as: UTF8.self)
    let escaped = EscapedText(text).description
    var script = Script(bytes)
    let limit = script.choice(64)
    let short = EscapedText(text, limit: limit).description
    for result in [escaped, short, text.escaped] {
      for scalar in result.unicodeScalars {
        check(scalar.value >= 0x20 && !(0x7F...0x9F).contains(scalar.value), "a control character")
        // Zero-width, bidirectional, separators, byte order mark, tags.
        check(
          !(0x200B...0x200F).contains(scalar.value) && !(0x2028...0x202E).contains(scalar.value), "hidden or turned")
        check(!(0x2060...0x206F).contains(scalar.value) && scalar.value != 0xFEFF && scalar.value != 0xAD, "hidden")
        check(!(0xE0000...0xE007F).contains(scalar.value) && !(0xFFF9...0xFFFB).contains(scalar.value), "a tag")
      }
    }
    check(short.unicodeScalars.count <= limit * 10 + 1, "no longer than its bound")
    if text.unicodeScalars.count <= EscapedText.defaultLimit {
      check(unescaped(escaped) == text, "what was written can be told from what is shown")
    }
    if text.unicodeScalars.allSatisfy({ (0x20..<0x7F).contains($0.value) && $0 != "\\" }) {
      check(escaped == text || text.unicodeScalars.count > EscapedText.defaultLimit, "plain text stays as it is")
    }
  }

  private static func unescaped(_ text: String) -> String {
    var result = ""
    var rest = text.unicodeScalars[...]
    while let scalar = rest.popFirst() {
      guard scalar == "\\", let kind = rest.popFirst() else {
        result.unicodeScalars.append(scalar)
        continue
      }
      switch kind {
      case "n": result += "\n"
      case "r": result += "\r"
      case "t": result += "\t"
      case "u":
        rest.removeFirst()
        let digits = rest.prefix { $0 != "}" }
        rest = rest.dropFirst(digits.count + 1)
        if let value = UInt32(String(String.UnicodeScalarView(digits)), radix: 16), let scalar = Unicode.Scalar(value) {
          result.unicodeScalars.append(scalar)
        }
      default: result.unicodeScalars.append(kind)
      }
    }
    return result
  }

  static var seeds: [[UInt8]] {
    [
      "plain", "two\nlines\r\n", "tab\tand\\backslash", "\u{1B}[31mred", "\u{202E}turned", "zero\u{200B}width",
      "\u{FEFF}mark", "\u{E0041}tag", "héllo – «ok»", "\u{0}", "\u{85}\u{2028}", "\\u{41}",
    ].map { Array($0.utf8) } + [[0xFF, 0xC0, 0x80], [0xED, 0xA0, 0x80]]
  }
}
