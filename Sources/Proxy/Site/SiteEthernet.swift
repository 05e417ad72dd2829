import Framing
import Kernel
import Packet
import Primitives
import Tun

/// Frames between interfaces of the site and sessions.
extension SiteLoop {
  /// Frames of one interface that are read before others get their turn, and bytes of them.
  private static var frameBurst: Int { 64 }
  private static var frameBytes: Int { 512 * 1024 }

  // MARK: Opening and closing

  mutating func openEthernet(_ id: StreamID, _ request: OpenRequest) throws(Refusal) {
    let permitted = try policy.rule(for: request, now: now)
    guard endReason == nil else { throw Refusal(.sessionEnded) }
    guard let interface = permitted.interface, let access = interface.access.ethernet, let rule = EthernetRule(access)
    else { throw Refusal(.siteError, "agent \(permitted.agent) has no usable rule for frames") }
    guard ethernet.keys.count < EthernetFlows.limit else {
      throw Refusal(.tooMany, "\(EthernetFlows.limit) interfaces are open in this session")
    }
    var flow = EthernetFlow(id: id, agent: request.agent, interface: interface.name, rule: rule, since: now)
    do throws(TunError) {
      try startWatching()
      try flow.open()
    } catch {
      // One that isn't there comes up later; what else keeps it from being opened, doesn't go away.
      guard error.notFound || error.isDown else { throw Refusal(.siteError, "\(error)") }
    }
    let key = ethernet.insert(flow)
    status.flowsByAgent[request.agent, default: 0] += 1
    reportEthernet(.opened(.zero), key)
    peer.session.accept(id)
    watchPort(key)
    refreshState(key, links: Self.hostLinks, tells: true)
  }

  private mutating func startWatching() throws(TunError) {
    guard ethernet.watcher == nil else { return }
    let watcher = try HostNetworkWatcher()
    do throws(SystemError) {
      try poller.add(watcher.descriptor, token: Self.watcherToken, for: .readable)
    } catch {
      throw TunError(call: error.call, device: error.subject, cause: .system(error.code))
    }
    ethernet.watcher = consume watcher
  }

  private mutating func watchPort(_ key: SlotID) {
    guard let descriptor = ethernet.table[key].port?.descriptor else { return }
    do throws(SystemError) {
      try poller.add(descriptor, token: key.token | EthernetFlows.tokenBit, for: [.readable, .writable, .edge])
    } catch {
      ethernet.table[key].close()
    }
  }

  /// - Parameter end: for the log.
  mutating func dropEthernet(_ key: SlotID, _ end: FlowEnd) {
    guard ethernet.table.contains(key) else { return }
    ethernet.table[key].close()
    reportEthernet(.ended(end), key)
    ethernet.table[key].inbox.removeAll(pool: &pool)
    status.flowsByAgent[ethernet.table[key].agent, default: 1] -= 1
    _ = ethernet.remove(key)
  }

  /// Cuts the connections whose rules have changed; the LinkManager opens them again by the new ones.
  mutating func cutForbiddenEthernet() {
    for key in ethernet.keys {
      let request = OpenRequest(agent: ethernet.table[key].agent, protocol: .ethernet)
      let rule = try? policy.rule(for: request, now: now)
      if let interface = rule?.interface, let access = interface.access.ethernet,
        EthernetRule(access) == ethernet.table[key].rule,
        interface.name == ethernet.table[key].interface
      {
        continue
      }
      peer.session.reset(ethernet.table[key].id, .revoked, pool: &pool)
      dropEthernet(key, .revoked)
    }
  }

  mutating func endEthernet() {
    for key in ethernet.keys {
      peer.session.reset(ethernet.table[key].id, .revoked, pool: &pool)
      dropEthernet(key, .sessionEnded)
    }
  }

  // MARK: The interface's state

  /// Something has changed about the host's links.
  mutating func readWatcher() {
    var isChanged = false
    while true {
      let event = try? ethernet.watcher?.next()
      guard let event = event ?? nil else { break }
      switch event {
      case .linkChanged, .linkRemoved, .overrun: isChanged = true
      default: break
      }
    }
    if isChanged { refreshEthernet() }
  }

  /// Opens what was closed, and tells of what has changed.
  private mutating func refreshEthernet() {
    ethernet.needsRefresh = false
    let links = Self.hostLinks
    for key in ethernet.keys { refreshState(key, links: links, tells: false) }
  }

  private static var hostLinks: [Link] { (try? RouteSocket().links()) ?? [] }

