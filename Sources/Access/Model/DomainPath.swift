/// The place of a domain in the tree: `ROOT.AcmeInc.Line1`.
public struct DomainPath: Hashable, Sendable {
  public static let root = DomainPath(unchecked: "ROOT", depth: 1)
  public static let rule = "ROOT, or names below it joined by dots: each 1 to 32 letters, digits, `-` and `_`, 16 deep"

  public let description: String
  /// 1 for ROOT.
  public let depth: Int

  private init(unchecked text: String, depth: Int) {
    description = text
    self.depth = depth
  }

  /// The domain's own name.
  public var name: String {
    String(description[(lastDot.map { description.index(after: $0) } ?? description.startIndex)...])
  }

  /// `nil` for ROOT.
  public var parent: DomainPath? {
    lastDot.map { DomainPath(unchecked: String(description[..<$0]), depth: depth - 1) }
  }

  /// A domain right below; `nil` if that isn't a name, or too deep.
  public func child(_ name: String) -> DomainPath? {
    guard Self.isValidName(name[...]), depth < AccessLimits.domainDepth else { return nil }
    return DomainPath(unchecked: "\(description).\(name)", depth: depth + 1)
  }

  /// Whether a domain is this one or lies below it.
  public func contains(_ other: DomainPath) -> Bool {
    guard other.depth >= depth, other.description.utf8.starts(with: description.utf8) else { return false }
    let size = description.utf8.count
    return other.description.utf8.count == size
      || other.description.utf8[other.description.utf8.index(other.description.startIndex, offsetBy: size)]
        == UInt8(ascii: ".")
  }

  /// This one, the one above it, and so on to ROOT.
  public var upwards: [DomainPath] {
    var paths = [self]
    while let above = paths[paths.count - 1].parent { paths.append(above) }
    return paths
  }

  private var lastDot: String.Index? { description.utf8.lastIndex(of: UInt8(ascii: ".")) }

  static func isValidName(_ name: Substring) -> Bool {
    (1...AccessLimits.domainNameBytes).contains(name.utf8.count)
      && name.utf8.allSatisfy { byte in
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
          UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "_"):
          true
        default: false
        }
      }
  }
}

extension DomainPath: LosslessStringConvertible {
  public init?(_ description: String) {
    let limit = AccessLimits.domainDepth * (AccessLimits.domainNameBytes + 1)
    guard description.utf8.count < limit else { return nil }
    let names = description.split(separator: ".", omittingEmptySubsequences: false)
    guard names.first == "ROOT", names.count <= AccessLimits.domainDepth, names.allSatisfy(Self.isValidName) else {
      return nil
    }
    self.init(unchecked: description, depth: names.count)
  }
}

extension DomainPath: Comparable {
  public static func < (left: DomainPath, right: DomainPath) -> Bool { left.description < right.description }
}

extension DomainPath: Codable {
  public init(from decoder: any Decoder) throws {
    let container = try decoder.singleValueContainer()
    guard let path = DomainPath(try container.decode(String.self)) else {
      throw DecodingError.dataCorruptedError(in: container, debugDescription: "no domain: \(Self.rule)")
    }
    self = path
  }

  public func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    try container.encode(description)
  }
}
