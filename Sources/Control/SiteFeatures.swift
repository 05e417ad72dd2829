/// What a site can do besides serving its agents, by name: it is asked of a site only where it is announced.
///
/// Names that a later version has added are kept, so that a GateManager passes on what it doesn't know.
public struct SiteFeatures: Hashable, Sendable {
  /// Names in a list.
  public static let limit = 32
  /// Grants may limit the ports of an agent: `Grant.ports`.
  public static let grantedPorts = "grantedPorts"

  /// Each of 1 to `ControlProtocol.nameLimit` bytes.
  public var names: [String]

  public init(_ names: [String]) {
    self.names = names
  }

  public func contains(_ name: String) -> Bool { names.contains(name) }
}

extension SiteFeatures: Codable {
  public init(from decoder: any Decoder) throws {
    let container = try decoder.singleValueContainer()
    names = try container.decode([String].self)
    guard names.count <= Self.limit,
      names.allSatisfy({ !$0.isEmpty && $0.utf8.count <= ControlProtocol.nameLimit })
    else { throw DecodingError.dataCorruptedError(in: container, debugDescription: "too many or too long") }
  }

  public func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    try container.encode(names)
  }
}
