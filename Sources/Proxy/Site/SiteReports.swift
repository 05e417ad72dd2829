import Framing
import Kernel
import Primitives

/// What a session on the site's side tells about its flows.
extension SiteLoop {
  /// Tells whoever logs what became of a flow.
  func report(_ event: FlowReport.Event, _ key: SlotID) {
    var report = FlowReport(
      event, connection: ConnectionID(id, flows[key].id), agent: flows[key].agent, protocol: flows[key].kind,
      port: flows[key].target.port)
    report.destination = flows[key].kind.transport == nil ? nil : flows[key].target
    report.duration = now - flows[key].since
    report.dial = flows[key].dial
    report.bytesFromDevice = flows[key].bytesFromDevice
    report.bytesToDevice = flows[key].bytesToDevice
    onFlow(report)
  }

  /// The same for a flow that was refused before anything was dialled.
  func report(_ refusal: Refusal, of request: OpenRequest, _ stream: StreamID) {
    onFlow(
      FlowReport(
        .refused(refusal), connection: ConnectionID(id, stream), agent: request.agent, protocol: request.protocol,
        port: request.port))
  }

  /// The first `limit` flows, in no particular order.
  func describeFlows(limit: Int) -> [FlowStatus] {
    flows.ids.prefix(limit).map { key in
      var status = FlowStatus(
        ConnectionID(id, flows[key].id), agent: flows[key].agent, protocol: flows[key].kind,
        destination: flows[key].kind.transport == nil ? nil : flows[key].target, age: now - flows[key].since,
        stream: flows[key].stream.isDraining ? nil : peer.session.status(of: flows[key].id), role: .site)
      status.bytesFromDevice = flows[key].bytesFromDevice
      status.bytesToDevice = flows[key].bytesToDevice
      status.waiting = flows[key].stream.pending.byteCount
      return status
    }
  }

  mutating func publishStatus(_ publish: (SessionStatus) -> Void) {
    guard now >= nextPublication else { return }
    nextPublication = now + .milliseconds(200)
    peer.describe(into: &status)
    status.queues.kernel = connection.unacknowledgedBytes
    status.time = now
    status.pool = pool.status
    publish(status)
  }
}
