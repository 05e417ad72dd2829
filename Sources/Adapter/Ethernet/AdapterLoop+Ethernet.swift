import Control
import Framing
import Kernel
import Packet
import Primitives
import Proxy
import Tun

/// Frames between TAP devices and sessions.
extension AdapterLoop where Device: ~Copyable {
  /// Frames of one device that are read before others get their turn, and bytes of them.
  private static var frameBurst: Int { 64 }
  private static var frameBytes: Int { 512 * 1024 }
  /// Time until a stream is asked for again that was refused or lost; and after a loop, which somebody has to undo.
  private static var retryInterval: Interval { .seconds(5) }
  private static var loopInterval: Interval { .seconds(60) }

  // MARK: Agents

  /// Sees to it that each Layer 2 agent of a site has its link, and no other.
  mutating func updateLinks(of site: String) {
    guard configuration.ethernet != nil else { return }
    // A session that this one replaces has left its ends here.
    handleFrames()
    let agents = core.table.all.filter { $0.site == site && $0.ethernet != nil }
    for key in links.keys where links.table[key].site == site {
      let isWanted = agents.contains { $0.agent.name == links.table[key].agent && $0.ethernet == links.table[key].rule }
      if !isWanted { removeLink(key) }
    }
    for alias in agents {
      guard let rule = alias.ethernet else { continue }
      if let key = links.key(site: site, agent: alias.agent.name) {
        links.table[key].deadline = nil
        links.table[key].nextAttempt = now
        openLink(key)
      } else if links.keys.count < EthernetLinks.limit {
        openLink(links.insert(EthernetLink(site: site, agent: alias.agent.name, rule: rule)))
      } else {
        upkeep?.report(
          .ethernet(agent: alias.name, device: "", "no device: \(EthernetLinks.limit) are the most"))
      }
    }
  }

  /// The user has left the site: its devices go.
  mutating func removeLinks(of site: String) {
    for key in links.keys where links.table[key].site == site { removeLink(key) }
  }

  private mutating func removeLink(_ key: SlotID) {
    if let binding = links.table[key].binding { core.cutEthernet(binding, .reset, .reset(.link), now: now) }
    tell(key, "the device is gone")
    if let descriptor = links.table[key].descriptor { try? poller.remove(descriptor) }
    links.remove(key, pool: &core.pool)
  }

  private mutating func openLink(_ key: SlotID) {
    guard links.table[key].binding == nil else { return }
    let (site, agent) = (links.table[key].site, links.table[key].agent)
    guard let alias = core.table.all.first(where: { $0.site == site && $0.agent.name == agent }) else { return }
    links.table[key].nextAttempt = nil
    do throws(Framing.Refusal) {
      links.table[key].binding = try core.openEthernet(key, alias, now: now)
    } catch {
      links.table[key].problem = "\(error)"
      links.table[key].nextAttempt = now + Self.retryInterval
    }
  }

  private mutating func openTap(_ key: SlotID) {
    guard let devices = configuration.ethernet, links.table[key].descriptor == nil else { return }
    do throws(TunError) {
      let name = try links.table[key].openTap(devices)
      if let descriptor = links.table[key].descriptor {
        do throws(SystemError) {
          try poller.add(descriptor, token: key.token | EthernetLinks.tokenBit, for: [.readable, .edge])
        } catch {
          throw TunError(call: error.call, device: name, cause: .system(error.code))
        }
      }
      links.table[key].problem = nil
      links.hasWork = true
      tell(key, "the device is there")
    } catch {
      links.table[key].closeTap()
      links.table[key].nextAttempt = now + Self.retryInterval
      guard links.table[key].problem != "\(error)" else { return }
      links.table[key].problem = "\(error)"
      tell(key, "the device can't be made: \(error)")
    }
  }

  private mutating func loseTap(_ key: SlotID, _ error: TunError) {
    if let descriptor = links.table[key].descriptor { try? poller.remove(descriptor) }
    links.table[key].closeTap()
    links.table[key].nextAttempt = now
    tell(key, "the device is lost, and made anew: \(error)")
  }

  private func tell(_ key: SlotID, _ what: String) {
    upkeep?.report(.ethernet(agent: links.table[key].name, device: links.table[key].deviceName, what))
  }

  // MARK: Time

