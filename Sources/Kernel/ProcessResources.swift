import CLinux
import Glibc

/// What the whole process holds of the machine.
public enum ProcessResources {
  /// Gives free pages of the heap back to the system, where the C library would keep them for later.
  ///
  /// Takes milliseconds: for when something large has ended, never for the packet path.
  public static func trimHeap() {
    clinux_trim_heap()
  }

  /// Raises the limit of descriptors to what the system allows, at most 2²⁰: the usual 1,024 are few for a host that
  /// has one for each connection.
  ///
  /// - Returns: the limit from now on.
  @discardableResult
  public static func raiseDescriptorLimit() -> Int {
    let resource = __rlimit_resource_t(RLIMIT_NOFILE.rawValue)
    var limit = rlimit()
    guard unsafe getrlimit(resource, &limit) == 0 else { return 0 }
    let before = limit.rlim_cur
    limit.rlim_cur = min(limit.rlim_max, 1 << 20)
    guard unsafe setrlimit(resource, &limit) == 0 else { return Int(clamping: before) }
    return Int(clamping: limit.rlim_cur)
  }
}
