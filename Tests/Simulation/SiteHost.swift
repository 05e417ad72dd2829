import Framing
import Primitives
import Proxy

/// SiteManager's end: a real session and its real streams to devices, driven in the order of `SiteLoop`.
final class SiteHost {
  struct Flow: ~Copyable {
    let id: StreamID
    /// Its connection to the device, once the dial has begun.
    var wire: Int?
    var isOpen = false
    /// When the dial is given up, or the last bytes of a finished stream.
    var deadline: Instant
    var stream = DeviceStream()
    var isInReadList = false
    var isInWriteList = false
  }

  var peer: BufferedSession
  var connection: SessionWire
  var pool: SlabPool
  let policy: SitePolicy
  let limits: SiteLimits
  private let flaw: Flaw?
  var flows = SlotTable<Flow>()
  private var flowOfSlot: [SlotID] = []
  private var readList = RingQueue<SlotID>(minimumCapacity: 16)
  private var writeList = RingQueue<SlotID>(minimumCapacity: 16)
  private var readLane = SlabLane()
  private var nextSweep: Instant
  private var endReason: String?
  private var endDeadline: Instant?
  private var relieved = false
  /// How its session ended.
  private(set) var end: SessionEnd?
  var isQueued = false
  /// Dials that the world has to begin: which flow, and which port.
  var dials = RingQueue<(flow: SlotID, port: UInt16)>(minimumCapacity: 4)

  init(
    _ session: consuming Session, connection: SessionWire, policy: SitePolicy, limits: SiteLimits, flaw: Flaw?,
    now: Instant
  ) {
    peer = BufferedSession(session)
    self.connection = connection
    self.policy = policy
    self.limits = limits
    self.flaw = flaw
    pool = SlabPool(limit: limits.slabs)
    nextSweep = now + .seconds(1)
  }

  var nextDeadline: Instant? {
    guard end == nil else { return nil }
    return Instant.earliest(Instant.earliest(peer.session.nextDeadline, nextSweep), endDeadline)
  }

  // MARK: The loop

  /// - Returns: whether there is more to do.
  func turn(_ network: inout Network) -> Bool {
    guard end == nil else { return false }
    do throws(SessionEnd) {
      try handleTime(&network)
      try readPeer(&network)
      writeDevices(&network)
      try readDevices(&network)
      try connection.flush(&peer, pool: &pool, &network)
      try takeEvents(&network)
      writeDevices(&network)
      try relieveMemory(&network)
    } catch {
      stop(endReason.map { .local($0) } ?? error, &network)
      return false
    }
    return relieved || (connection.isReadable && canReadPeer) || (!readList.isEmpty && canRead)
  }

  private var canRead: Bool { connection.isWritable && !pool.isPressed }
  private var canReadPeer: Bool { !pool.isPressed || !(relieved || pool.isExhausted) }

  /// The loop ends: devices see a reset, since their sockets are closed as they are.
  func stop(_ end: SessionEnd, _ network: inout Network) {
    guard self.end == nil else { return }
    network.trace.say(network.now, "site", "session over: \(end)")
    self.end = end
    for key in flows.ids { drop(key, reset: true, &network) }
    peer.close(pool: &pool)
    pool.close(&readLane)
    network.close(connection.wire, connection.end, reset: false)
  }

  private func handleTime(_ network: inout Network) throws(SessionEnd) {
    let now = network.now
    do throws(SessionError) { try peer.session.handleTimeout(now: now) } catch { throw .session(error) }
    if let endDeadline, now >= endDeadline { throw .local(endReason ?? "") }
    if peer.session.isFinished { throw .finished(peer.session.peerGoodbye) }
    guard now >= nextSweep else { return }
    nextSweep = now + .seconds(1)
    pool.trim()
    peer.session.sampleRates(now: now)
    for key in flows.ids where now >= flows[key].deadline {
      if !flows[key].isOpen {
        refuse(key, Refusal(.timedOut), &network)
      } else if flows[key].stream.isDraining {
        peer.session.reset(flows[key].id, .limit, pool: &pool)
        drop(key, reset: true, &network)
      }
    }
    _ = flows.trim()
    _ = peer.session.trim()
  }

