import Glibc

/// How many descriptors this process may have open (RLIMIT_NOFILE, getrlimit(2)).
public enum DescriptorLimit {
  /// The limit now: another process may change it at any time (prlimit(2)). A new descriptor's number is below it.
  public static var current: Int {
    var limit = rlimit()
    guard unsafe getrlimit(kind, &limit) == 0 else { return 1024 }
    return Int(clamping: limit.rlim_cur)
  }

  /// Raises the limit to what this process may have, up to a million: the usual 1,024 are few for a host, whose flows
  /// have a socket each. Nothing here calls select(2), which knows no more.
  public static func raise() {
    var limit = rlimit()
    guard unsafe getrlimit(kind, &limit) == 0 else { return }
    limit.rlim_cur = min(limit.rlim_max, 1 << 20)
    unsafe setrlimit(kind, &limit)
  }

  private static var kind: __rlimit_resource_t { __rlimit_resource_t(RLIMIT_NOFILE.rawValue) }
}
