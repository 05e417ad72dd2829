/// Why a request was refused, for programs; the text beside it is for people.
public enum FailureCode: Hashable, Sendable {
  case unknownSite, siteOffline, notPermitted, badCredentials
  case codeUnknown, codeExpired, tooManyAttempts
  case oneTimeCodeRequired, badOneTimeCode
  case versionIncompatible, malformed, internalError, busy
  /// What a later version has added.
  case other(String)

  private static let known: [(FailureCode, String)] = [
    (.unknownSite, "unknownSite"), (.siteOffline, "siteOffline"), (.notPermitted, "notPermitted"),
    (.badCredentials, "badCredentials"), (.codeUnknown, "codeUnknown"), (.codeExpired, "codeExpired"),
    (.tooManyAttempts, "tooManyAttempts"), (.oneTimeCodeRequired, "oneTimeCodeRequired"),
    (.badOneTimeCode, "badOneTimeCode"), (.versionIncompatible, "versionIncompatible"), (.malformed, "malformed"),
    (.internalError, "internalError"), (.busy, "busy"),
  ]
}

extension FailureCode: LosslessStringConvertible, Codable {
  public var description: String {
    if case .other(let text) = self { return text }
    return Self.known.first { $0.0 == self }?.1 ?? ""
  }

  public init(_ description: String) {
    self = Self.known.first { $0.1 == description }?.0 ?? .other(description)
  }

  public init(from decoder: any Decoder) throws {
    self = FailureCode(try decoder.singleValueContainer().decode(String.self))
  }

  public func encode(to encoder: any Encoder) throws {
    try encodeText(description, to: encoder)
  }
}
