import Kernel
import Logging
import Primitives
import Proxy
import Tun

/// Tells of changes of the host's links, addresses and routes, on a thread of its own for as long as the process lives.
enum NetworkWatch {
  /// Changes come in bursts: one report for what comes within this time.
  private static let settling = Interval.milliseconds(300)

  static func start(log: Logger, _ onChange: @escaping @Sendable () -> Void) {
    do {
      let parcel = Parcel(try HostNetworkWatcher())
      _ = try Thread(name: "network") {
        do {
          guard var watcher = parcel.open() else { return }
          let poller = try Poller()
          try poller.add(watcher.descriptor, token: 0, for: .readable)
          while true {
            guard try poller.wait(timeout: nil) > 0 else { continue }
            Thread.sleep(settling)
            while try watcher.next() != nil {}
            log.debug("the host's network has changed")
            onChange()
          }
        } catch {
          log.warning("changes of the host's network go unnoticed from now on", metadata: ["reason": "\(error)"])
        }
      }
    } catch {
      log.warning("changes of the host's network go unnoticed", metadata: ["reason": "\(error)"])
    }
  }
}
