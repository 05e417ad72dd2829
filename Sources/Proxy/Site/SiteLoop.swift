import Control
import Framing
import Kernel
import Primitives

/// The loop of one session on the site's side: connection, timers and device sockets in one poller.
///
/// Descriptors are registered once, for edges; what is ready is remembered in the flow, so that a read
/// that has to wait for credit needs no system call to be taken up again.
struct SiteLoop: ~Copyable {
  /// What the session is called on all three parts.
  let id: SessionID
  var peer: BufferedSession
  var connection: SessionSocket
  var policy: SitePolicy
  let limits: SiteLimits
  let services: SiteServices
  let poller: Poller
  let gather = Gather()
  let datagramGather = DatagramGather()
  var pool: SlabPool
  var flows = SlotTable<DeviceFlow>()
  /// Layer 2 connections, which have interfaces instead of sockets.
  var ethernet = EthernetFlows()
  /// The latest flow of each of the session's slots. Not looked up in the session, which may have opened the slot's next
  /// stream while events of the one before still wait here.
  private var flowOfSlot: [SlotID] = []
  /// Flows with something to read from their device, in turn.
  var readList = RingQueue<SlotID>(minimumCapacity: 64)
  /// Flows with something to write to their device.
  var writeList = RingQueue<SlotID>(minimumCapacity: 64)
  /// Datagrams that were just received for one flow's device, and which flow that is.
  var datagrams = RingQueue<Slice>(minimumCapacity: DatagramGather.limit)
  var datagramKey = SlotID(token: 0)
  var readLane = SlabLane()
  /// Whether payload is captured, and by whom.
  var isTapped = false
  var taps = SiteTaps()
  var status = SessionStatus()
  var diallingCount = 0
  /// What devices have announced on FTP control connections.
  var pinholes: FTPPinholes
  var listenerCount = 0
  /// Memory was pressed and a flow was ended for it: to be looked at again at once.
  var relieved = false
  var endReason: String?
  var endDeadline: Instant?
  /// The next time that flows' deadlines are looked at.
  var nextSweep: Instant
  /// The next time that devices are looked at that don't answer: a system call for each.
  private var nextSilenceCheck: Instant
  var now: Instant
  let mailbox: Mailbox<SiteSession.Command>
  let onFlow: @Sendable (FlowReport) -> Void
  var nextPublication = Instant.zero

  private static let silenceCheckInterval = Interval.seconds(5)
  private static let connectionToken: UInt64 = .max
  private static let mailboxToken: UInt64 = .max - 1
  static let watcherToken: UInt64 = .max - 2

  init(
    id: SessionID, session: consuming Session, socket: consuming OwnedDescriptor, policy: SitePolicy,
    limits: SiteLimits, services: SiteServices, mailbox: Mailbox<SiteSession.Command>,
    onFlow: @escaping @Sendable (FlowReport) -> Void
  ) throws(SystemError) {
    let poller = try Poller()
    try poller.add(socket.rawValue, token: Self.connectionToken, for: [.readable, .writable, .peerClosed, .edge])
    try poller.add(mailbox.descriptor, token: Self.mailboxToken, for: .readable)
    self.id = id
    peer = BufferedSession(session)
    connection = SessionSocket(socket)
    self.policy = policy
    self.limits = limits
    self.services = services
    pinholes = FTPPinholes(limits: limits.ftp)
    self.poller = poller
    self.mailbox = mailbox
    self.onFlow = onFlow
    pool = SlabPool(limit: limits.slabs)
    now = Clock.now
    nextSweep = now + .seconds(1)
    nextSilenceCheck = now + Self.silenceCheckInterval
  }

  /// Runs until the session ends.
  mutating func run(surplus: [UInt8], publish: (SessionStatus) -> Void) -> SessionEnd {
    do throws(SessionEnd) {
      try peer.receive(surplus: surplus, pool: &pool, now: now)
      try takeEvents()
      while true {
        try connection.flush(&peer, pool: &pool, now: now)
        // Sending the last FIN ends streams, whose device sockets are closed now and not when the peer next says a word.
        try takeEvents()
        writeDevices()
        try relieveMemory()
        publishStatus(publish)
        try wait()
        try handleTime()
        try readPeer()
        writeDevices()
        try readDevices()
        try readFrames()
      }
    } catch {
      // The last figures are those that add up.
      nextPublication = now
      publishStatus(publish)
      if let endReason { return .local(endReason) }
      return error
    }
  }

  /// Closes every device socket and gives the memory back. Streams that were open are reset towards the devices, as
  /// their sockets are from the start: what was cut must not look finished.
  mutating func close() {
    for key in flows.ids {
      report(.ended(.sessionEnded), key)
      guard var flow = flows.remove(key) else { continue }
      flow.stream.pending.removeAll(pool: &pool)
    }
    for key in ethernet.keys { dropEthernet(key, .sessionEnded) }
    peer.close(pool: &pool)
    pool.close(&readLane)
  }

  // MARK: Waiting

