internal import Crypto

/// The time zone database of this host.
public struct ZoneCatalog: Sendable {
  public static let system = ZoneCatalog(directory: "/usr/share/zoneinfo")

  private let directory: String

  public init(directory: String) {
    self.directory = directory
  }

  /// `nil` for a zone that isn't there or can't be read. Reads a file.
  public func rules(_ name: String) -> ZoneRules? {
    guard ZoneName.isValid(name) else { return nil }
    guard let bytes = try? AtomicFile.read("\(directory)/\(name)", limit: AccessLimits.zoneFileBytes) else {
      // A host without the database knows this one all the same.
      return name == "UTC" || name == "Etc/UTC" ? .utc : nil
    }
    return try? ZoneRules(parsing: bytes.span)
  }
}
