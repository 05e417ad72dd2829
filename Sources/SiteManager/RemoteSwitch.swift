import Control
import Glibc
import Kernel
import Logging
import Primitives
import Service
import Synchronization

/// The switch by which the operator on site allows or forbids remote access: by command, or by writing the file that the
/// commands write, which is looked at twice a second.
///
/// A file that can't be read forbids all: whoever wrote it wanted something switched off.
final class RemoteSwitch: Sendable {
  static let interval = Interval.milliseconds(500)

  private struct State {
    var access = RemoteAccess()
    /// Of the file when it was last read; `nil` if there was none.
    var stamp: FileStamp?
    var problem: String?
  }

  private let directory: StateDirectory
  private let interval: Interval
  private let log: Logger
  private let apply: @Sendable (RemoteAccess) -> Void
  private let state = Mutex(State())
  private let cancellation: Cancellation
  private let thread = Mutex<Kernel.Thread?>(nil)

  /// Reads the file.
  /// - Parameters:
  ///   - interval: how often it is looked at.
  ///   - apply: is told of what is off, first and whenever that changes, on one thread at a time.
  init(
    directory: StateDirectory, interval: Interval = RemoteSwitch.interval, log: Logger,
    apply: @escaping @Sendable (RemoteAccess) -> Void
  ) throws(SystemError) {
    self.directory = directory
    self.interval = interval
    self.log = log
    self.apply = apply
    cancellation = try Cancellation()
    state.withLock { state in
      state.stamp = FileStamp(of: directory.path(of: RemoteAccess.fileName))
      read(&state)
    }
  }

  /// Begins to watch the file.
  func start() throws(SystemError) {
    let started = try Kernel.Thread(name: "remote") { [self] in
      guard let poller = try? Poller(),
        (try? poller.add(cancellation.descriptor, token: 0, for: .readable)) != nil
      else { return }
      while !cancellation.isCancelled {
        _ = try? poller.wait(timeout: interval)
        look()
      }
    }
    thread.withLock { $0 = started }
  }

  func stop() {
    cancellation.cancel()
    thread.withLock { $0.take() }?.join()
  }

  /// What is wrong with the file.
  var problem: String? { state.withLock { $0.problem } }

  /// Switches and keeps it.
  /// - Parameters:
  ///   - off: `nil` for on.
  ///   - agent: `nil` for all remote access.
  func set(_ off: RemoteAccess.Off?, agent: String?) throws(CommandFailure) {
    let result = state.withLock { state -> Result<Void, CommandFailure> in
      do throws(CommandFailure) {
        // What others have written meanwhile stays.
        var access = try RemoteAccess.load(from: directory)
        access.set(off, agent: agent)
        try access.save(to: directory)
        state.stamp = FileStamp(of: directory.path(of: RemoteAccess.fileName))
        take(access, &state)
        state.problem = nil
        return .success(())
      } catch {
        return .failure(error)
      }
    }
    try result.get()
  }

  private func look() {
    state.withLock { state in
      let stamp = FileStamp(of: directory.path(of: RemoteAccess.fileName))
      guard stamp != state.stamp else { return }
      // Before it is read: what is written meanwhile is seen the next time.
      state.stamp = stamp
      read(&state)
    }
  }

  private func read(_ state: inout State) {
    do throws(CommandFailure) {
      let access = try RemoteAccess.load(from: directory)
      state.problem = nil
      take(access, &state)
    } catch {
      state.problem = "\(error)"
      log.error("remote access is off until its file can be read", metadata: ["reason": "\(error)"])
      take(RemoteAccess(off: RemoteAccess.Off(reason: "\(RemoteAccess.fileName) can't be read there")), &state)
    }
  }

  private func take(_ access: RemoteAccess, _ state: inout State) {
    guard access != state.access else { return }
    state.access = access
    apply(access)
  }
}

/// Whether a file is another one than it was, or has been written to.
private struct FileStamp: Equatable {
  private let device, inode: UInt64
  private let size, seconds, nanoseconds: Int64

  init?(of path: String) {
    var found = stat()
    guard unsafe stat(path, &found) == 0 else { return nil }
    device = UInt64(found.st_dev)
    inode = UInt64(found.st_ino)
    size = Int64(found.st_size)
    // Of the inode, which no tool sets back.
    seconds = Int64(found.st_ctim.tv_sec)
    nanoseconds = Int64(found.st_ctim.tv_nsec)
  }
}
