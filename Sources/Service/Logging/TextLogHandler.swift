internal import Kernel
public import Logging

/// One line a record: time, level, message, then the metadata as `key=value`, sorted by key.
public struct TextLogHandler: LogHandler {
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
    var line =
      "\(Timestamp.text(unixNanoseconds: unixNanoseconds)) \(name(event.level)) \(event.message.description.escaped)"
    let all = common.merging(event.metadata ?? [:]) { $1 }
    for (key, value) in all.sorted(by: { $0.key < $1.key }) {
      line += " \(key.escaped)=\(quoted("\(value)"))"
    }
    if let error = event.error { line += " error=\(quoted("\(error)"))" }
    return line + "\n"
  }

  private static func name(_ level: Logger.Level) -> String {
    let name = level.rawValue
    return name + String(repeating: " ", count: max(0, 8 - name.utf8.count))
  }

  /// Quotes what would not be read as one word.
  private static func quoted(_ text: String) -> String {
    let escaped = text.escaped
    guard escaped.isEmpty || escaped.contains(where: { $0 == " " || $0 == "\"" || $0 == "=" }) else { return escaped }
    return "\"" + escaped.split(separator: "\"", omittingEmptySubsequences: false).joined(separator: "\\\"") + "\""
  }
}
