import Framing
import Kernel
import Packet
import Primitives
import Proxy
import Stack
import Tun

/// The loop of an adapter: device, stack and sessions on one thread, with no queue between threads on the way of a byte.
struct AdapterLoop<Device: PacketDevice & ~Copyable>: ~Copyable {
  var device: Device
  let configuration: AdapterConfiguration
  let mailbox: Mailbox<AdapterCommand>
  let poller: Poller
  var pool: SlabPool
  var stack: Stack
  var transmit = Transmit()
  var table: AgentTable
  var sites = SlotTable<AttachedSite>()
  var siteIDs: [String: SlotID] = [:]
  /// The attached sites, in a list that is made when one comes or goes, not for each packet.
  var siteList: [SlotID] = []
  var bindings: SlotMap<FlowBinding>
  var bindingOfFlow: [FlowID: SlotID] = [:]
  var bindingOfEcho: [EchoKey: SlotID] = [:]
  var readLane = SlabLane()
  var refusals: RefusalLog
  var deviceIsReadable = true
  /// Memory was pressed and a flow was ended for it: to be looked at again at once.
  var relieved = false
  var isStopping = false
  var now: Instant
  var nextSweep: Instant
  let onFailure: @Sendable (TunError) -> Void

  private static var deviceToken: UInt64 { .max }
  private static var mailboxToken: UInt64 { .max - 1 }

  init(
    device: consuming Device, configuration: AdapterConfiguration, mailbox: Mailbox<AdapterCommand>,
    secret: (UInt64, UInt64), onFailure: @escaping @Sendable (TunError) -> Void
  ) throws(SystemError) {
    let poller = try Poller()
    try poller.add(mailbox.descriptor, token: Self.mailboxToken, for: .readable)
    if let descriptor = device.descriptor {
      try poller.add(descriptor, token: Self.deviceToken, for: [.readable, .edge])
    }
    var stackConfiguration = StackConfiguration()
    stackConfiguration.mtu = configuration.mtu
    stackConfiguration.checksumOffload = configuration.offloads
    stackConfiguration.segmentationOffload = configuration.offloads
    stackConfiguration.maximumReceiveWindow = configuration.session.maximumWindow
    stackConfiguration.initialReceiveCredit = SessionLimits.initialWindow
    stackConfiguration.limits = configuration.stack
    self.device = device
    self.configuration = configuration
    self.mailbox = mailbox
    self.poller = poller
    self.onFailure = onFailure
    pool = SlabPool(limit: configuration.slabs)
    stack = Stack(configuration: stackConfiguration, secret: secret)
    table = AgentTable(pool: configuration.aliases)
    bindings = SlotMap(
      limit: configuration.stack.tcpFlows + configuration.stack.udpFlows + configuration.echoFlows + 4096)
    refusals = RefusalLog(limit: configuration.rememberedRefusals)
    now = Clock.now
    nextSweep = now + .seconds(1)
    bindingOfFlow.reserveCapacity(1024)
  }

  /// Runs until `stop`, or until the device fails.
  mutating func run() {
    while !isStopping {
      writeDevice()
      flushSites()
      guard wait() else { break }
      handleTime()
      relieveMemory()
      readSites()
      readDevice()
    }
    close()
  }

  // MARK: Waiting

  private mutating func wait() -> Bool {
    var deadline = Instant.earliest(stack.nextDeadline, nextSweep)
    var hasWork = relieved || (deviceIsReadable && !pool.isPressed)
    for id in siteList {
      deadline = Instant.earliest(deadline, sites[id].peer.session.nextDeadline)
      if sites[id].peer.isReadable, !pool.isPressed { hasWork = true }
    }
    let count: Int
    do throws(SystemError) {
      count = try poller.wait(timeout: hasWork ? .zero : deadline.map { $0 - now })
    } catch {
      return false
    }
    now = Clock.now
    for index in 0..<count {
      let event = poller.event(index)
      switch event.token {
      case Self.deviceToken: deviceIsReadable = true
      case Self.mailboxToken: handleCommands()
      default:
        let id = SlotID(token: event.token)
        guard sites.contains(id) else { continue }
        sites[id].peer.became(event.readiness)
      }
    }
    return true
  }

  private mutating func handleTime() {
    if let deadline = stack.nextDeadline, now >= deadline {
      stack.handleTimeout(pool: &pool, now: now)
      takeStackEvents()
    }
    for id in siteList {
      if let deadline = sites[id].peer.session.nextDeadline, now >= deadline {
        do throws(SessionError) {
          try sites[id].peer.session.handleTimeout(now: now)
        } catch {
          endSite(id, .session(error))
        }
      }
    }
    guard now >= nextSweep else { return }
    nextSweep = now + .seconds(1)
    sweepEchoes()
    trim()
    for id in siteList {
      guard let deadline = sites[id].endDeadline, now >= deadline else { continue }
      endSite(id, .local("the site didn't answer the goodbye"))
    }
  }

