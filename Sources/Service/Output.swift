internal import FoundationEssentials
internal import Glibc

/// What commands print.
public enum Output {
  /// One JSON object, with its members in order, on several lines.
  public static func json(_ value: some Encodable) throws(CommandFailure) -> String {
    try encode(value, [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes])
  }

  /// The same on one line.
  static func jsonLine(_ value: some Encodable) throws(CommandFailure) -> String {
    try encode(value, [.sortedKeys, .withoutEscapingSlashes])
  }

  private static func encode(
    _ value: some Encodable, _ formatting: JSONEncoder.OutputFormatting
  ) throws(CommandFailure) -> String {
    let encoder = JSONEncoder()
    encoder.outputFormatting = formatting
    do {
      return String(decoding: try encoder.encode(value), as: UTF8.self)
    } catch {
      throw CommandFailure(.software, "can't be written as JSON")
    }
  }

  /// Writes to standard output at once, past any buffer.
  /// - Returns: whether all of it was taken; not if nobody reads it any more, or the disk is full.
  public static func write(_ text: String) -> Bool {
    var rest = Array(text.utf8)[...]
    while !rest.isEmpty {
      let count = unsafe rest.withUnsafeBytes { unsafe Glibc.write(STDOUT_FILENO, $0.baseAddress, $0.count) }
      if count < 0, errno == EINTR { continue }
      guard count > 0 else { return false }
      rest = rest.dropFirst(count)
    }
    return true
  }
}
