internal import Glibc
public import Kernel

/// What a host may still do once it is confined: the least that its features need.
public struct ConfinementProfile: Sendable {
  /// Kept, of those that the process was started with.
  public var capabilities: Capabilities
  public var files: [FileRestriction.Grant]
  /// Whether it opens TCP connections.
  public var connects: Bool
  /// Whether it listens on TCP ports that the kernel chooses.
  public var listens: Bool
  public var systemCalls: SystemCallFilter

  /// - Parameters:
  ///   - directory: the host's own, where it keeps its state.
  ///   - files: what it needs besides.
  public init(
    directory: String, capabilities: Capabilities, files: [FileRestriction.Grant], connects: Bool,
    listens: Bool = false, systemCalls: SystemCallFilter
  ) {
    self.capabilities = capabilities
    self.connects = connects
    self.listens = listens
    self.systemCalls = systemCalls
    self.files = [.init(directory, .keep)] + Self.common + files
  }

  /// What the C library, OpenSSL and Swift's runtime read by themselves, and what `status` says of the process.
  ///
  /// libdispatch looks at its threads as /proc/TID, and ends the process if it can't. Memory, environment and descriptors
  /// of other processes aren't to be seen there all the same: Landlock keeps them from whom it restricts.
  private static let common: [FileRestriction.Grant] = [
    .init("/proc", .read), .init("/sys/devices/system/cpu", .read), .init("/dev/null", .device),
    .init("/dev/urandom", .readFile), .init("/dev/random", .readFile), .init("/lib", .read), .init("/lib64", .read),
    .init("/usr/lib", .read), .init("/usr/lib64", .read), .init("/usr/share/zoneinfo", .read),
    .init("/etc/localtime", .readFile), .init("/etc/ld.so.cache", .readFile), .init("/etc/ssl", .read),
  ]

  /// For getaddrinfo(3). Its files are replaced while services run, by editors and by what configures networks, and a
  /// grant is a file's, not its name's: so all of /etc can be read, as far as the user of the service may.
  public static let nameResolution: [FileRestriction.Grant] = [
    .init("/etc", .read), .init("/run/systemd/resolve", .read), .init("/run/resolvconf", .read),
    .init("/run/NetworkManager", .read), .init("/run/connman", .read),
  ]

  /// Where a file is whose name may be given to another one, and where it really is if the name is a link.
  public static func directories(of file: String) -> [String] {
    var found = [directory(of: file)]
    if let real = unsafe realpath(file, nil) {
      found.append(directory(of: unsafe String(cString: real)))
      unsafe free(real)
    }
    return found
  }

  private static func directory(of path: String) -> String {
    guard let slash = path.lastIndex(of: "/") else { return "." }
    return slash == path.startIndex ? "/" : String(path[..<slash])
  }
}
