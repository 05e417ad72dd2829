internal import Kernel
public import Logging

/// One JSON object a line: `time`, `level`, `message`, and the metadata as further members.
public struct JSONLogHandler: LogHandler {
  public var logLevel: Logger.Level
  public var metadata: Logger.Metadata = [:]
  public var metadataProvider: Logger.MetadataProvider?
  private let output: LogOutput

  public init(level: Logger.Level, output: LogOutput = .standardError) {
    logLevel = level
    self.output = output
  }

  public subscript(metadataKey key: String) -> Logger.Metadata.Value? {
    get { metadata[key] }
    set { metadata[key] = newValue }
  }

  public func log(event: LogEvent) {
    let now = Clock.unixNanoseconds
    output.write(Self.line(event, metadata, unixNanoseconds: now)) { count, reason in
      Self.line(.lines(lost: count, reason), metadata, unixNanoseconds: now)
    }
  }

  static func line(_ event: LogEvent, _ common: Logger.Metadata, unixNanoseconds: Int64) -> String {
    var members = [
      ("time", Timestamp.text(unixNanoseconds: unixNanoseconds)), ("level", event.level.rawValue),
      ("message", event.message.description),
    ]
    let taken: Set = ["time", "level", "message", "error"]
    let all = common.merging(event.metadata ?? [:]) { $1 }
    for (key, value) in all.sorted(by: { $0.key < $1.key }) {
      members.append((taken.contains(key) ? "_" + key : key, "\(value)"))
    }
    if let error = event.error { members.append(("error", "\(error)")) }
    return "{" + members.map { "\(string($0.0)):\(string($0.1))" }.joined(separator: ",") + "}\n"
  }

  /// A string as in RFC 8259 section 7, in ASCII where characters could disturb a terminal; a long one is cut, as in the
  /// text format.
  private static func string(_ text: String) -> String {
    var result = "\""
    var left = EscapedText.defaultLimit
    for unit in text.utf16 {
      // Not between the halves of a surrogate pair.
      guard left > 0 || UTF16.isTrailSurrogate(unit) else {
        result += "\\u2026"
        break
      }
      left -= 1
      switch unit {
      case 0x22: result += "\\\""
      case 0x5C: result += "\\\\"
      case 0x0A: result += "\\n"
      case 0x0D: result += "\\r"
      case 0x09: result += "\\t"
      case 0x20..<0x7F: result.unicodeScalars.append(Unicode.Scalar(UInt8(unit)))
      default:
        let digits = String(unit, radix: 16)
        result += "\\u" + String(repeating: "0", count: 4 - digits.utf8.count) + digits
      }
    }
    return result + "\""
  }
}