  /// Tries again what failed, and forgets devices whose sites stay away.
  mutating func sweepLinks() {
    guard !links.keys.isEmpty, now >= links.nextSweep else { return }
    links.nextSweep = now + .seconds(1)
    for key in links.keys {
      // However its stream came to an end: the site may have gone later.
      if core.siteIDs[links.table[key].site] == nil, links.table[key].deadline == nil {
        links.table[key].deadline = now + patience
      }
      if let deadline = links.table[key].deadline, now >= deadline {
        removeLink(key)
        continue
      }
      do throws(TunError) {
        try links.table[key].probeLoops(pool: &core.pool, now: now)
      } catch {
        loseTap(key, error)
      }
      guard let time = links.table[key].nextAttempt, now >= time else { continue }
      if links.table[key].isOpen {
        links.table[key].nextAttempt = nil
        openTap(key)
      } else {
        openLink(key)
      }
    }
  }

  // MARK: From sites

  /// Acts on what streams of frames have brought.
  mutating func handleFrames() {
    guard !core.ethernetEvents.isEmpty else { return }
    while let event = core.nextEthernetEvent() {
      switch event {
      case .opened(let key):
        guard links.table.contains(key) else { continue }
        links.table[key].isOpen = true
        links.table[key].problem = nil
        links.table[key].waitsForCredit = false
        links.hasWork = true
        openTap(key)
        links.table[key].show()
      case .piece(let key, let slice, let isContinued):
        guard links.table.contains(key) else {
          core.pool.release(slice)
          continue
        }
        links.table[key].inbox.append(slice, isContinued: isContinued, pool: &core.pool)
      case .writable(let key):
        guard links.table.contains(key) else { continue }
        links.table[key].waitsForCredit = false
        links.hasWork = true
      case .ended(let key, let reason, let isLoop):
        guard links.table.contains(key) else { continue }
        deliverFrames(key)
        // A loop among the last frames has ended it already.
        guard links.table.contains(key), links.table[key].binding != nil else { continue }
        endStream(key, reason, isLoop: isLoop)
      }
    }
    for key in links.keys { deliverFrames(key) }
  }

  private mutating func endStream(_ key: SlotID, _ reason: String, isLoop: Bool) {
    let wasOpen = links.table[key].isOpen
    links.table[key].binding = nil
    links.table[key].isOpen = false
    links.table[key].inbox.removeAll(pool: &core.pool)
    links.table[key].nextAttempt = now + (isLoop ? Self.loopInterval : Self.retryInterval)
    links.table[key].renewFilter()
    links.table[key].show()
    guard wasOpen || links.table[key].problem != reason else { return }
    links.table[key].problem = reason
    tell(key, "no frames pass: \(reason)")
  }

  private var patience: Interval { configuration.ethernet?.patience ?? .zero }

  private mutating func deliverFrames(_ key: SlotID) {
    while links.table.contains(key), !links.table[key].inbox.isEmpty, deliverFrame(key) {}
  }

  private mutating func deliverFrame(_ key: SlotID) -> Bool {
    let seen = isTapped ? links.table[key].inbox.tapped(pool: &core.pool) : nil
    defer { seen?.release(pool: &core.pool) }
    do throws(TunError) {
      let delivery = try links.table[key].deliver(pool: &core.pool, now: now)
      let binding = links.table[key].binding ?? SlotID(token: 0)
      switch delivery {
      case .none, .blocked: return false
      case .malformed(let count):
        links.table[key].dropped &+= 1
        core.consumedFrame(binding, count, now: now)
      case .state(let count, let state):
        core.consumedFrame(binding, count, now: now)
        guard state != links.table[key].state else { return true }
        links.table[key].state = state
        links.table[key].show()
        tell(key, "the site's interface is \(state)")
      case .frame(let count, let verdict, let write, let source):
        core.consumedFrame(binding, count, now: now)
        if let seen { tap(seen, .inbound, verdict, loss: write.loss, of: key) }
        switch verdict {
        case .pass: if write != .written { links.table[key].dropped &+= 1 }
        case .refuse(let reason):
          if links.table[key].pace.isDue(reason, .toPC, now: now) {
            core.reportRefusal("\(reason), from \(source) at the site", binding, now: now)
          }
        case .cut: cutLoop(key)
        }
      }
    } catch {
      loseTap(key, error)
      return false
    }
    return true
  }

