internal import FoundationEssentials

/// JSON text in UTF-8, its keys in a fixed order: equal values are equal bytes.
enum AccessJSON {
  static func encode(_ value: some Encodable) throws -> [UInt8] {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    return Array(try encoder.encode(value))
  }

  static func text(_ value: (some Encodable)?) throws -> String? {
    try value.map { String(decoding: try encode($0), as: UTF8.self) }
  }

  static func decode<Value: Decodable>(_ type: Value.Type, from bytes: [UInt8]) throws -> Value {
    try JSONDecoder().decode(type, from: Data(bytes))
  }

  static func decode<Value: Decodable>(_ type: Value.Type, from text: String?) throws -> Value? {
    try text.map { try decode(type, from: Array($0.utf8)) }
  }
}