  private mutating func refreshState(_ key: SlotID, links: [Link], tells: Bool) {
    var state = EthernetLinkState(.gone)
    if let link = links.first(where: { $0.name == ethernet.table[key].interface }) {
      state = EthernetLinkState(!link.isUp ? .down : link.isRunning ? .up : .noCarrier, mtu: link.mtu)
      // Another one has the name now.
      if let index = ethernet.table[key].port?.index, index != link.index { ethernet.table[key].close() }
      if link.isUp, ethernet.table[key].port == nil {
        do throws(TunError) {
          try ethernet.table[key].open()
          watchPort(key)
        } catch {
          state.condition = .down
          ethernet.needsRefresh = true
        }
      }
    }
    if !(state.condition == .up || state.condition == .noCarrier) { ethernet.table[key].close() }
    let id = ethernet.table[key].id
    guard tells || state != ethernet.table[key].state else { return }
    var lane = SlabLane()
    if peer.session.sendCredit(id) >= EthernetLinkState.size, let slice = pool.copy(state.bytes.span, in: &lane) {
      ethernet.table[key].state = state
      try? peer.session.send(id, slice, pool: &pool)
    } else {
      // Without credit, or memory, it is told by the next sweep.
      ethernet.needsRefresh = true
    }
    pool.close(&lane)
  }

  // MARK: Peer to interface

  /// Takes an event of a stream with frames. `false` if it is another's.
  ///
  /// - Parameter limiter: who it was if a stream was cut because of a bound.
  mutating func takeEthernetEvent(_ event: SessionEvent, limitedBy limiter: FlowEnd.Party) -> Bool {
    switch event {
    case .ethernet(let id, let slice, let isContinued):
      guard let key = ethernet.key(of: id) else {
        pool.release(slice)
        return true
      }
      ethernet.table[key].inbox.append(slice, isContinued: isContinued, pool: &pool)
      return true
    case .writable(let id):
      guard let key = ethernet.key(of: id) else { return false }
      ethernet.table[key].waitsForCredit = false
      ethernet.hasWork = true
      return true
    case .finished(let id):
      guard ethernet.key(of: id) != nil else { return false }
      peer.session.finish(id)
      return true
    case .reset(let id, let code):
      guard let key = ethernet.key(of: id) else { return false }
      dropEthernet(key, FlowEnd(code, from: .application, at: limiter, .ethernet))
      return true
    case .closed(let id):
      guard let key = ethernet.key(of: id) else { return false }
      dropEthernet(key, .finished)
      return true
    default: return false
    }
  }

  /// Sends what has come for interfaces, as far as they take it.
  mutating func deliverFrames() {
    ethernet.retry = nil
    for key in ethernet.keys {
      while ethernet.table.contains(key), !ethernet.table[key].inbox.isEmpty, deliverFrame(key) {}
    }
  }

  /// `false` when the interface has to be waited for.
  private mutating func deliverFrame(_ key: SlotID) -> Bool {
    let id = ethernet.table[key].id
    let seen = isTapped ? ethernet.table[key].inbox.tapped(pool: &pool) : nil
    defer { seen?.release(pool: &pool) }
    do throws(TunError) {
      switch try ethernet.table[key].deliver(pool: &pool, now: now) {
      case .none: return false
      case .blocked: return waitForRoom(key)
      case .state(let count, _): peer.session.consumed(id, count, now: now)
      case .malformed(let count):
        ethernet.table[key].dropped &+= 1
        peer.session.consumed(id, count, now: now)
      case .frame(let count, let verdict, let write, let source):
        ethernet.table[key].blockedSince = nil
        peer.session.consumed(id, count, now: now)
        if let seen { tap(seen, .outbound, verdict, loss: write.loss, of: key) }
        switch verdict {
        case .pass:
          if write == .written {
            ethernet.table[key].bytesToDevice &+= UInt64(count - VirtioNetHeader.size)
            status.payloadWrites += 1
            status.payloadWriteBytes += UInt64(count)
          } else {
            ethernet.table[key].dropped &+= 1
          }
          ethernet.table[key].receive(for: source)
        case .refuse(let reason):
          if ethernet.table[key].pace.isDue(reason, .toSite, now: now) {
            reportEthernet(.denied("\(reason), from \(source) on the PC's side"), key)
          }
        case .cut: cutLoop(key)
        }
      }
    } catch {
      // It would fail again.
      giveUpFirst(key)
      losePort(key)
    }
    return true
  }

  /// Loses the first frame that waits for an interface.
  private mutating func giveUpFirst(_ key: SlotID) {
    let count = ethernet.table[key].inbox.dropFirst(pool: &pool)
    ethernet.table[key].dropped &+= 1
    peer.session.consumed(ethernet.table[key].id, count, now: now)
  }

  /// A full interface gets its time, as a switch's buffer would; then frames are lost there.
  ///
  /// - Returns: whether to go on.
  private mutating func waitForRoom(_ key: SlotID) -> Bool {
    let since = ethernet.table[key].blockedSince ?? now
    guard ethernet.table[key].state.isUp, now - since < EthernetFlows.patience else {
      giveUpFirst(key)
      return true
    }
    ethernet.table[key].blockedSince = since
    ethernet.retry = now + EthernetFlows.retryInterval
    return false
  }

  private mutating func cutLoop(_ key: SlotID) {
    peer.session.reset(ethernet.table[key].id, .loop, pool: &pool)
    dropEthernet(key, .loop)
  }

  /// The interface has failed: it is opened anew by the next sweep, or when the kernel tells of a change.
  private mutating func losePort(_ key: SlotID) {
    ethernet.table[key].close()
    ethernet.needsRefresh = true
  }

  // MARK: Interface to peer

