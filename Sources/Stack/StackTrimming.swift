import Primitives

/// What a stack gives back when a flood of flows has drained.
extension Stack {
  /// Gives back the memory of flows that have ended, once most have. For a timer.
  ///
  /// - Returns: whether there was any.
  public mutating func trim() -> Bool {
    [
      connections.trim(), datagramFlows.trim(), flows.trim(), connectionTimers.trim(), datagramTimers.trim(),
      timeWait.trim(), ready.trim(), context.events.trim(), context.outgoing.trim(),
    ].contains(true)
  }
}