  // MARK: The device

  private mutating func readDevice() {
    var budget = configuration.packetBurst
    while deviceIsReadable, budget > 0, !pool.isPressed {
      budget -= 1
      guard let region = pool.reserve(PacketLimits.size, in: &readLane) else { return }
      let read: PacketRead
      do throws(TunError) {
        read = try device.read(into: region, pool: &pool)
      } catch {
        onFailure(error)
        isStopping = true
        return
      }
      switch read {
      case .wouldBlock: deviceIsReadable = false
      case .dropped: continue
      case .packet(let packet, let offload):
        // The lane moves past the packet; what stands before it in the region (a vnet header) goes with it.
        let used = Int(packet.offset - region.offset) + packet.count
        let kept = pool.commit(region, count: used, in: &readLane)
        stack.receive(packet, offload: offload, pool: &pool, now: now)
        pool.release(kept)
        takeStackEvents()
      }
    }
  }

  private mutating func writeDevice() {
    while stack.nextTransmit(into: &transmit, pool: &pool, now: now) {
      do throws(TunError) {
        _ = try device.write(transmit, pool: &pool)
      } catch {
        onFailure(error)
        isStopping = true
      }
      transmit.clear(pool: &pool)
    }
  }

  // MARK: Memory

  /// Gives back what a flood of packets or flows has left behind.
  private mutating func trim() {
    pool.trim()
    var isTrimmed = [stack.trim(), bindings.trim(), bindingOfFlow.trim()].contains(true)
    for id in siteList where sites[id].peer.session.trim() { isTrimmed = true }
    if isTrimmed { ProcessResources.trimHeap() }
  }

  /// Ends the flow of one slow application while memory is pressed, so that everything else can be read on.
  ///
  /// Counts what lies in the pool for the application, whether its stream goes on or is finished.
  private mutating func relieveMemory() {
    relieved = false
    guard pool.isPressed else { return }
    var slowest: (id: SlotID, held: Int)?
    for id in bindings.ids {
      guard case .flow(let flow) = bindings[id].end, !flow.isDatagram else { continue }
      let held = stack.unacknowledged(flow)
      if held > slowest?.held ?? 0 { slowest = (id, held) }
    }
    guard let slowest else { return }
    relieved = true
    let binding = bindings[slowest.id]
    refusals.add(
      binding.transport, binding.destination, label: "slow reader",
      reason: "\(sites[binding.site].name)/\(binding.agent): cut because the application read too slowly", now: now)
    sites[binding.site].peer.session.resetSlowReader(binding.stream, pool: &pool)
    takeSessionEvents(binding.site)
    // A stream that was finished has no event.
    cut(slowest.id, .limit)
  }

  // MARK: Sessions

  private mutating func readSites() {
    for id in siteList {
      var budget = configuration.sessionReads
      while budget > 0, sites.contains(id), sites[id].peer.isReadable, !pool.isPressed {
        budget -= 1
        do throws(SessionEnd) {
          let more = try sites[id].peer.read(pool: &pool, now: now)
          takeSessionEvents(id)
          // What was opened leaves for the application while it is warm.
          writeDevice()
          if !more { break }
        } catch {
          takeSessionEvents(id)
          endSite(id, error)
        }
      }
    }
  }

  private mutating func flushSites() {
    for id in siteList where sites[id].peer.session.hasOutput || sites[id].peer.unsentBytes > 0 {
      do throws(SessionEnd) {
        try sites[id].peer.flush(pool: &pool, now: now)
      } catch {
        endSite(id, error)
      }
      // Sending the last FIN ends streams: before their slots are taken again.
      takeSessionEvents(id)
      if sites.contains(id), sites[id].peer.session.isFinished {
        endSite(id, .finished(sites[id].peer.session.peerGoodbye))
      }
    }
  }

  private mutating func close() {
    for id in siteList {
      sites[id].peer.session.end("the adapter is stopping")
      try? sites[id].peer.flush(pool: &pool, now: now)
      endSite(id, .local("the adapter is stopping"))
    }
    writeDevice()
    stack.removeAll(pool: &pool)
    transmit.clear(pool: &pool)
    pool.close(&readLane)
    for command in mailbox.close() { command.abandon() }
  }
}

extension PacketDevice where Self: ~Copyable {
  /// Writes a packet as the stack made it.
  mutating func write(_ transmit: borrowing Transmit, pool: inout SlabPool) throws(TunError) -> PacketWrite {
    try transmit.withHeader { header throws(TunError) in
      try write(transmit.offload, header: header, payload: transmit.payload.span, pool: &pool)
    }
  }
}
