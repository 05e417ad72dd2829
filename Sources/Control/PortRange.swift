/// Ports from `lower` to `upper`, both included.
public struct PortRange: Hashable, Sendable, BitwiseCopyable {
  public let lower, upper: UInt16

  /// Every port but 0, which can't be connected to.
  public static let all = PortRange(unchecked: 1, .max)

  private init(unchecked lower: UInt16, _ upper: UInt16) {
    self.lower = lower
    self.upper = upper
  }

  /// `nil` unless 1 ≤ `lower` ≤ `upper`.
  public init?(_ lower: UInt16, _ upper: UInt16) {
    guard lower >= 1, lower <= upper else { return nil }
    self.init(unchecked: lower, upper)
  }

  /// One port; `nil` for 0.
  public init?(_ port: UInt16) {
    self.init(port, port)
  }

  public func contains(_ port: UInt16) -> Bool { lower <= port && port <= upper }
}

extension PortRange: LosslessStringConvertible {
  /// `80` or `8000-8010`.
  public var description: String { lower == upper ? "\(lower)" : "\(lower)-\(upper)" }

  /// Reads one port, two joined by a dash, or `*` for all.
  public init?(_ description: String) {
    if description == "*" {
      self = .all
      return
    }
    let parts = description.split(separator: "-", omittingEmptySubsequences: false)
    let ports = parts.compactMap { $0.utf8.allSatisfy { $0 >= 48 && $0 <= 57 } ? UInt16($0) : nil }
    guard (1...2).contains(parts.count), ports.count == parts.count else { return nil }
    self.init(ports[0], ports[ports.count - 1])
  }
}

extension PortRange: Codable {
  public init(from decoder: any Decoder) throws {
    self = try decodeText("port range", from: decoder) { PortRange($0) }
  }

  public func encode(to encoder: any Encoder) throws {
    try encodeText(description, to: encoder)
  }
}
