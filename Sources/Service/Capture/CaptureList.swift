internal import Kernel
internal import Primitives
import Synchronization
public import Tun

/// The captures of a service that are under way.
public final class CaptureList: Sendable {
  /// Captures at once: each has its memory and a thread.
  public static let limit = 4
  /// Those of them that LinkManagers may have: one is left for the operator.
  public static let remoteLimit = 3

  private struct Entry {
    let capture: Capture
    let by: String
    let what: String
    let since: Int64
    let seesFlows: Bool
  }

  private let entries = Mutex<[Entry]>([])
  /// Streams of LinkManagers that ask for a capture, or have one.
  private let claims = Mutex(0)

  public init() {}

  /// - Parameter seesFlows: whether it is of flows, or of something else that is seen whatever flows there are.
  /// - Throws: if there are too many.
  public func add(
    _ capture: Capture, by user: String, _ request: CaptureRequest, seesFlows: Bool = true
  ) throws(CommandFailure) {
    let hasRoom = entries.withLock { entries in
      guard entries.count < Self.limit else { return false }
      entries.append(
        Entry(
          capture: capture, by: user, what: request.summary, since: Clock.unixSeconds, seesFlows: seesFlows))
      return true
    }
    guard hasRoom else {
      throw CommandFailure(.temporaryFailure, "\(Self.limit) captures are under way: end one first")
    }
  }

  /// Takes a place among those who may ask from remote, before they have said what they want.
  public func claim() -> Bool {
    claims.withLock { claims in
      guard claims < Self.remoteLimit else { return false }
      claims += 1
      return true
    }
  }

  public func unclaim() {
    claims.withLock { $0 -= 1 }
  }

  public func remove(_ capture: Capture) {
    capture.stop()
    entries.withLock { $0.removeAll { $0.capture === capture } }
  }

  public var captures: [Capture] { entries.withLock { $0.map(\.capture) } }

  public var flowCaptures: [Capture] { entries.withLock { $0.filter(\.seesFlows).map(\.capture) } }

  /// Ends all of them, and waits for a moment until what they have is written.
  public func stop() {
    for capture in captures { capture.stop() }
    for _ in 0..<40 where !captures.isEmpty { Thread.sleep(.milliseconds(25)) }
  }

  public var reports: [CaptureReport] {
    entries.withLock { entries in
      entries.map { entry in
        let counters = entry.capture.counters
        return CaptureReport(
          by: entry.by, what: entry.what, since: entry.since, packets: counters.captured, dropped: counters.dropped,
          bytes: counters.bytes)
      }
    }
  }
}