  mutating func ethernetReady(_ token: UInt64, _ readiness: Readiness) {
    let key = SlotID(token: token & ~EthernetFlows.tokenBit)
    guard ethernet.table.contains(key) else { return }
    if !readiness.isDisjoint(with: [.readable, .failed, .hangUp]) {
      ethernet.table[key].isReadable = true
      ethernet.hasWork = true
    }
  }

  mutating func readFrames() throws(SessionEnd) {
    guard ethernet.hasWork, canRead else { return }
    ethernet.hasWork = false
    for key in ethernet.keys {
      guard canRead else {
        // What is left is told by no edge.
        ethernet.hasWork = true
        return
      }
      readFrames(key)
      if peer.session.hasOutput { try connection.flush(&peer, pool: &pool, now: now) }
      guard ethernet.table.contains(key) else { continue }
      if ethernet.table[key].isReadable, !ethernet.table[key].waitsForCredit { ethernet.hasWork = true }
    }
  }

  private mutating func readFrames(_ key: SlotID) {
    var budget = Self.frameBurst
    var bytes = Self.frameBytes
    let id = ethernet.table[key].id
    while ethernet.table[key].isReadable, budget > 0, bytes > 0, !pool.isPressed {
      budget -= 1
      guard peer.session.sendCredit(id) >= EthernetMessage.wantedCredit else {
        ethernet.table[key].waitsForCredit = true
        return
      }
      guard let region = pool.reserve(PacketLimits.size, in: &readLane) else { return }
      do throws(TunError) {
        switch try ethernet.table[key].read(into: region, pool: &pool) {
        case .wouldBlock: ethernet.table[key].isReadable = false
        case .dropped: break
        case .packet(let frame, let offload):
          let verdict = judge(frame, of: key)
          if isTapped { tap(TappedFrame([frame], offload), .inbound, verdict, of: key) }
          switch verdict {
          case .pass:
            let message = EthernetMessage.make(frame, offload, pool: &pool)
            let kept = pool.commit(region, through: message, in: &readLane)
            bytes -= kept.count
            status.payloadReads += 1
            status.payloadReadBytes += UInt64(frame.count)
            ethernet.table[key].bytesFromDevice &+= UInt64(frame.count)
            try? peer.session.send(id, kept, pool: &pool)
          case .refuse(let reason):
            if ethernet.table[key].pace.isDue(reason, .toPC, now: now) {
              reportEthernet(.denied(pool.withSpan(frame) { reason.text(of: $0, .toPC) }), key)
            }
          case .cut: return cutLoop(key)
          }
        }
      } catch {
        return losePort(key)
      }
    }
  }

  private mutating func judge(_ frame: Slice, of key: SlotID) -> EthernetVerdict {
    pool.withSpan(frame) { ethernet.table[key].filter.judge($0, .toPC, now: now) }
  }

  private mutating func tap(
    _ frame: TappedFrame, _ direction: PacketDirection, _ verdict: EthernetVerdict, loss: String? = nil,
    of key: SlotID
  ) {
    if ethernet.table[key].tap == nil {
      let (agent, interface) = (ethernet.table[key].agent, ethernet.table[key].interface)
      ethernet.table[key].tap = FrameTap(
        taps.captures, agent: agent, description: "frames of agent \(agent) at interface \(interface)")
    }
    ethernet.table[key].tap?.record(frame, direction, verdict, loss: loss, at: Clock.unixNanoseconds, pool: pool)
  }

  // MARK: What is told

  mutating func reportEthernet(_ event: FlowReport.Event, _ key: SlotID) {
    var report = FlowReport(
      event, connection: ConnectionID(id, ethernet.table[key].id), agent: ethernet.table[key].agent,
      protocol: .ethernet,
      port: 0)
    report.duration = now - ethernet.table[key].since
    report.bytesFromDevice = ethernet.table[key].bytesFromDevice
    report.bytesToDevice = ethernet.table[key].bytesToDevice
    onFlow(report)
  }

  mutating func describeEthernet() {
    status.ethernet.removeAll(keepingCapacity: true)
    for key in ethernet.keys { status.ethernet.append(ethernet.table[key].describe()) }
  }

  /// Once a second: what the kernel had no room for, and interfaces that are back.
  mutating func sweepEthernet() {
    guard !ethernet.keys.isEmpty else { return }
    for key in ethernet.keys { ethernet.table[key].port?.countKernelDrops() }
    if ethernet.needsRefresh { refreshEthernet() }
  }
}

extension EthernetFlow {
  mutating func read(into region: Slice, pool: inout SlabPool) throws(TunError) -> PacketRead {
    guard port != nil else { return .wouldBlock }
    return try port!.read(into: region, pool: &pool)
  }

  mutating func deliver(pool: inout SlabPool, now: Instant) throws(TunError) -> FrameInbox.Delivery {
    guard port != nil else {
      // Like a cable that isn't plugged in.
      var nowhere = NoDevice()
      return try inbox.deliver(to: &nowhere, .toSite, filter: &filter, pool: &pool, now: now)
    }
    return try inbox.deliver(to: &port!, .toSite, filter: &filter, pool: &pool, now: now)
  }
}
