import Control
import Kernel
import Primitives
import Synchronization

@testable import Proxy

/// Events of a control client in their order, to be waited for.
final class EventLog: Sendable {
  private struct State {
    var events: [ControlClientEvent] = []
    var taken = 0
  }

  private let state = Mutex(State())
  private let wakeup: Wakeup

  init() throws {
    wakeup = try Wakeup()
  }

  func append(_ event: ControlClientEvent) {
    state.withLock { $0.events.append(event) }
    wakeup.signal()
  }

  /// The next event.
  func next() throws -> ControlClientEvent {
    let deadline = soon
    while true {
      let event = state.withLock { state -> ControlClientEvent? in
        guard state.taken < state.events.count else { return nil }
        state.taken += 1
        return state.events[state.taken - 1]
      }
      if let event { return event }
      try wakeup.descriptor.wait(for: .readable, until: deadline)
      wakeup.clear()
    }
  }

  var count: Int { state.withLock { $0.events.count } }
}
