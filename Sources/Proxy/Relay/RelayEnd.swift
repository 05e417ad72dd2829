public import Kernel
import Synchronization

/// The two connections of a relay, in the order in which they were given.
public enum RelaySide: Int, Hashable, Sendable, CaseIterable {
  case first = 0
  case second = 1

  var other: RelaySide { self == .first ? .second : .first }
}

/// Why a relay ended.
public enum RelayEnd: Hashable, Sendable, CustomStringConvertible {
  /// Both ends have finished their direction, and all bytes were delivered to the kernel.
  case finished
  /// This end reset its connection, or closed it while bytes for it were on their way.
  case reset(RelaySide)
  /// This end answers no more.
  case timedOut(RelaySide)
  /// By `cancel`.
  case cancelled
  /// By `stop`.
  case stopped
  case failed(SystemError)

  public var description: String {
    switch self {
    case .finished: "finished"
    case .reset(let side): "reset by the \(side) end"
    case .timedOut(let side): "the \(side) end answers no more"
    case .cancelled: "cancelled"
    case .stopped: "the relay was stopped"
    case .failed(let error): "\(error)"
    }
  }
}

/// The live figures of one relay; any thread may read them. They lag by one round of the relay's thread.
public final class RelayMeter: Sendable {
  private let fromFirst = Atomic<UInt64>(0)
  private let fromSecond = Atomic<UInt64>(0)
  private let calls = Atomic<UInt64>(0)

  init() {}

  /// Bytes that one end has sent and the other's kernel has taken.
  public func bytes(from side: RelaySide) -> UInt64 {
    side == .first ? fromFirst.load(ordering: .relaxed) : fromSecond.load(ordering: .relaxed)
  }

  /// splice(2) calls that moved bytes, into the pipe and out of it.
  public var splices: UInt64 { calls.load(ordering: .relaxed) }

  /// Returns what is new since the last time.
  func publish(_ forward: borrowing RelayPump, _ backward: borrowing RelayPump) -> (bytes: UInt64, splices: UInt64) {
    let before = (bytes(from: .first) &+ bytes(from: .second), splices)
    fromFirst.store(forward.bytes, ordering: .relaxed)
    fromSecond.store(backward.bytes, ordering: .relaxed)
    calls.store(forward.splices &+ backward.splices, ordering: .relaxed)
    return (forward.bytes &+ backward.bytes &- before.0, splices &- before.1)
  }
}

/// What all relays of a `SpliceRelay` have done so far.
public struct RelayTotals: Hashable, Sendable {
  public var bytes: UInt64 = 0
  public var splices: UInt64 = 0
  /// Relays under way.
  public var active = 0
  /// Relays ever started.
  public var started: UInt64 = 0
  /// Pipes that exist, and those of them that are empty and kept for the next burst.
  public var pipes = 0
  public var idlePipes = 0
}
