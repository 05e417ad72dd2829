internal import Kernel
internal import Primitives
import Synchronization

/// Lets a thread of ours wait for asynchronous work. Never from within a task: it would hold up a thread of the pool.
public func synchronously<Result: Sendable>(
  _ work: @escaping @Sendable () async -> Result
) throws(CommandFailure) -> Result {
  let outcome: Outcome<Result>
  do throws(SystemError) {
    outcome = try Outcome()
  } catch {
    throw CommandFailure(.system, "\(error)")
  }
  Task {
    outcome.finish(await work())
  }
  return outcome.wait()
}

private final class Outcome<Result: Sendable>: Sendable {
  private let result = Mutex<Result?>(nil)
  private let done: Wakeup

  init() throws(SystemError) {
    done = try Wakeup()
  }

  func finish(_ value: Result) {
    result.withLock { $0 = value }
    done.signal()
  }

  func wait() -> Result {
    while true {
      if let value = result.withLock({ $0 }) { return value }
      try? done.descriptor.wait(for: .readable, until: Clock.now + .seconds(60))
    }
  }
}
