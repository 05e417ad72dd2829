import Primitives
import Proxy
import Stack

/// Which rule decides about a packet, and what happened to the latest flow like it.
public struct Explanation: Sendable, CustomStringConvertible {
  public let transport: TransportProtocol
  public let destination: Endpoint
  public let verdict: Verdict
  /// The last time that a flow to this destination was refused, by the filter, the site or the device.
  public let lastRefusal: AdapterStatus.RefusedFlow?

  public var isPermitted: Bool {
    if case .permitted = verdict { return true }
    return false
  }

  /// One line that a technician understands.
  public var description: String {
    let what = transport == .icmp ? "ping \(destination.address)" : "\(transport) \(destination)"
    var text: String
    switch verdict {
    case .permitted(let alias, let offset):
      let host = offset.map { " (host \($0) of its subnet)" } ?? ""
      text = "\(what): permitted by agent \(alias.name)\(host)"
    case .denied(let denial): text = "\(what): denied: \(denial)"
    }
    if let lastRefusal, isPermitted {
      text += "; last refused: \(lastRefusal.reason)"
      if let connection = lastRefusal.connection { text += " (flow \(connection))" }
    }
    return text
  }
}

extension AdapterCore {
  func explain(_ transport: TransportProtocol, _ destination: Endpoint) -> Explanation {
    Explanation(
      transport: transport, destination: destination, verdict: table.verdict(transport, destination),
      lastRefusal: refusals.entries.last { $0.transport == transport && $0.destination == destination })
  }

  /// All but what only the device knows.
  var status: AdapterStatus {
    var status = AdapterStatus()
    status.totals = totals
    for id in siteList {
      var site = AdapterStatus.Site()
      site.name = sites[id].name
      site.since = sites[id].since
      site.flowsByAgent = sites[id].flowsByAgent
      sites[id].peer.describe(into: &site.session)
      status.totals.add(site.session)
      status.sites.append(site)
    }
    status.sites.sort { $0.name < $1.name }
    status.tcpFlows = stack.connectionCount
    status.udpFlows = stack.datagramFlowCount
    status.echoFlows = bindingOfEcho.count
    let counters = stack.counters
    status.payloadBytesIn = counters.payloadBytesIn
    status.segmentsIn = counters.segmentsIn
    status.payloadBytesOut = counters.payloadBytesOut
    status.segmentsOut = counters.segmentsOut
    status.retransmits = counters.retransmittedSegments
    for reason in DropReason.allCases where counters.dropped(reason) > 0 {
      status.drops["\(reason)"] = counters.dropped(reason)
    }
    status.refusals = refusals.counts
    status.recentRefusals = refusals.entries
    status.pool = pool.status
    status.halfOpen = stack.halfOpenCount
    status.timeWait = stack.timeWaitCount
    status.packetsIn = counters.packetsIn
    status.packetsOut = counters.packetsOut
    status.reportsDropped = reports.dropped
    return status
  }
}
