import Adapter
import Packet
import Primitives
import Proxy
import Stack

/// LinkManager's adapter: its real core, driven in the order of `AdapterLoop`.
struct LinkHost: ~Copyable {
  var core: AdapterCore
  var connection: SessionWire
  /// Packets that the device holds for the adapter.
  var inbox = RingQueue<FaultyLink.Packet>(minimumCapacity: 16)
  private var transmit = Transmit()
  private var packetLane = SlabLane()
  let site: SlotID
  /// How its session ended.
  var end: SessionEnd?
  var isStopped = false
  /// Ports of flows whose application answered no more: on a very bad line that happens to a live one, too.
  private(set) var silentPorts: Set<UInt16> = []
  var isQueued = false
  private var relieved = false

  /// As of a TUN device, which drops silently beyond.
  static let queueLimit = 4000

  init(_ core: consuming AdapterCore, site: SlotID, connection: SessionWire) {
    self.core = core
    self.site = site
    self.connection = connection
  }

  /// Reads what has come and acts on it.
  mutating func turn(_ network: inout Network) {
    guard !isStopped else { return inbox.removeAll() }
    let now = network.now
    var budget = core.configuration.sessionReads
    while budget > 0, core.sites.contains(site), canReadSite, connection.isReadable {
      budget -= 1
      do throws(SessionEnd) {
        let more = try connection.read(into: &core.sites[site].peer, pool: &core.pool, &network)
        core.takeEvents(of: site, now: now)
        if !more { break }
      } catch {
        core.takeEvents(of: site, now: now)
        core.endSite(site, error, now: now)
      }
    }
    budget = core.configuration.packetBurst
    while budget > 0, !core.pool.isPressed, let packet = inbox.popFirst() {
      budget -= 1
      guard let slice = core.pool.copy(packet.bytes.span, in: &packetLane) else { continue }
      core.receive(slice, offload: packet.offload, now: now)
      core.pool.release(slice)
    }
  }

  /// Makes room once everything is sent that could be, as the loop does before it waits.
  ///
  /// - Returns: whether there is more to do at once.
  mutating func needsTurn(now: Instant) -> Bool {
    guard !isStopped else { return false }
    relieved = core.relieveMemory(now: now)
    return relieved || (!core.pool.isPressed && !inbox.isEmpty)
      || (core.sites.contains(site) && canReadSite && connection.isReadable)
  }

  private var canReadSite: Bool { !core.pool.isPressed || !(relieved || core.pool.isExhausted) }

  /// Sends what the session has sealed, and tells what came to its end.
  mutating func flush(_ network: inout Network) {
    let now = network.now
    if core.sites.contains(site), core.sites[site].peer.hasOutput {
      do throws(SessionEnd) {
        try connection.flush(&core.sites[site].peer, pool: &core.pool, &network)
      } catch {
        core.endSite(site, error, now: now)
      }
      core.sealed(site, now: now)
    }
    while let event = core.nextEvent() {
      guard case .ended(_, let end) = event else { continue }
      network.trace.say(now, "link", "session over: \(end)")
      self.end = end
      network.close(connection.wire, connection.end, reset: false)
    }
    while let report = core.nextReport() {
      if case .ended(.timedOut(.application)) = report.event { silentPorts.insert(report.port) }
      network.trace.say(
        now, "link",
        "port \(report.port): \(report.event), \(report.bytesToDevice) up, \(report.bytesFromDevice) down")
    }
  }

  /// The next packet for the device.
  mutating func nextPacket(now: Instant) -> FaultyLink.Packet? {
    guard !isStopped, core.nextTransmit(into: &transmit, now: now) else { return nil }
    defer { transmit.clear(pool: &core.pool) }
    return FaultyLink.join(transmit, pool: core.pool)
  }

  /// As `AdapterLoop` ends.
  mutating func stop(_ network: inout Network) {
    guard !isStopped else { return }
    if core.sites.contains(site) {
      core.sites[site].peer.session.end("the adapter is stopping")
      try? connection.flush(&core.sites[site].peer, pool: &core.pool, &network)
      core.endSite(site, .local("the adapter is stopping"), now: network.now)
    }
    flush(&network)
    isStopped = true
  }

  /// Slabs that are still held once everything is let go: must be none.
  mutating func close(now: Instant) -> Int {
    transmit.clear(pool: &core.pool)
    core.close(now: now)
    core.pool.close(&packetLane)
    return core.pool.slabsInUse - core.pool.cellSlabs + core.pool.cellsInUse
  }
}