  private mutating func wait() throws(SessionEnd) {
    var deadline = Instant.earliest(peer.session.nextDeadline, nextSweep)
    deadline = Instant.earliest(deadline, endDeadline)
    deadline = Instant.earliest(deadline, ethernet.retry)
    let hasWork =
      relieved || (connection.isReadable && canReadPeer) || (!readList.isEmpty && canRead)
      || (ethernet.hasWork && canRead)
    let timeout = hasWork ? Interval.zero : deadline.map { $0 - now }
    let count: Int
    do throws(SystemError) {
      count = try poller.wait(timeout: timeout)
    } catch {
      throw .connection(error)
    }
    now = Clock.now
    for index in 0..<count {
      let event = poller.event(index)
      switch event.token {
      case Self.connectionToken: connection.became(event.readiness)
      case Self.mailboxToken: handleCommands()
      case Self.watcherToken: readWatcher()
      case let token where token & EthernetFlows.tokenBit != 0:
        ethernetReady(token, event.readiness)
        deliverFrames()
      default: deviceReady(SlotID(token: event.token), event.readiness)
      }
    }
  }

  private mutating func handleTime() throws(SessionEnd) {
    do throws(SessionError) {
      try peer.session.handleTimeout(now: now)
    } catch {
      throw .session(error)
    }
    if let retry = ethernet.retry, now >= retry { deliverFrames() }
    if let endDeadline, now >= endDeadline { throw .local(endReason ?? "") }
    if peer.session.isFinished { throw .finished(peer.session.peerGoodbye) }
    guard now >= nextSweep else { return }
    nextSweep = now + .seconds(1)
    pool.trim()
    peer.session.sampleRates(now: now)
    sweep()
    sweepEthernet()
    if [flows.trim(), peer.session.trim(), readList.trim(), writeList.trim()].contains(true) {
      Heap.trim()
    }
    if let deadline = policy.deadline, now >= deadline, endReason == nil { end("the grant has ended") }
  }

  private mutating func handleCommands() {
    for command in mailbox.receive() {
      switch command {
      case .end(let reason): end(reason)
      case .describeFlows(let limit, let reply): reply.send(describeFlows(limit: limit))
      case .replaceRules(let rules):
        policy.replaceRules(rules)
        cutForbidden()
      case .replaceCaptures(let captures): replaceCaptures(captures)
      case .probe: peer.session.probe(now: now)
      }
    }
  }

  /// Cuts flows that the rules no longer permit.
  private mutating func cutForbidden() {
    cutForbiddenEthernet()
    // A control connection takes along what the device was to open for it.
    for key in flows.ids
    where flows.contains(key)
      && (!policy.permits(
        agent: flows[key].agent, flows[key].kind, flows[key].target, isFTPData: flows[key].isFTPData)
        // What answers was begun by the rule as it was: of another interface, with other methods.
        || flows[key].kind.transport == nil && policy.interface(of: flows[key].agent) != flows[key].interface)
    {
      peer.session.reset(flows[key].id, .revoked, pool: &pool)
      drop(key, reset: true, .revoked)
    }
  }

  /// Cuts what is open, tells the peer, and leaves a moment for that to get out.
  private mutating func end(_ reason: String) {
    guard endReason == nil else { return }
    endReason = reason
    for key in flows.ids where flows.contains(key) {
      peer.session.reset(flows[key].id, .revoked, pool: &pool)
      drop(key, reset: true, .sessionEnded)
    }
    endEthernet()
    peer.session.end(reason)
    endDeadline = now + .milliseconds(500)
  }

  // MARK: The connection

  /// Whether the session is read. Not while flows are cut for memory, since what is read might be for one of them. But if
  /// there was none to cut, memory comes back by the credits and pongs that the peer sends, as long as there is any.
  private var canReadPeer: Bool {
    !pool.isPressed || !(relieved || pool.isExhausted)
  }

  private mutating func readPeer() throws(SessionEnd) {
    var budget = limits.readBudget / (128 * 1024)
    while connection.isReadable, budget > 0, canReadPeer {
      budget -= 1
      let more = try connection.read(into: &peer, pool: &pool, now: now)
      try takeEvents()
      writeDevices()
      if !more { break }
    }
  }

  /// Ends one slow device's flow while memory is pressed, so that the session can be read on.
  private mutating func relieveMemory() throws(SessionEnd) {
    relieved = false
    guard pool.isPressed else { return }
    if peer.session.resetSlowestReader(pool: &pool) {
      relieved = true
      return try takeEvents(limitedBy: .site)
    }
    // What is left belongs to streams that are finished, whose devices don't take the last of it.
    var slowest: (key: SlotID, held: Int)?
    for key in flows.ids where flows[key].stream.pending.byteCount > slowest?.held ?? 0 {
      slowest = (key, flows[key].stream.pending.byteCount)
    }
    guard let slowest else { return }
    relieved = true
    peer.session.reset(flows[slowest.key].id, .limit, pool: &pool)
    drop(slowest.key, reset: true, .limit(.site))
  }

