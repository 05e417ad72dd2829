import Kernel
import Packet
import Primitives
import Proxy
import Stack
import Tun

/// Drives an `AdapterCore` on a device and sessions' sockets: one thread, with no queue between threads on the way of
/// a byte.
struct AdapterLoop<Device: PacketDevice & ~Copyable>: ~Copyable {
  var device: Device
  let configuration: AdapterConfiguration
  let mailbox: Mailbox<AdapterCommand>
  let poller: Poller
  var core: AdapterCore
  var connections = SlotTable<SiteConnection>()
  private var transmit = Transmit()
  /// Whether packets wait that the last burst of small ones left behind, and bursts since sessions were sent last.
  private var hasMore = false
  private var bursts = 0
  private var readLane = SlabLane()
  /// TAP devices of Layer 2 agents, and where their frames are put.
  var links = EthernetLinks()
  var frameLane = SlabLane()
  var deviceIsReadable = true
  /// Whether packets are captured.
  var isTapped = false
  /// When a lost device is to be opened next; `nil` while there is one.
  var nextOpening: Instant?
  /// The last reason why the device couldn't be opened or repaired.
  var complaint: TunError?
  /// What the pool can't be used beside, as it was last told.
  var clash: AdapterError?
  /// Memory was pressed and a flow was ended for it: to be looked at again at once.
  private var relieved = false
  var isStopping = false
  private(set) var now: Instant
  let onFailure: @Sendable (TunError) -> Void
  private let onFlow: @Sendable (FlowReport) -> Void
  let upkeep: DeviceUpkeep<Device>?

  static var deviceToken: UInt64 { .max }
  private static var mailboxToken: UInt64 { .max - 1 }

  init(
    device: consuming Device, configuration: AdapterConfiguration, mailbox: Mailbox<AdapterCommand>,
    secret: (UInt64, UInt64), upkeep: DeviceUpkeep<Device>?, onFailure: @escaping @Sendable (TunError) -> Void,
    onFlow: @escaping @Sendable (FlowReport) -> Void
  ) throws(SystemError) {
    let poller = try Poller()
    try poller.add(mailbox.descriptor, token: Self.mailboxToken, for: .readable)
    if let descriptor = device.descriptor {
      try poller.add(descriptor, token: Self.deviceToken, for: [.readable, .edge])
    }
    self.device = device
    self.configuration = configuration
    self.mailbox = mailbox
    self.poller = poller
    self.upkeep = upkeep
    self.onFailure = onFailure
    self.onFlow = onFlow
    now = Clock.now
    core = AdapterCore(configuration: configuration, secret: secret, now: now)
  }

  /// Runs until `stop`, or until a device fails that can't be opened anew; gives the last figures.
  mutating func run() -> AdapterStatus {
    keepOutOfHostNetworks()
    while !isStopping {
      handleFrames()
      writeDevice()
      // Small packets that wait already share records, and a system call, with those that were read.
      if !hasMore || bursts >= configuration.gatheredBursts { flushSites() }
      relieved = core.relieveMemory(now: now)
      handleEvents()
      tellReports()
      guard wait() else { break }
      core.handleTimeout(now: now)
      reopen()
      sweepLinks()
      readSites()
      readDevice()
      readLinks()
    }
    close()
    return status
  }

  // MARK: Waiting

