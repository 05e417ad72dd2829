import Primitives

/// What a world came to.
package struct Outcome: Sendable {
  package let seed: UInt64
  package var connections = 0
  /// Both directions complete at both ends.
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
      let application = connection.application
      let devices = connection.dials.map { dials[$0].device }
      let device = devices.last { $0.openedAt != nil }
      func complain(_ what: String) {
        let other = device.map { "\($0)" } ?? "never reached"
        outcome.problems.append("connection \(index): \(what)\n    application: \(application)\n    device: \(other)")
      }
      outcome.bytes += application.received
      for device in devices { outcome.bytes += device.received }
      if let mismatch = application.mismatch { complain("the application read \(mismatch)") }
      if let mismatch = device?.mismatch { complain("the device read \(mismatch)") }
      for earlier in devices.dropLast() where earlier.isClean || earlier.received > 0 {
        if earlier.openedAt != device?.openedAt { complain("an earlier dial came to \(earlier)") }
      }
      guard let device else {
        if application.isClean || application.sawFinish { complain("an end that nobody sent") }
        if !application.isOver { complain("the application sees no end") }
        outcome.refused += 1
        continue
      }
      if application.sawFinish, !device.hasFinished || application.received != device.sent {
        complain("the application took a cut for the end")
      }
      if device.sawFinish, !application.hasFinished || device.received != application.sent {
        complain("the device took a cut for the end")
      }
      if application.received > device.sent || device.received > application.sent { complain("bytes that nobody sent") }
      guard application.isOver || application.hasClosed else { complain("the application sees no end"); continue }
      guard device.isOver || device.hasClosed else { complain("the device sees no end"); continue }
      switch (application.isClean, device.isClean) {
      case (true, true): outcome.complete += 1
      case (false, false): outcome.failed += 1
      default: outcome.late += 1
      }
      if isOrderly(connection.plan), !(application.isClean && device.isClean) {
        let isSlowLink = plan.link.loss > 0 && application.failure == .timedOut
        if !isSlowLink { complain("an orderly connection failed") }
      }
    }
  }

  /// Whether nothing in the plan is a reason for an error.
  private func isOrderly(_ connection: ConnectionPlan) -> Bool {
    plan.incident == nil && plan.linkSlabs > 100 && plan.siteSlabs > 100 && connection.dial == .accept
      && connection.application.ending.isOrderly && connection.device.ending.isOrderly
  }
}

extension ActorPlan.Ending {
  var isOrderly: Bool {
    switch self {
    case .finishWhenSent, .finishAfterPeer, .finishAtRead: true
    default: false
    }
  }
}
