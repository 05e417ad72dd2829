/// Names of the time zone database, such as `Europe/Berlin` or `Etc/GMT+3`. They become parts of paths.
public enum ZoneName {
  public static func isValid(_ name: String) -> Bool {
    guard (1...AccessLimits.zoneNameBytes).contains(name.utf8.count) else { return false }
    return name.split(separator: "/", omittingEmptySubsequences: false).allSatisfy { part in
      guard let first = part.utf8.first, isLetter(first) else { return false }
      return part.utf8.allSatisfy { byte in
        isLetter(byte) || (48...57).contains(byte) || byte == UInt8(ascii: "_") || byte == UInt8(ascii: "-")
          || byte == UInt8(ascii: "+")
      }
    }
  }

  private static func isLetter(_ byte: UInt8) -> Bool { (65...90).contains(byte) || (97...122).contains(byte) }
}
