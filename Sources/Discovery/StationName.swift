/// A PROFINET name of station (IEC 61158-6-10, clause 4.3.1.4.15.2).
public struct StationName: Hashable, Sendable, CustomStringConvertible {
  public static let sizeLimit = 240

  public let description: String

  /// `nil` if it isn't one: labels of 1 to 63 lower-case letters, digits and hyphens, by dots, 240 bytes in all.
  public init?(_ text: String) {
    guard (1...Self.sizeLimit).contains(text.utf8.count) else { return nil }
    let labels = text.split(separator: ".", omittingEmptySubsequences: false)
    for label in labels {
      guard (1...63).contains(label.utf8.count), label.first != "-", label.last != "-",
        label.utf8.allSatisfy({ byte in
          switch byte {
          case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"): true
          default: false
          }
        })
      else { return nil }
    }
    // It must not be taken for an address, or for the name of a port ("port-001", "port-001-00001").
    if labels.count == 4, labels.allSatisfy({ $0.utf8.allSatisfy { (48...57).contains($0) } }) { return nil }
    if Self.isPortName(labels[0]) { return nil }
    description = text
  }

  private static func isPortName(_ label: Substring) -> Bool {
    let parts = label.split(separator: "-", omittingEmptySubsequences: false)
    let isNumber = { (part: Substring, size: Int) in
      part.utf8.count == size && part.utf8.allSatisfy { (48...57).contains($0) }
    }
    guard parts.count == 2 || parts.count == 3, parts[0] == "port", isNumber(parts[1], 3) else { return false }
    return parts.count == 2 || isNumber(parts[2], 5)
  }
}
