import Primitives

/// What a world came to.
package struct Outcome: Sendable {
  package let seed: UInt64
  package var connections = 0
  /// Every byte of both directions has arrived, and both ends have seen that.
  package var complete = 0
  /// Ended by an error that both ends saw, or made.
  package var failed = 0
  /// Never opened.
  package var refused = 0
  /// Over for one end, both directions and in order, before the other one's trouble: TCP has no way to tell it then.
  package var late = 0
  package var bytes = 0
  package var steps = 0
  package var time = Interval.zero
  package var digest: UInt64 = 0
  package var problems: [String] = []

  init(seed: UInt64) {
    self.seed = seed
  }
}

extension World {
  /// What must be true of each connection once all is over.
  func judge(_ outcome: inout Outcome, _ problems: [String]) {
    outcome.connections = connections.count
    outcome.problems = problems
    for (index, connection) in connections.enumerated() {
      let devices = connection.dials.map { dials[$0].device }.filter { $0.openedAt != nil }
      outcome.bytes += connection.application.received + devices.reduce(0) { $0 + $1.received }
      // A SYN that comes late, or again, leads to another dial, whose connection nobody at the application's end has.
      let device =
        devices.first { $0.isComplete } ?? devices.first { $0.received > 0 || $0.sawFinish }
        ?? devices.max { $0.sent < $1.sent }
      var flaws: [String] = []
      if let device {
        judge(index, connection.application, device, &flaws, &outcome)
        let strangers = devices.count { $0.sawFinish || $0.received > 0 }
        if strangers > 1 { flaws.append("\(strangers) dials had something of it") }
      } else {
        outcome.refused += 1
        if connection.application.sawFinish { flaws.append("an end that nobody sent") }
        if !connection.application.isOver { flaws.append("the application sees no end") }
      }
      guard !flaws.isEmpty else { continue }
      let other = device.map { "\($0)" } ?? "never reached"
      outcome.problems.append(
        "connection \(index): \(flaws.joined(separator: ", "))\n    application: \(connection.application)"
          + "\n    device: \(other)")
    }
  }

  private func judge(
    _ index: Int, _ application: Actor, _ device: Actor, _ flaws: inout [String], _ outcome: inout Outcome
  ) {
    if let mismatch = application.mismatch { flaws.append("the application read \(mismatch)") }
    if let mismatch = device.mismatch { flaws.append("the device read \(mismatch)") }
    if application.sawFinish, !device.hasFinished || application.received != device.sent {
      flaws.append("the application took a cut for the end")
    }
    if device.sawFinish, !application.hasFinished || device.received != application.sent {
      flaws.append("the device took a cut for the end")
    }
    if application.received > device.sent || device.received > application.sent {
      flaws.append("bytes that nobody sent")
    }
    // Who has closed its socket asks for no more.
    if !application.isOver, !application.hasClosed { flaws.append("the application sees no end") }
    if !device.isOver, !device.hasClosed { flaws.append("the device sees no end") }
    switch (application.isComplete, device.isComplete) {
    case (true, true): outcome.complete += 1
    case (false, false): outcome.failed += 1
    default: outcome.late += 1
    }
    guard plan.incident == nil, plan.linkSlabs > 100, plan.siteSlabs > 100, !isSilent(index) else { return }
    // Without an incident, only an end that breaks off can be the reason for an error, at its own end first.
    // An end has to come by itself, not when the other end has lost its patience.
    if plan.link.loss == 0, plan.link.corruption == 0 {
      if isLate(application, device) { flaws.append("the end came late to the device") }
      if isLate(device, application) { flaws.append("the end came late to the application") }
    }
    let hasFailed = !application.isComplete || !device.isComplete
    let hasReason = application.hasBrokenOff || device.hasBrokenOff
    if hasFailed, !hasReason, connections[index].plan.dial == .accept { flaws.append("there was no reason to fail") }
  }

  /// Whether the end of a few bytes took long to come to one who reads at once.
  private func isLate(_ sender: Actor, _ receiver: Actor) -> Bool {
    guard let sent = sender.finishedAt, let seen = receiver.sawFinishAt else { return false }
    return sender.sent < 20_000 && receiver.plan.readPause == .zero && receiver.plan.buffer >= 1 << 14
      && seen - sent > .seconds(40)
  }

  /// Whether the line has lost so much that an end was given up.
  private func isSilent(_ index: Int) -> Bool {
    guard plan.link.loss > 0 || plan.link.corruption > 0 else { return false }
    return connections[index].application.failure == .timedOut || link.silentPorts.contains(Self.port(of: index))
  }
}
