import Framing
import Packet
import Primitives
import Proxy
import Stack

/// An adapter without its descriptors: filter, stack and sessions, joined flow by flow.
///
/// A core without I/O. Packets, the bytes of sessions' connections and a `now` go in; packets, sealed bytes, events and
/// the next deadline come out. `AdapterLoop` drives it on a device and sockets, and a simulator in virtual time.
/// After packets or bytes were handed in, the owner takes what is to be sent: `nextTransmit`, and each site's output.
package struct AdapterCore: ~Copyable {
  package let configuration: AdapterConfiguration
  package var pool: SlabPool
  package var stack: Stack
  package var table: AgentTable
  package var sites = SlotTable<AttachedSite>()
  var siteIDs: [String: SlotID] = [:]
  /// The attached sites, in a list that is made when one comes or goes, not for each packet.
  package var siteList: [SlotID] = []
  var bindings: SlotMap<FlowBinding>
  var bindingOfFlow: [FlowID: SlotID] = [:]
  /// The binding of the flow whose datagram came last.
  var lastDatagramBinding = SlotID(token: 0)
  var bindingOfEcho: [EchoKey: SlotID] = [:]
  /// FTP control connections, by their binding.
  var ftp: [SlotID: FTPConnection] = [:]
  /// Data connections that devices have announced on them.
  var pinholes: FTPPinholes
  var refusals: RefusalLog
  /// Where the bytes of local streams are put.
  var localLane = SlabLane()
  var events = RingQueue<AdapterEvent>(minimumCapacity: 4)
  var reports = FlowReports()
  /// Of sessions that have ended.
  var totals = SessionTotals()
  private var nextSweep: Instant

  /// - Parameter secret: random bits, from which initial sequence numbers are derived.
  package init(configuration: AdapterConfiguration, secret: (UInt64, UInt64), now: Instant) {
    var stackConfiguration = StackConfiguration()
    stackConfiguration.mtu = configuration.mtu
    stackConfiguration.checksumOffload = configuration.offloads
    stackConfiguration.segmentationOffload = configuration.offloads
    stackConfiguration.maximumReceiveWindow = configuration.session.maximumWindow
    stackConfiguration.initialReceiveCredit = SessionLimits.initialWindow
    stackConfiguration.limits = configuration.stack
    self.configuration = configuration
    pool = SlabPool(limit: configuration.slabs)
    stack = Stack(configuration: stackConfiguration, secret: secret)
    table = AgentTable(pool: configuration.aliases)
    bindings = SlotMap(
      limit: configuration.stack.tcpFlows + configuration.stack.udpFlows + configuration.echoFlows
        + configuration.localStreams)
    pinholes = FTPPinholes(limits: configuration.ftp)
    refusals = RefusalLog(limit: configuration.rememberedRefusals)
    nextSweep = now + .seconds(1)
    bindingOfFlow.reserveCapacity(1024)
  }

  /// Flows that are joined with a stream of a session.
  package var flowCount: Int { bindings.count }

  /// Takes one IP packet, without a link or vnet header, and hands on what it carries. The caller keeps its reference.
  package mutating func receive(_ packet: Slice, offload: Offload, now: Instant) {
    stack.receive(packet, offload: offload, pool: &pool, now: now)
    takeStackEvents(now: now)
  }

  /// Acts on all deadlines that have come.
  package mutating func handleTimeout(now: Instant) {
    if let deadline = stack.nextDeadline, now >= deadline {
      stack.handleTimeout(pool: &pool, now: now)
      takeStackEvents(now: now)
    }
    for id in siteList {
      if let deadline = sites[id].peer.session.nextDeadline, now >= deadline {
        do throws(SessionError) {
          try sites[id].peer.session.handleTimeout(now: now)
        } catch {
          endSite(id, .session(error), now: now)
        }
      }
    }
    guard now >= nextSweep else { return }
    nextSweep = now + .seconds(1)
    sweepEchoes(now: now)
    trim()
    for id in siteList {
      sites[id].peer.session.sampleRates(now: now)
      guard let deadline = sites[id].endDeadline, now >= deadline else { continue }
      endSite(id, .local("the site didn't answer the goodbye"), now: now)
    }
  }

  /// Gives back what a flood of packets or flows has left behind.
  private mutating func trim() {
    pool.trim()
    var isTrimmed = [stack.trim(), bindings.trim(), bindingOfFlow.trim()].contains(true)
    for id in siteList where sites[id].peer.session.trim() { isTrimmed = true }
    if isTrimmed { events.append(.memoryReleased) }
  }

  /// When `handleTimeout` is next due.
  package var nextDeadline: Instant? {
    var deadline = Instant.earliest(stack.nextDeadline, nextSweep)
    for id in siteList { deadline = Instant.earliest(deadline, sites[id].peer.session.nextDeadline) }
    return deadline
  }

  /// Fills `transmit` with the next packet for the device; see `Stack.nextTransmit`.
  package mutating func nextTransmit(into transmit: inout Transmit, now: Instant) -> Bool {
    stack.nextTransmit(into: &transmit, pool: &pool, now: now)
  }

  /// The next event, oldest first.
  package mutating func nextEvent() -> AdapterEvent? {
    events.popFirst()
  }

  /// What became of a flow, oldest first.
  package mutating func nextReport() -> FlowReport? {
    reports.next()
  }

  /// Makes room while memory is pressed, so that everything else can be read on: first by letting go of what
  /// applications send again anyway, then by ending the flow of one slow application.
  ///
  /// Counts what lies in the pool for the application, whether its stream goes on or is finished.
  /// - Returns: whether a flow was ended; memory may still be pressed then, and is to be looked at again at once.
  ///   If none was while memory is pressed, what holds it goes by what the sessions' peers say: they are to be read.
  package mutating func relieveMemory(now: Instant) -> Bool {
    guard pool.isPressed else { return false }
    // Segments that wait for one before them could hold the very memory that it needs to be read.
    stack.dropUnordered(pool: &pool)
    guard pool.isPressed else { return false }
    var slowest: (id: SlotID, held: Int)?
    for id in bindings.ids {
      guard case .flow(let flow) = bindings[id].end, !flow.isDatagram else { continue }
      let held = stack.unacknowledged(flow)
      if held > slowest?.held ?? 0 { slowest = (id, held) }
    }
    guard let slowest, let transport = bindings[slowest.id].kind.transport else { return false }
    let binding = bindings[slowest.id]
    refusals.add(
      transport, binding.destination, label: "slow reader",
      reason: "\(sites[binding.site].name)/\(binding.agent): cut because the application read too slowly",
      connection: connection(of: binding), now: now)
    sites[binding.site].peer.session.resetSlowReader(binding.stream, pool: &pool)
    takeSessionEvents(binding.site, limitedBy: .link, now: now)
    // A stream that was finished has no event.
    cut(slowest.id, .limit, .limit(.link), now: now)
    return true
  }

  /// Cuts all flows and lets go of all memory. To be called before it is dropped.
  package mutating func close(now: Instant) {
    for id in siteList { endSite(id, .local("the adapter is stopping"), now: now) }
    stack.removeAll(pool: &pool)
    pool.close(&localLane)
  }
}

/// What an adapter's owner has to act on.
package enum AdapterEvent: Sendable {
  /// A site's session is over and everything of it is gone but its connection, which was given this name.
  case ended(connection: SlotID, SessionEnd)
  /// Many flows have ended and their memory was let go of: the C library would keep its pages.
  case memoryReleased
}
