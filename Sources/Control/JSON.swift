internal import FoundationEssentials

/// JSON text in UTF-8, its keys in a fixed order.
enum JSON {
  /// Fails only for values that JSON doesn't have, such as an infinite number.
  static func encode(_ value: some Encodable) throws(JSONError) -> [UInt8] {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    do {
      return Array(try encoder.encode(value))
    } catch {
      throw JSONError(error)
    }
  }

  static func decode<Value: Decodable>(_ type: Value.Type, from bytes: [UInt8]) throws(JSONError) -> Value {
    do {
      return try JSONDecoder().decode(type, from: Data(bytes))
    } catch {
      throw JSONError(error)
    }
  }
}

/// Text that is no JSON or not of the shape that was expected, and where.
struct JSONError: Error {
  /// Names of fields from the outermost inwards, joined by dots; empty for the text itself.
  let field: String
  let reason: String

  init(_ error: any Error) {
    let path = { (context: DecodingError.Context) in context.codingPath.map(\.stringValue).joined(separator: ".") }
    switch error as? DecodingError {
    case .keyNotFound(let key, let context):
      let outer = path(context)
      field = outer.isEmpty ? key.stringValue : "\(outer).\(key.stringValue)"
      reason = "missing"
    case .typeMismatch(_, let context), .valueNotFound(_, let context):
      (field, reason) = (path(context), "of another type")
    case .dataCorrupted(let context):
      (field, reason) = (path(context), context.debugDescription)
    default:
      (field, reason) = ("", "unreadable")
    }
  }
}

/// Reads a value that travels as text of its own.
func decodeText<Value>(
  _ what: String, from decoder: any Decoder, _ parse: (String) -> Value?
) throws -> Value {
  let container = try decoder.singleValueContainer()
  guard let value = parse(try container.decode(String.self)) else {
    throw DecodingError.dataCorruptedError(in: container, debugDescription: "not a \(what)")
  }
  return value
}

func encodeText(_ text: String, to encoder: any Encoder) throws {
  var container = encoder.singleValueContainer()
  try container.encode(text)
}
