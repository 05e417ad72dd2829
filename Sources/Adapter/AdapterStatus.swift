import Primitives
import Proxy
import Stack
import Tun

/// What an adapter tells about itself. A snapshot.
public struct AdapterStatus: Sendable {
  /// One connected site.
  public struct Site: Sendable {
    public var name = ""
    public var session = SessionStatus()
    public var since = Instant.zero
    public var flowsByAgent: [String: Int] = [:]
  }

  /// A flow that was not let through, or that the site refused.
  public struct RefusedFlow: Sendable, Hashable {
    public var transport: TransportProtocol
    public var destination: Endpoint
    /// Which rule, agent, grant or hop said no.
    public var reason: String
    public var count: UInt64
    public var last: Instant
    /// The latest of them in the logs of both hosts; `nil` if it never left this one.
    public var connection: ConnectionID?
  }

  public var sites: [Site] = []
  public var device = DeviceCounters()
  public var tcpFlows = 0
  public var udpFlows = 0
  public var echoFlows = 0
  /// TCP payload from applications: bytes and segments, super-segments counting as one.
  public var payloadBytesIn: UInt64 = 0
  public var segmentsIn: UInt64 = 0
  /// TCP payload to applications.
  public var payloadBytesOut: UInt64 = 0
  public var segmentsOut: UInt64 = 0
  public var retransmits: UInt64 = 0
  /// Packets dropped by the stack, by reason.
  public var drops: [String: UInt64] = [:]
  /// Flows denied or refused, by reason.
  public var refusals: [String: UInt64] = [:]
  public var recentRefusals: [RefusedFlow] = []
  public var pool = PoolStatus()
  /// TCP connections whose handshake isn't over, and those in TIME-WAIT.
  public var halfOpen = 0
  public var timeWait = 0
  /// Packets from and to applications.
  public var packetsIn: UInt64 = 0
  public var packetsOut: UInt64 = 0
  /// Since the adapter began, sessions that have ended included.
  public var totals = SessionTotals()
  /// Layer 2 agents, with their TAP devices.
  public var ethernet: [EthernetStatus] = []
  /// Reports of flows that nobody took in time.
  public var reportsDropped: UInt64 = 0

  public init() {}
}

/// The latest refusals, one entry for each kind, oldest first.
struct RefusalLog {
  private(set) var entries: [AdapterStatus.RefusedFlow] = []
  private(set) var counts: [String: UInt64] = [:]
  private let limit: Int

  init(limit: Int) {
    self.limit = limit
  }

  mutating func add(
    _ transport: TransportProtocol, _ destination: Endpoint, label: String, reason: String, connection: ConnectionID?,
    now: Instant
  ) {
    counts[label, default: 0] += 1
    if let index = entries.firstIndex(where: {
      $0.transport == transport && $0.destination == destination && $0.reason == reason
    }) {
      var entry = entries.remove(at: index)
      entry.count += 1
      entry.last = now
      entry.connection = connection
      entries.append(entry)
      return
    }
    if entries.count >= limit { entries.removeFirst() }
    entries.append(
      AdapterStatus.RefusedFlow(
        transport: transport, destination: destination, reason: reason, count: 1, last: now, connection: connection))
  }
}
