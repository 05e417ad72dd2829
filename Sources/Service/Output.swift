internal import FoundationEssentials

/// What commands print for scripts.
public enum Output {
  /// One JSON object, with its members in order, on several lines.
  public static func json(_ value: some Encodable) throws(CommandFailure) -> String {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
    do {
      return String(decoding: try encoder.encode(value), as: UTF8.self)
    } catch {
      throw CommandFailure(.software, "can't be written as JSON")
    }
  }
}
