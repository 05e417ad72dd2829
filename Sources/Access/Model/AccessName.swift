/// Names of accounts, groups and sites.
public enum AccessName {
  public static let rule = "1 to 64 of a-z, 0-9, `.`, `_` and `-`, with a letter or digit first"

  public static func isValid(_ name: String) -> Bool {
    let isAlphanumeric = { (byte: UInt8) in (0x61...0x7A).contains(byte) || (0x30...0x39).contains(byte) }
    return (1...64).contains(name.utf8.count) && name.utf8.first.map(isAlphanumeric) == true
      && name.utf8.allSatisfy { isAlphanumeric($0) || $0 == 0x2E || $0 == 0x5F || $0 == 0x2D }
  }
}
