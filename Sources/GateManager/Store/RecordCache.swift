import Glibc
import Kernel
import Synchronization

/// Records as they were last read, with what tells whether their files are still the same: a login looks at all of them,
/// and thousands of files take longer to read than a password to check.
final class RecordCache<Entry: Record>: Sendable {
  private let entries = Mutex<[String: (stamp: FileStamp, entry: Entry)]>([:])
  private let limit: Int

  /// - Parameter limit: records that are kept; before one more, all are forgotten.
  init(limit: Int) {
    self.limit = limit
  }

  var count: Int { entries.withLock { $0.count } }

  func entry(_ name: String, _ stamp: FileStamp) -> Entry? {
    entries.withLock { $0[name].flatMap { $0.stamp == stamp ? $0.entry : nil } }
  }

  /// Keeps what was read from a file after it had this stamp.
  func keep(_ entry: Entry, _ name: String, _ stamp: FileStamp) {
    guard stamp.isSettled else { return forget(name) }
    entries.withLock { entries in
      if entries.count >= limit { entries.removeAll() }
      entries[name] = (stamp, entry)
    }
  }

  func forget(_ name: String) {
    entries.withLock { $0[name] = nil }
  }
}

/// Which file stands under a name, and when it was written.
struct FileStamp: Equatable, Sendable {
  private let inode: UInt
  private let size: Int
  private let seconds: Int
  private let nanoseconds: Int

  /// `nil` if there is no such file.
  init?(_ path: String) {
    var information = stat()
    guard unsafe stat(path, &information) == 0 else { return nil }
    inode = information.st_ino
    size = information.st_size
    seconds = information.st_mtim.tv_sec
    nanoseconds = information.st_mtim.tv_nsec
  }

  /// Whether a later change can't have the same stamp: the kernel's time stamps are some milliseconds coarse, and the
  /// inode of a file that was replaced may be taken again.
  var isSettled: Bool { Int64(seconds) < Clock.unixSeconds - 1 }
}