  private func relieveMemory(_ network: inout Network) throws(SessionEnd) {
    relieved = false
    guard pool.isPressed else { return }
    if peer.session.resetSlowestReader(pool: &pool) {
      relieved = true
      return try takeEvents(&network)
    }
    var slowest: (key: SlotID, held: Int)?
    for key in flows.ids where flows[key].stream.pending.byteCount > slowest?.held ?? 0 {
      slowest = (key, flows[key].stream.pending.byteCount)
    }
    guard let slowest else { return }
    relieved = true
    peer.session.reset(flows[slowest.key].id, .limit, pool: &pool)
    drop(slowest.key, reset: true, &network)
  }

  private func readPeer(_ network: inout Network) throws(SessionEnd) {
    var budget = limits.readBudget / (128 * 1024)
    while connection.isReadable, budget > 0, canReadPeer {
      budget -= 1
      let more = try connection.read(into: &peer, pool: &pool, &network)
      try takeEvents(&network)
      writeDevices(&network)
      if !more { break }
    }
  }

  private func takeEvents(_ network: inout Network) throws(SessionEnd) {
    while let event = peer.session.nextEvent() {
      switch event {
      case .data(let id, let slice):
        guard let key = key(of: id) else {
          pool.release(slice)
          continue
        }
        flows[key].stream.queue(slice, pool: &pool)
        scheduleWrite(key)
      case .datagram(_, let slice), .echo(_, let slice), .ethernet(_, let slice, isContinued: _): pool.release(slice)
      case .openRequested(let id): open(id, now: network.now)
      case .listenRequested(let id): peer.session.refuse(id, Refusal(.siteError), pool: &pool)
      case .writable(let id):
        guard let key = key(of: id) else { continue }
        flows[key].stream.creditGrew()
        scheduleRead(key)
      case .finished(let id):
        guard let key = key(of: id) else { continue }
        flows[key].stream.peerDidFinish()
        scheduleWrite(key)
      case .reset(let id, let code):
        network.trace.say(network.now, "site", "stream \(id) reset: \(code)")
        guard let key = key(of: id) else { continue }
        drop(key, reset: true, &network)
      case .closed(let id):
        guard let key = key(of: id) else { continue }
        flows[key].stream.drain()
        flows[key].deadline = network.now + limits.drainTimeout
        scheduleWrite(key)
      case .opened, .refused, .listening, .goingAway: break
      case .ended: throw .finished(peer.session.peerGoodbye)
      }
    }
  }

  // MARK: Dials

  private func open(_ id: StreamID, now: Instant) {
    guard let request = peer.session.request(of: id) else { return }
    do throws(Refusal) {
      let target = try policy.target(for: request, now: now)
      guard endReason == nil else { throw Refusal(.sessionEnded) }
      let key = flows.insert(Flow(id: id, deadline: now + limits.dialTimeout))
      while flowOfSlot.count <= id.slot { flowOfSlot.append(SlotID(token: 0)) }
      flowOfSlot[id.slot] = key
      dials.append((key, target.port))
    } catch {
      peer.session.refuse(id, error, pool: &pool)
    }
  }

  /// A dial that was begun has come to an answer.
  func dialled(_ key: SlotID, _ refusal: Refusal?, _ network: inout Network) {
    guard end == nil, flows.contains(key), !flows[key].isOpen else { return }
    if let refusal { return refuse(key, refusal, &network) }
    flows[key].isOpen = true
    network.trace.say(network.now, "site", "stream \(flows[key].id) is open")
    peer.session.accept(flows[key].id)
    scheduleRead(key)
  }

  private func refuse(_ key: SlotID, _ refusal: Refusal, _ network: inout Network) {
    network.trace.say(network.now, "site", "stream \(flows[key].id) refused: \(refusal)")
    peer.session.refuse(flows[key].id, refusal, pool: &pool)
    drop(key, reset: false, &network)
  }

  // MARK: Devices

  func deviceReady(_ key: SlotID, _ event: WireEvent, _ network: inout Network) {
    guard end == nil, flows.contains(key), flows[key].isOpen, let wire = flows[key].wire else { return }
    var isFailed = false
    var isClosed = false
    var isReadable = false
    var isWritable = false
    switch event {
    case .bytes: isReadable = true
    case .room: isWritable = true
    case .finish: isClosed = true
    case .failure:
      isFailed = true
      isClosed = true
      isWritable = true
    }
    if isFailed, flows[key].stream.waitsForCredit, let error = network.wires[wire].error(0) {
      return fail(key, error, &network)
    }
    flows[key].stream.became(readable: isReadable, writable: isWritable, closed: isClosed)
    scheduleRead(key)
    scheduleWrite(key)
  }