  private mutating func cutLoop(_ key: SlotID) {
    if let binding = links.table[key].binding { core.cutEthernet(binding, .loop, .loop, now: now) }
    endStream(key, "\(FlowEnd.loop)", isLoop: true)
  }

  // MARK: From applications

  mutating func linkReady(_ token: UInt64) {
    let key = SlotID(token: token & ~EthernetLinks.tokenBit)
    guard links.table.contains(key) else { return }
    links.table[key].isReadable = true
    links.hasWork = true
  }

  mutating func readLinks() {
    guard links.hasWork, !core.pool.isPressed else { return }
    links.hasWork = false
    for key in links.keys {
      readLink(key)
      guard links.table.contains(key) else { continue }
      if links.table[key].isReadable, !links.table[key].waitsForCredit { links.hasWork = true }
    }
  }

  private mutating func readLink(_ key: SlotID) {
    var budget = Self.frameBurst
    var bytes = Self.frameBytes
    while links.table[key].isReadable, budget > 0, bytes > 0, !core.pool.isPressed {
      budget -= 1
      let binding = links.table[key].binding
      let isOpen = links.table[key].isOpen
      // Frames that wait for credit wait in the device's queue. Without a stream they go nowhere, like those on a cable
      // that isn't plugged in.
      if let binding, isOpen, core.frameCredit(binding) < EthernetMessage.wantedCredit {
        links.table[key].waitsForCredit = true
        return
      }
      guard let region = core.pool.reserve(PacketLimits.size, in: &frameLane) else { return }
      do throws(TunError) {
        switch try links.table[key].read(into: region, pool: &core.pool) {
        case .wouldBlock: links.table[key].isReadable = false
        case .dropped: break
        case .packet(let frame, let offload):
          guard let binding, isOpen else {
            links.table[key].dropped &+= 1
            if isTapped { tap(TappedFrame([frame], offload), .outbound, .pass, loss: "no connection", of: key) }
            continue
          }
          let verdict = judge(frame, of: key)
          if isTapped { tap(TappedFrame([frame], offload), .outbound, verdict, of: key) }
          switch verdict {
          case .pass:
            let message = EthernetMessage.make(frame, offload, pool: &core.pool)
            let kept = core.pool.commit(region, through: message, in: &frameLane)
            bytes -= kept.count
            core.sendFrame(kept, from: binding)
          case .refuse(let reason):
            if links.table[key].pace.isDue(reason, .toSite, now: now) {
              core.reportRefusal(core.pool.withSpan(frame) { reason.text(of: $0, .toSite) }, binding, now: now)
            }
          case .cut: return cutLoop(key)
          }
        }
      } catch {
        return loseTap(key, error)
      }
    }
  }

  // MARK: Captures

  /// Captures have begun or ended.
  mutating func tapsChanged() {
    isTapped = !core.taps.isEmpty
    for key in links.keys { links.table[key].tap = nil }
  }

  private mutating func tap(
    _ frame: TappedFrame, _ direction: PacketDirection, _ verdict: EthernetVerdict, loss: String? = nil,
    of key: SlotID
  ) {
    if links.table[key].tap == nil {
      let name = links.table[key].name
      links.table[key].tap = FrameTap(
        core.taps.captures, agent: name, description: "frames between this PC and agent \(name)")
    }
    links.table[key].tap?.record(
      frame, direction, verdict, loss: loss, at: Clock.unixNanoseconds, pool: core.pool)
  }

  private mutating func judge(_ frame: Slice, of key: SlotID) -> EthernetVerdict {
    core.pool.withSpan(frame) { links.table[key].filter.judge($0, .toSite, now: now) }
  }

  mutating func closeLinks() {
    for key in links.keys { links.remove(key, pool: &core.pool) }
    core.dropEthernetEvents()
    core.pool.close(&frameLane)
  }

  mutating func describeLinks() -> [EthernetStatus] {
    var all: [EthernetStatus] = []
    for key in links.keys { all.append(links.table[key].describe()) }
    return all
  }
}

extension AgentAlias {
  /// The rule of a Layer 2 agent.
  var ethernet: EthernetRule? {
    guard case .interface(let access) = agent.target else { return nil }
    return access.ethernet.flatMap { EthernetRule($0) }
  }
}
