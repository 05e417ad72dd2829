/// Text from a peer or a file, made fit for a terminal and for one line of a log.
///
/// What could move the cursor, start a new line or turn the reading direction is shown as `\u{…}`.
public struct EscapedText: CustomStringConvertible, Sendable {
  public let description: String

  /// Characters that are kept unless something else is said.
  public static let defaultLimit = 4096

  /// - Parameter limit: characters kept; what is cut off is shown as `…`.
  public init(_ text: String, limit: Int = EscapedText.defaultLimit) {
    var result = ""
    var count = 0
    for scalar in text.unicodeScalars {
      guard count < limit else {
        result += "…"
        break
      }
      count += 1
      switch scalar {
      case "\n": result += "\\n"
      case "\r": result += "\\r"
      case "\t": result += "\\t"
      case "\\": result += "\\\\"
      case _ where Self.isHarmful(scalar): result += "\\u{\(String(scalar.value, radix: 16))}"
      default: result.unicodeScalars.append(scalar)
      }
    }
    description = result
  }

  private static func isHarmful(_ scalar: Unicode.Scalar) -> Bool {
    switch scalar.properties.generalCategory {
    // Format covers the bidirectional controls (UAX 9), zero-width characters and tags.
    case .control, .format, .lineSeparator, .paragraphSeparator, .surrogate, .privateUse, .unassigned: true
    default: false
    }
  }
}

extension StringProtocol {
  /// The text with control and bidirectional characters shown as escapes.
  public var escaped: String { EscapedText(String(self)).description }
}