  private func scheduleWrite(_ key: SlotID) {
    guard !flows[key].isInWriteList, flows[key].stream.isWritable, flows[key].isOpen else { return }
    flows[key].isInWriteList = true
    writeList.append(key)
  }

  private func scheduleRead(_ key: SlotID) {
    guard !flows[key].isInReadList, flows[key].stream.wantsRead else { return }
    flows[key].isInReadList = true
    readList.append(key)
  }

  private func writeDevices(_ network: inout Network) {
    while let key = writeList.popFirst() {
      guard flows.contains(key) else { continue }
      flows[key].isInWriteList = false
      write(key, &network)
    }
  }

  private func write(_ key: SlotID, _ network: inout Network) {
    guard let wire = flows[key].wire else { return }
    while true {
      switch flows[key].stream.nextWrite {
      case .send:
        if flaw == .losesByte, flows[key].stream.pending.byteCount > 1 {
          flows[key].stream.pending.drop(1, pool: &pool)
        }
        switch network.send(&flows[key].stream.pending, wire, 0, pool: &pool) {
        case .moved(let count):
          peer.session.consumed(flows[key].id, count, now: network.now)
          if flows[key].stream.isDraining { flows[key].deadline = network.now + limits.drainTimeout }
        case .wouldBlock: flows[key].stream.writeWouldBlock()
        case .failed(let error): return fail(key, error, &network)
        }
      case .finish:
        if flaw != .swallowsEnds { network.finish(wire, 0) }
        flows[key].stream.finishWasForwarded()
      case .close: return drop(key, reset: false, &network)
      case .wait: return
      }
    }
  }

  private func readDevices(_ network: inout Network) throws(SessionEnd) {
    var turns = readList.count
    while turns > 0, canRead, let key = readList.popFirst() {
      turns -= 1
      guard flows.contains(key) else { continue }
      flows[key].isInReadList = false
      read(key, &network)
      if peer.session.hasOutput { try connection.flush(&peer, pool: &pool, &network) }
      if flows.contains(key) { scheduleRead(key) }
    }
  }

  private func read(_ key: SlotID, _ network: inout Network) {
    let credit = peer.session.sendCredit(flows[key].id)
    guard let wire = flows[key].wire,
      let size = flows[key].stream.nextRead(credit: credit, limit: limits.readSize),
      let region = pool.reserve(size, in: &readLane)
    else { return }
    switch network.wires[wire].look(0) {
    case .moved(let available):
      let slice = pool.commit(region, count: min(size, available), in: &readLane)
      pool.withMutableSpan(slice) { network.read(wire, 0, into: &$0) }
      flows[key].stream.read(slice.count, of: size)
      try? peer.session.send(flows[key].id, slice, pool: &pool)
    case .wouldBlock: flows[key].stream.readWouldBlock()
    case .ended:
      flows[key].stream.readEnded()
      peer.session.finish(flows[key].id)
    case .failed(let error): fail(key, error, &network)
    }
  }

  private func fail(_ key: SlotID, _ error: WireError, _ network: inout Network) {
    network.trace.say(network.now, "site", "stream \(flows[key].id): the device's connection failed: \(error)")
    if flaw != .keepsResetsBack {
      peer.session.reset(flows[key].id, error == .timedOut ? .timedOut : .reset, pool: &pool)
    }
    drop(key, reset: true, &network)
  }

  private func drop(_ key: SlotID, reset: Bool, _ network: inout Network) {
    guard var flow = flows.remove(key) else { return }
    if let wire = flow.wire { network.close(wire, 0, reset: reset && flaw != .endsWhatWasCut) }
    flow.stream.pending.removeAll(pool: &pool)
  }

  // MARK: Ends

  /// As `SiteLoop` ends a session in order.
  func leave(_ reason: String, _ network: inout Network) {
    guard end == nil, endReason == nil else { return }
    endReason = reason
    for key in flows.ids {
      peer.session.reset(flows[key].id, .revoked, pool: &pool)
      drop(key, reset: true, &network)
    }
    peer.session.end(reason)
    endDeadline = network.now + .milliseconds(500)
  }

  private func key(of id: StreamID) -> SlotID? {
    guard id.slot < flowOfSlot.count else { return nil }
    let key = flowOfSlot[id.slot]
    return flows.contains(key) && flows[key].id == id ? key : nil
  }

  /// Slabs that are still held once everything is let go: must be none.
  func heldSlabs() -> Int {
    pool.slabsInUse - pool.cellSlabs + pool.cellsInUse
  }
}