  /// - Parameter limiter: who it was if a stream was cut because of a bound.
  private mutating func takeEvents(limitedBy limiter: FlowEnd.Party = .link) throws(SessionEnd) {
    defer {
      sendDatagrams()
      deliverFrames()
    }
    while let event = peer.session.nextEvent() {
      if !ethernet.keys.isEmpty, takeEthernetEvent(event, limitedBy: limiter) { continue }
      switch event {
      case .data(let id, let slice): queue(slice, for: key(of: id))
      case .datagram(let id, let slice): queueDatagram(slice, for: key(of: id))
      case .echo(let id, let slice): sendEcho(slice, for: key(of: id))
      case .openRequested(let id): openFlow(id)
      case .listenRequested(let id): listen(id)
      case .writable(let id):
        let key = key(of: id)
        guard flows.contains(key) else { continue }
        flows[key].stream.creditGrew()
        scheduleRead(key)
      case .finished(let id):
        let key = key(of: id)
        guard flows.contains(key) else { continue }
        flows[key].stream.peerDidFinish()
        if isTapped { tapFinished(from: .near, key) }
        if flows[key].ftp != nil { finishCommands(key) }
        scheduleWrite(key)
      case .reset(let id, let code):
        let key = key(of: id)
        guard flows.contains(key) else { continue }
        // What came before the reset goes before it.
        if key == datagramKey { sendDatagrams() }
        guard flows.contains(key) else { continue }
        drop(key, reset: true, FlowEnd(code, from: .application, at: limiter, flows[key].kind))
      case .closed(let id): drain(key(of: id))
      case .ethernet(_, let slice, isContinued: _): pool.release(slice)
      case .opened, .refused, .listening, .goingAway: break
      case .ended: throw .finished(peer.session.peerGoodbye)
      }
    }
  }

  func key(of id: StreamID) -> SlotID {
    guard id.slot < flowOfSlot.count else { return SlotID(token: 0) }
    let key = flowOfSlot[id.slot]
    return flows.contains(key) && flows[key].id == id ? key : SlotID(token: 0)
  }

  mutating func setKey(_ key: SlotID, of id: StreamID) {
    while flowOfSlot.count <= id.slot { flowOfSlot.append(SlotID(token: 0)) }
    flowOfSlot[id.slot] = key
  }

  // MARK: Flows

  /// Whether devices may be read: what they send has somewhere to go.
  var canRead: Bool {
    connection.isWritable && !pool.isPressed
  }

  /// Forgets a flow and closes its socket.
  ///
  /// - Parameter end: for the log; `nil` for a flow that was refused.
  mutating func drop(_ key: SlotID, reset: Bool, _ end: FlowEnd?) {
    if let end, flows.contains(key) { report(.ended(end), key) }
    if isTapped, flows.contains(key) { tapEnded(key, reset: reset, end) }
    countKernelDrops(key)
    guard var flow = flows.remove(key) else { return }
    if flow.phase == .open { status.flowsByAgent[flow.agent, default: 1] -= 1 }
    if flow.phase == .dialling { diallingCount -= 1 }
    if !reset, flow.kind == .tcp { Socket.finishOnClose(flow.socket) }
    if flow.phase == .listening { listenerCount -= 1 }
    if flow.ftp != nil { endControl(key) }
    flow.stream.pending.removeAll(pool: &pool)
  }

  private mutating func sweep() {
    if now >= nextSilenceCheck {
      nextSilenceCheck = now + Self.silenceCheckInterval
      cutSilentDevices()
      countKernelDrops()
    }
    for key in flows.ids where flows.contains(key) && now >= flows[key].deadline {
      if flows[key].phase == .dialling {
        refuse(key, Refusal(.timedOut))
      } else if flows[key].phase == .listening {
        refuse(key, Refusal(.timedOut, "the device didn't open its FTP data connection"))
      } else if !flows[key].kind.isByteStream || flows[key].stream.isDraining {
        peer.session.reset(flows[key].id, .limit, pool: &pool)
        // A device that didn't take all of a finished stream must not take its end for the end of the data.
        let isDraining = flows[key].stream.isDraining
        drop(key, reset: isDraining, isDraining ? .timedOut(.device) : .idle)
      }
    }
  }

  /// Both directions of the stream are finished; what waits for the device still goes there, for a while.
  private mutating func drain(_ key: SlotID) {
    guard flows.contains(key) else { return }
    flows[key].stream.drain()
    flows[key].deadline = now + limits.drainTimeout
    scheduleWrite(key)
  }

  mutating func refuse(_ key: SlotID, _ refusal: Refusal) {
    status.refusals["\(refusal.reason)", default: 0] += 1
    report(.refused(refusal), key)
    if isTapped { tapRefused(key, refusal) }
    peer.session.refuse(flows[key].id, refusal, pool: &pool)
    drop(key, reset: false, nil)
  }

  mutating func refuse(_ id: StreamID, _ refusal: Refusal) {
    status.refusals["\(refusal.reason)", default: 0] += 1
    if let request = peer.session.request(of: id) {
      report(refusal, of: request, id)
      if isTapped { tapRefused(request, id, refusal) }
    } else if let request = peer.session.listenRequest(of: id) {
      reportListener(key(of: request.control), refusal)
    }
    peer.session.refuse(id, refusal, pool: &pool)
  }
}
