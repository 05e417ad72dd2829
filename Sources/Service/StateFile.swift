internal import FoundationEssentials

/// How hosts keep what they know: one JSON object a file, which says the version of its form.
///
/// Fields that aren't known are passed over, as in messages, so that a later version may add some. A file whose `version`
/// is higher was written by a program that means something else by it, and is not read.
public enum StateFile {
  /// The form that this code writes. Files without a version are of the first.
  public static let version = 1

  private struct Form: Decodable {
    var version: Int?
  }

  private struct Versioned<Value: Encodable>: Encodable {
    let value: Value

    private enum CodingKeys: String, CodingKey { case version }

    func encode(to encoder: any Encoder) throws {
      var container = encoder.container(keyedBy: CodingKeys.self)
      try container.encode(StateFile.version, forKey: .version)
      try value.encode(to: encoder)
    }
  }

  /// - Parameter check: what a reader of the file demands beyond the form of its fields; `nil` if all is well.
  public static func decode<Value: Decodable>(
    _ type: Value.Type, from bytes: [UInt8], check: (Value) -> StateFileError? = { _ in nil }
  ) throws(StateFileError) -> Value {
    let outline: JSONOutline
    do throws(JSONOutline.Failure) {
      outline = try JSONOutline(bytes)
    } catch {
      throw StateFileError(line: error.line, field: [], reason: error.reason)
    }
    do {
      let data = Data(bytes)
      if let found = try JSONDecoder().decode(Form.self, from: data).version, found > version {
        throw StateFileError(
          line: outline.line(of: ["version"]), field: ["version"],
          reason:
            "is \(found), which a later version of this program has written: this one reads \(version), and is too old "
            + "for it", isOfLaterVersion: true)
      }
      let value = try JSONDecoder().decode(type, from: data)
      guard var problem = check(value) else { return value }
      problem.line = outline.line(of: problem.field)
      throw problem
    } catch let error as StateFileError {
      throw error
    } catch {
      throw StateFileError(error, outline)
    }
  }

  /// For people who look into it, with a line feed at its end; `nil` for a value that JSON doesn't have.
  public static func encode(_ value: some Encodable) -> [UInt8]? {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
    return (try? encoder.encode(Versioned(value: value))).map { Array($0) + [0x0A] }
  }
}

/// What is wrong with the text of a state file.
public struct StateFileError: Error, Hashable, Sendable, CustomStringConvertible {
  /// From 1; 0 where it isn't known.
  public var line: Int
  /// From the outermost inwards; empty for the file as a whole.
  public let field: [String]
  public let reason: String
  /// Updating the program is the way out.
  public let isOfLaterVersion: Bool

  public init(line: Int = 0, field: [String], reason: String, isOfLaterVersion: Bool = false) {
    self.line = line
    self.field = field
    self.reason = reason
    self.isOfLaterVersion = isOfLaterVersion
  }

  fileprivate init(_ error: any Error, _ outline: JSONOutline) {
    let path = { (context: DecodingError.Context) in
      context.codingPath.map { key in key.intValue.map { "\($0)" } ?? key.stringValue }
    }
    switch error as? DecodingError {
    case .keyNotFound(let key, let context):
      field = path(context) + [key.stringValue]
      reason = "is missing"
    case .typeMismatch(_, let context), .valueNotFound(_, let context):
      field = path(context)
      reason = field.isEmpty ? "is no JSON object" : "is of another type than it should be"
    case .dataCorrupted(let context) where !context.codingPath.isEmpty:
      field = path(context)
      reason = "is \(context.debugDescription)"
    default:
      field = []
      reason = "holds a number that is out of range or no whole one"
    }
    line = outline.line(of: field)
    isOfLaterVersion = false
  }

  /// Reads behind the file's name: `:3: field "gate.key" is missing`.
  public var description: String {
    let place = line > 0 ? ":\(line)" : ""
    let name = field.joined(separator: ".").escaped
    return field.isEmpty ? "\(place): \(reason)" : "\(place): field \"\(name)\" \(reason)"
  }
}