  private mutating func wait() -> Bool {
    var hasWork = relieved || (deviceIsReadable && nextOpening == nil && !core.pool.isPressed)
    if links.hasWork, !core.pool.isPressed { hasWork = true }
    for id in core.siteList where canReadSites && connections[core.sites[id].connection].peer.isReadable {
      hasWork = true
    }
    let count: Int
    let deadline = Instant.earliest(core.nextDeadline, nextOpening)
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
      case let token where token & EthernetLinks.tokenBit != 0: linkReady(token)
      default:
        let id = SlotID(token: event.token)
        if connections.contains(id) { connections[id].peer.became(event.readiness) }
      }
    }
    return true
  }

  /// Whether sessions are read. Not while flows are cut for memory, since what is read might be for one of them. But if
  /// there was none to cut, memory comes back by the credits and pongs that the peers send, as long as there is any.
  private var canReadSites: Bool {
    !core.pool.isPressed || !(relieved || core.pool.isExhausted)
  }

  // MARK: The device

  private mutating func readDevice() {
    var budget = configuration.packetBurst
    var bytes = configuration.byteBurst
    bursts += 1
    defer { hasMore = budget == 0 && deviceIsReadable }
    while deviceIsReadable, nextOpening == nil, budget > 0, bytes > 0, !core.pool.isPressed {
      budget -= 1
      guard let region = core.pool.reserve(PacketLimits.size, in: &readLane) else { return }
      let read: PacketRead
      do throws(TunError) {
        read = try device.read(into: region, pool: &core.pool)
      } catch {
        return lose(error)
      }
      switch read {
      case .wouldBlock: deviceIsReadable = false
      case .dropped: continue
      case .packet(let packet, let offload):
        let kept = core.pool.commit(region, through: packet, in: &readLane)
        bytes -= kept.count
        if isTapped {
          core.receiveTapped(kept, offload: offload, at: Clock.unixNanoseconds, now: now)
        } else {
          core.receive(kept, offload: offload, now: now)
        }
        core.pool.release(kept)
      }
    }
  }

  private mutating func writeDevice() {
    while core.nextTransmit(into: &transmit, now: now) {
      if isTapped { core.tap(transmit, at: Clock.unixNanoseconds) }
      do throws(TunError) {
        // Without a device packets are lost, as on a wire, and those that matter are sent again.
        if nextOpening == nil { _ = try device.write(transmit, pool: &core.pool) }
      } catch {
        lose(error)
      }
      transmit.clear(pool: &core.pool)
    }
  }

  // MARK: Sessions

  private mutating func readSites() {
    for id in core.siteList {
      var budget = configuration.sessionReads
      while budget > 0, core.sites.contains(id), canReadSites {
        let connection = core.sites[id].connection
        guard connections[connection].peer.isReadable else { break }
        budget -= 1
        do throws(SessionEnd) {
          let more = try connections[connection].peer.read(
            into: &core.sites[id].peer, pool: &core.pool, now: now)
          core.takeEvents(of: id, now: now)
          handleFrames()
          // What was opened leaves for the application while it is warm.
          writeDevice()
          if !more { break }
        } catch {
          core.takeEvents(of: id, now: now)
          core.endSite(id, error, now: now)
        }
      }
    }
  }

  private mutating func flushSites() {
    bursts = 0
    for id in core.siteList where core.sites[id].peer.hasOutput {
      do throws(SessionEnd) {
        try connections[core.sites[id].connection].peer.flush(
          &core.sites[id].peer, pool: &core.pool, now: now)
      } catch {
        core.endSite(id, error, now: now)
      }
      core.sealed(id, now: now)
    }
  }

  /// Closes the connections of sessions that are over, and tells who attached them.
  private mutating func handleEvents() {
    while let event = core.nextEvent() {
      switch event {
      case .ended(let id, let end):
        guard let connection = connections.remove(id) else { continue }
        let onEnd = connection.onEnd
        _ = consume connection
        onEnd(end)
      case .memoryReleased: Heap.trim()
      }
    }
  }

  private mutating func tellReports() {
    while let report = core.nextReport() { onFlow(report) }
  }

  private mutating func close() {
    for id in core.siteList {
      core.sites[id].peer.session.end("the adapter is stopping")
      try? connections[core.sites[id].connection].peer.flush(
        &core.sites[id].peer, pool: &core.pool, now: now)
      core.endSite(id, .local("the adapter is stopping"), now: now)
    }
    handleEvents()
    tellReports()
    writeDevice()
    transmit.clear(pool: &core.pool)
    closeLinks()
    core.close(now: now)
    core.pool.close(&readLane)
    for command in mailbox.close() { command.abandon() }
  }
}

/// The connection of an attached site, and whom to tell when its session has ended.
struct SiteConnection: ~Copyable {
  var peer: SessionSocket
  let onEnd: @Sendable (SessionEnd) -> Void
}

extension PacketDevice where Self: ~Copyable {
  /// Writes a packet as the stack made it.
  mutating func write(_ transmit: borrowing Transmit, pool: inout SlabPool) throws(TunError) -> PacketWrite {
    try transmit.withHeader { header throws(TunError) in
      try write(transmit.offload, header: header, payload: transmit.payload.span, pool: &pool)
    }
  }
}
