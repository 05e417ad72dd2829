import Framing
import Primitives
import Proxy
import Stack

/// What the core tells about its flows.
extension AdapterCore {
  /// Tells what became of a flow that a session has or had.
  mutating func report(_ event: FlowReport.Event, _ binding: FlowBinding, now: Instant) {
    var report = FlowReport(
      event, connection: connection(of: binding), agent: binding.agent, protocol: binding.kind,
      port: binding.destination.port)
    report.site = sites.contains(binding.site) ? sites[binding.site].name : nil
    report.application = binding.application
    report.destination = binding.kind.transport == nil ? nil : binding.destination
    report.duration = now - binding.since
    report.dial = binding.dial
    if let outcome = stream(of: binding) {
      report.bytesFromDevice = outcome.bytesIn
      report.bytesToDevice = outcome.bytesOut
    }
    reports.add(report)
  }

  /// Tells of a flow that went to no session.
  mutating func reportDenial(
    _ reason: String, _ transport: TransportProtocol, from application: Endpoint, to destination: Endpoint
  ) {
    var report = FlowReport(
      .denied(reason), connection: nil, agent: nil, protocol: StreamProtocol(transport), port: destination.port)
    report.application = application
    report.destination = destination
    reports.add(report)
  }

  /// What the flow is called on both hosts.
  func connection(of binding: FlowBinding) -> ConnectionID? {
    guard sites.contains(binding.site) else { return nil }
    return sites[binding.site].session.map { ConnectionID($0, binding.stream) }
  }

  private func stream(of binding: FlowBinding) -> StreamStatus? {
    if let outcome = binding.outcome { return outcome }
    return sites.contains(binding.site) ? sites[binding.site].peer.session.status(of: binding.stream) : nil
  }

  /// The first `limit` flows that have a name.
  func describeFlows(limit: Int, now: Instant) -> [FlowStatus] {
    var all: [FlowStatus] = []
    for id in bindings.ids.prefix(limit) {
      guard let connection = connection(of: bindings[id]) else { continue }
      var status = FlowStatus(
        connection, agent: bindings[id].agent, protocol: bindings[id].kind,
        destination: bindings[id].kind.transport == nil ? nil : bindings[id].destination,
        age: now - bindings[id].since, stream: stream(of: bindings[id]), role: .link)
      status.site = sites[bindings[id].site].name
      status.application = bindings[id].application
      if case .flow(let flow) = bindings[id].end, !flow.isDatagram { status.waiting = stack.unacknowledged(flow) }
      all.append(status)
    }
    return all
  }
}

/// Reports of flows that wait for the core's owner.
///
/// A bound, since an owner may not want them, and a scan makes thousands between two turns.
struct FlowReports {
  static let limit = 1024

  private var waiting = RingQueue<FlowReport>(minimumCapacity: 16)
  private(set) var dropped: UInt64 = 0

  mutating func add(_ report: FlowReport) {
    guard waiting.count < Self.limit else {
      dropped += 1
      return
    }
    waiting.append(report)
  }

  mutating func next() -> FlowReport? {
    waiting.popFirst()
  }
}
