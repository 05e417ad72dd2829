import CLinux
import Glibc

/// What may be done with files, as the kernel knows it (landlock(7)).
public struct FileRights: OptionSet, Hashable, Sendable {
  public let rawValue: UInt64

  public init(rawValue: UInt64) {
    self.rawValue = rawValue
  }

  private init(_ rights: Int...) {
    rawValue = rights.reduce(0) { $0 | UInt64($1) }
  }

  /// Reading files and listing directories.
  public static let read = FileRights(CLINUX_LANDLOCK_READ_FILE, CLINUX_LANDLOCK_READ_DIR)
  /// Reading files whose names are known.
  public static let readFile = FileRights(CLINUX_LANDLOCK_READ_FILE)
  public static let write = FileRights(CLINUX_LANDLOCK_WRITE_FILE, CLINUX_LANDLOCK_TRUNCATE)
  /// A character device: reading, writing, ioctl(2).
  public static let device = FileRights(
    CLINUX_LANDLOCK_READ_FILE, CLINUX_LANDLOCK_WRITE_FILE, CLINUX_LANDLOCK_IOCTL_DEV)
  /// A directory of one's own: files, directories and sockets in it may be made, renamed and removed.
  public static let keep: FileRights = [
    .read, .write,
    FileRights(
      CLINUX_LANDLOCK_MAKE_REG, CLINUX_LANDLOCK_MAKE_DIR, CLINUX_LANDLOCK_MAKE_SOCK, CLINUX_LANDLOCK_REMOVE_FILE,
      CLINUX_LANDLOCK_REMOVE_DIR, CLINUX_LANDLOCK_REFER),
  ]

  /// All that a version of Landlock can withhold.
  static func known(to version: Int) -> FileRights {
    let bits =
      switch version {
      case ..<2: 13
      case 2: 14
      case 3, 4: 15
      default: 16
      }
    return FileRights(rawValue: (1 << UInt64(bits)) - 1)
  }

  /// Those that make sense for something other than a directory.
  static let ofFiles = FileRights(
    CLINUX_LANDLOCK_EXECUTE, CLINUX_LANDLOCK_WRITE_FILE, CLINUX_LANDLOCK_READ_FILE, CLINUX_LANDLOCK_TRUNCATE,
    CLINUX_LANDLOCK_IOCTL_DEV)
}

/// Which files a process may go on opening, and whether it may open TCP ports and connections (landlock(7)).
///
/// What is open already stays usable. Unix sockets with a path can be connected to wherever they are.
public enum FileRestriction {
  public struct Grant: Hashable, Sendable {
    public let path: String
    public let rights: FileRights

    /// - Parameter path: of a file, or of a directory with all that is below it. One that isn't there grants nothing.
    public init(_ path: String, _ rights: FileRights) {
      self.path = path
      self.rights = rights
    }
  }

  /// The version that the kernel has; `nil` if it has none, or it isn't switched on.
  public static var availableVersion: Int? {
    let version = clinux_landlock_version()
    return version > 0 ? Int(version) : nil
  }

  /// Restricts the calling thread, and every thread that it makes later, for good. Other threads aren't: call it before
  /// there are any. There must be no new privileges (`Privileges.renounce`), or CAP_SYS_ADMIN.
  ///
  /// - Parameters:
  ///   - connects: whether TCP connections may be opened.
  ///   - listens: whether TCP ports that the kernel chooses may be opened; others may not. Both from version 4 on.
  public static func enforce(_ grants: [Grant], connects: Bool, listens: Bool = false) throws(SystemError) {
    let version = Int(clinux_landlock_version())
    guard version > 0 else { throw .last("landlock_create_ruleset") }
    let known = FileRights.known(to: version)
    var network = UInt64(CLINUX_LANDLOCK_BIND_TCP)
    if !connects { network |= UInt64(CLINUX_LANDLOCK_CONNECT_TCP) }
    let scopes = UInt64(CLINUX_LANDLOCK_SCOPE_ABSTRACT_UNIX | CLINUX_LANDLOCK_SCOPE_SIGNAL)
    let ruleset = OwnedDescriptor(
      owning: try checked("landlock_create_ruleset") {
        clinux_landlock_ruleset(known.rawValue, version >= 4 ? network : 0, version >= 6 ? scopes : 0)
      })
    for grant in grants {
      let name = unsafe clinux_open_name(grant.path)
      guard name >= 0 else { continue }
      let parent = OwnedDescriptor(owning: name)
      var rights = grant.rights.intersection(known)
      if clinux_is_directory(name) == 0 { rights.formIntersection(.ofFiles) }
      try checked("landlock_add_rule", grant.path) {
        clinux_landlock_allow(ruleset.rawValue, name, rights.rawValue)
      }
      // The kernel makes files of procfs anew when it was short of memory, unless they are in use, and what was granted
      // would be lost: so these stay open for good.
      if clinux_is_procfs(name) == 1 { _ = parent.release() }
    }
    if listens, version >= 4 {
      try checked("landlock_add_rule", "port 0") {
        clinux_landlock_allow_port(ruleset.rawValue, 0, UInt64(CLINUX_LANDLOCK_BIND_TCP))
      }
    }
    try checked("landlock_restrict_self") { clinux_landlock_restrict(ruleset.rawValue) }
  }
}
