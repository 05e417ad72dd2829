import Kernel
import Primitives

/// Calls back when links, addresses or routes of the host change, on a thread of its own.
///
/// For hosts that hold connections: what is sent from an address that is gone gets no answer, and nobody says so.
public final class HostNetworkMonitor: Sendable {
  /// Changes come in bursts: one call for all that come within this time.
  public static let settling = Interval.milliseconds(300)

  private let cancellation: Cancellation
  private let thread: Thread

  /// Starts watching the network namespace of the calling thread. Needs no privilege.
  ///
  /// - Parameters:
  ///   - onChange: called on the monitor's thread; may block, and is called again for what happened meanwhile.
  ///   - onFailure: called at most once: changes go unnoticed from then on.
  /// - Returns: `nil` if it couldn't start, which `onFailure` was told.
  public static func start(
    onChange: @escaping @Sendable () -> Void, onFailure: @escaping @Sendable (TunError) -> Void
  ) -> HostNetworkMonitor? {
    do throws(TunError) {
      return try HostNetworkMonitor(onChange, onFailure)
    } catch {
      onFailure(error)
      return nil
    }
  }

  private init(
    _ onChange: @escaping @Sendable () -> Void, _ onFailure: @escaping @Sendable (TunError) -> Void
  ) throws(TunError) {
    let box = WatcherBox(try HostNetworkWatcher())
    do throws(SystemError) {
      let cancellation = try Cancellation()
      self.cancellation = cancellation
      thread = try Thread(name: "network") {
        do throws(TunError) { try box.watch(until: cancellation, onChange) } catch { onFailure(error) }
      }
    } catch {
      throw TunError(error)
    }
  }

  deinit {
    cancellation.cancel()
  }

  /// Ends the thread and waits for it; no call comes afterwards. Not from a callback.
  public func stop() {
    cancellation.cancel()
    thread.join()
  }
}

/// Carries the watcher to the only thread that uses it.
private final class WatcherBox: @unchecked Sendable {
  private var watcher: HostNetworkWatcher

  init(_ watcher: consuming HostNetworkWatcher) {
    self.watcher = watcher
  }

  func watch(until cancellation: Cancellation, _ onChange: () -> Void) throws(TunError) {
    let poller = try makePoller(cancellation)
    while true {
      do throws(SystemError) { _ = try poller.wait(timeout: nil) } catch { throw TunError(error) }
      if cancellation.isCancelled { return }
      Thread.sleep(HostNetworkMonitor.settling)
      while try watcher.next() != nil {}
      onChange()
    }
  }

  private func makePoller(_ cancellation: Cancellation) throws(TunError) -> Poller {
    do throws(SystemError) {
      let poller = try Poller()
      try poller.add(watcher.descriptor, token: 0, for: .readable)
      try poller.add(cancellation.descriptor, token: 1, for: .readable)
      return poller
    } catch {
      throw TunError(error)
    }
  }
}
