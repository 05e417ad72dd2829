internal import FoundationEssentials
public import Kernel

/// What a command line asks of the service of the same directory: one JSON object on one line.
public struct ManagementRequest: Codable, Hashable, Sendable {
  /// Bytes of a request at most, its line feed included.
  public static let sizeLimit = 64 << 10

  /// The command that every service answers by itself, and the name of what it answers.
  static let version = "version"

  public var command: String
  public var arguments: [String: String]

  public init(_ command: String, _ arguments: [String: String] = [:]) {
    self.command = command
    self.arguments = arguments
  }

  public init(from decoder: any Decoder) throws {
    let container = try decoder.container(keyedBy: CodingKeys.self)
    command = try container.decode(String.self, forKey: .command)
    arguments = try container.decodeIfPresent([String: String].self, forKey: .arguments) ?? [:]
  }
}

/// The answer: a result of any form, or a refusal with its reason. One JSON object on one line.
public struct ManagementResponse: Sendable {
  /// Bytes of an answer at most, its line feed included.
  public static let sizeLimit = 16 << 20

  /// JSON without line feeds.
  let line: [UInt8]
  /// What follows the line, on a thread of its own, until it returns.
  private(set) var stream: (@Sendable (borrowing OwnedDescriptor) -> Void)?

  /// Success, and then bytes without end: `body` has the connection from then on, and the client may read them or go.
  ///
  /// It takes no place among the requests served at once, so that the handler bounds how many there are.
  public static func stream(
    _ result: some Encodable, _ body: @escaping @Sendable (borrowing OwnedDescriptor) -> Void
  ) -> ManagementResponse {
    var response = success(result)
    response.stream = body
    return response
  }

  /// `result` is what the command defines.
  public static func success(_ result: some Encodable) -> ManagementResponse {
    encode(Envelope(ok: true, result: result, code: nil, message: nil))
  }

  /// Nothing to tell but that it is done.
  public static let done = success([String: String]())

  /// - Parameters:
  ///   - code: for programs, in the style of `unknownSite`.
  ///   - message: for people: what is wrong and what can be done.
  public static func failure(_ code: String, _ message: String) -> ManagementResponse {
    encode(Envelope<Bool>(ok: false, result: nil, code: code, message: message))
  }

  private static func encode(_ envelope: Envelope<some Encodable>) -> ManagementResponse {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    guard let data = try? encoder.encode(envelope), data.count < sizeLimit else {
      return ManagementResponse(
        line: Array(#"{"ok":false,"code":"tooLong","message":"the answer is too long"}"#.utf8))
    }
    return ManagementResponse(line: Array(data))
  }
}

struct Envelope<Result> {
  var ok: Bool
  var result: Result?
  var code: String?
  var message: String?

  enum CodingKeys: String, CodingKey { case ok, result, code, message }
}

extension Envelope: Encodable where Result: Encodable {}
extension Envelope: Decodable where Result: Decodable {}
