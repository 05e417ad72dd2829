import Adapter
import Control
import Crypto
import Framing
import Packet
import Primitives
import Proxy
import Stack

/// Applications, LinkManager, GateManager, SiteManager and devices in virtual time. Everything follows from the plan.
///
///     application ─ stack ═ faulty link ═ AdapterCore ─ wire ─ RelayPump ─ wire ─ Session ─ DeviceStream ─ wire ─ device
package final class World {
  /// An application's connection, and the dials that it has led to.
  struct Connection {
    let plan: ConnectionPlan
    var application: Actor
    var flow: FlowID?
    var dials: [Int] = []
  }

  /// What a site's dial has led to.
  struct Dial {
    let connection: Int
    let flow: SlotID
    let wire: Int
    var device: Actor
  }

  let plan: WorldPlan
  var network: Network
  var applications: ApplicationHost
  var link: LinkHost
  var relay: RelayHost
  var site: SiteHost
  var connections: [Connection] = []
  var dials: [Dial] = []
  /// Whom a wire leads to.
  var dialOfWire: [Int: Int] = [:]
  var toLink: FaultyLink
  var toApplications: FaultyLink
  private var packets: [FaultyLink.Packet?] = []
  private var freePackets: [Int] = []
  private(set) var steps = 0
  /// Steps since time last moved on.
  private var stillSteps = 0
  var problems: [String] = []
  let alias: AgentAlias

  static let start = Instant(nanoseconds: 1_000_000_000)
  static let firstPort: UInt16 = 10_000
  static let firstApplicationPort: UInt16 = 40_000

  /// Where a connection goes, by which everybody knows it.
  static func port(of connection: Int) -> UInt16 { firstPort + UInt16(connection) }

  package init(_ plan: WorldPlan, trace: Trace = Trace()) throws {
    var network = Network(seed: plan.seed, trace: trace)
    let latency = plan.tunnelLatency / 4
    let first = network.addWire(capacity: plan.tunnelBuffer, latency: latency, jitter: latency)
    let second = network.addWire(capacity: plan.tunnelBuffer, latency: latency, jitter: latency)
    let relay = RelayHost(toLink: first, toSite: second, pipeSize: max(4096, plan.tunnelBuffer / 4))
    if let (_, incident) = plan.incident, case .corruption(let fromLink, let position) = incident {
      network.wires[fromLink ? first : second].corruption = (fromLink ? 0 : 1, position, 1)
    }

    let up = try Self.secret(plan.seed, 1)
    let down = try Self.secret(plan.seed, 2)
    var configuration = AdapterConfiguration()
    configuration.mtu = plan.mtu
    configuration.offloads = plan.offloads
    configuration.slabs = plan.linkSlabs
    configuration.session = plan.session
    var core = AdapterCore(configuration: configuration, secret: (plan.seed, 7), now: Self.start)
    let agent = AgentDescription(name: "plc", target: .device(.v4), tcp: [.all])
    let key = try core.attach(
      site: "site", agents: [agent], secrets: RecordSecrets(send: up, receive: down), surplus: [],
      connection: SlotID(index: 0, generation: 1), now: Self.start)
    guard let alias = core.table.all.first else { throw AdapterError.session("no alias") }
    let link = LinkHost(core, site: key, connection: SessionWire(first, end: 0))

    var limits = SiteLimits()
    limits.session = plan.session
    limits.slabs = plan.siteSlabs
    let rule = SiteRule(
      agent: "plc", device: IPPrefix(IPAddress(192, 168, 7, 7), length: 32)!, tcp: [.all], udp: [], echo: false)
    let session = try Session(
      role: .site, secrets: RecordSecrets(send: down, receive: up), limits: plan.session, now: Self.start)
    let site = SiteHost(
      session, connection: SessionWire(second, end: 1), policy: SitePolicy(rules: [rule], granted: nil, expires: nil),
      limits: limits, flaw: plan.flaw, now: Self.start)

    self.plan = plan
    self.alias = alias
    self.network = network
    self.link = link
    self.relay = relay
    self.site = site
    applications = ApplicationHost(plan.applicationStack, seed: plan.seed)
    toLink = FaultyLink(plan.link)
    toApplications = FaultyLink(plan.link)
    book()
  }

  private func book() {
    for (index, connection) in plan.connections.enumerated() {
      connections.append(
        Connection(
          plan: connection,
          application: Actor(connection.application, sendKey: 2 * index, receiveKey: 2 * index + 1)))
      network.agenda.book(.start(connection: index), at: Self.start + connection.start)
    }
    if let (time, _) = plan.incident { network.agenda.book(.incident, at: Self.start + time) }
    for host in [Host.link, .relay, .site] { network.agenda.book(.turn(host), at: Self.start) }
    link.isQueued = true
    relay.isQueued = true
    site.isQueued = true
  }

  private static func secret(_ seed: UInt64, _ number: UInt64) throws -> SecretBytes {
    var random = SeededRandom(seed: seed ^ number << 56)
    let bytes = (0..<RecordSecrets.size).map { _ in UInt8.random(in: 0...255, using: &random) }
    return try SecretBytes(copying: bytes.span)
  }

  // MARK: Time

  /// No world has to take as many; one that does is stuck in a circle.
  private static let stepLimit = 3_000_000

  /// Runs until everything is over.
  package func run() -> Outcome {
    while problems.isEmpty {
      if isSettled { break }
      guard step() else {
        problems.append("nothing happens any more")
        break
      }
      if steps > Self.stepLimit { problems.append("\(steps) steps: it goes in circles") }
      if network.now - Self.start > plan.timeLimit {
        problems.append("it isn't over after \(Int(plan.timeLimit.seconds)) s")
      }
    }
    if problems.isEmpty {
      finish()
    }
    var outcome = Outcome(seed: plan.seed)
    judge(&outcome, problems)
    outcome.steps = steps
    outcome.time = network.now - Self.start
    outcome.digest = digest
    return outcome
  }

  /// Moves on to the next thing that happens.
  private func step() -> Bool {
    var next = Instant.earliest(network.agenda.nextDue, applications.stack.nextDeadline)
    if !link.isStopped { next = Instant.earliest(next, link.core.nextDeadline) }
    next = Instant.earliest(next, site.nextDeadline)
    guard let next else { return false }
    steps += 1
    watch(next)
    network.now = max(network.now, next)
    while let event = network.agenda.popDue(network.now) { handle(event) }
    handleTimeouts()
    flushApplications()
    return true
  }

  /// A deadline that comes again and again without time passing would keep a processor busy for nothing. And what is
  /// bounded must be so all the time, of which samples are taken.
  private func watch(_ next: Instant) {
    stillSteps = next > network.now ? 0 : stillSteps + 1
    if stillSteps > 100 { problems.append("a deadline comes again and again") }
    guard steps % 64 == 0 else { return }
    if !link.isStopped, link.core.sites.contains(link.site) {
      checkBounds(link.core.sites[link.site].peer, link.core.pool, "LinkManager")
    }
    if site.end == nil { checkBounds(site.peer, site.pool, "SiteManager") }
  }

  private func checkBounds(_ peer: borrowing BufferedSession, _ pool: borrowing SlabPool, _ who: String) {
    var status = SessionStatus()
    peer.describe(into: &status)
    let queues = status.queues
    // A gathered write, and what a record may add.
    if queues.sealed > 2 * 256 * 1024 { problems.append("\(who) has \(queues.sealed) bytes sealed ahead") }
    if queues.held > queues.windows { problems.append("\(who) holds \(queues.held) of \(queues.windows) bytes") }
    if queues.windows > plan.session.memoryBudget + status.streams * SessionLimits.initialWindow {
      problems.append("\(who) has given windows of \(queues.windows) bytes")
    }
    if queues.controlFrames > plan.session.controlFrames {
      problems.append("\(who) has \(queues.controlFrames) control frames waiting")
    }
    if pool.slabsInUse > pool.limit { problems.append("\(who) has \(pool.slabsInUse) slabs") }
  }

  private func handleTimeouts() {
    let now = network.now
    if let deadline = applications.stack.nextDeadline, now >= deadline {
      applications.stack.handleTimeout(pool: &applications.pool, now: now)
      applications.needsFlush = true
    }
    if !link.isStopped, let deadline = link.core.nextDeadline, now >= deadline {
      link.core.handleTimeout(now: now)
      turn(.link)
    }
    if let deadline = site.nextDeadline, now >= deadline { turn(.site) }
  }

  private func handle(_ event: Agenda.Event) {
    switch event {
    case .start(let index): connect(index)
    case .packet(let index, let isToLink):
      guard let packet = packets[index].take() else { return }
      freePackets.append(index)
      if isToLink {
        if link.inbox.count < LinkHost.queueLimit { link.inbox.append(packet) }
        turn(.link)
      } else {
        applications.receive(packet, now: network.now)
        takeApplicationEvents()
      }
    case .wire(let wire, let event): signal(wire, event)
    case .dialled(let dial): dialled(dial)
    case .application(let index): act(index)
    case .device(let dial): actDevice(dial)
    case .turn(let host):
      switch host {
      case .link: link.isQueued = false
      case .relay: relay.isQueued = false
      case .site: site.isQueued = false
      }
      turn(host)
    case .incident: happen()
    }
  }

  private func signal(_ wire: Int, _ event: WireEvent) {
    guard network.arrived(wire, event) else { return }
    let end =
      switch event {
      case .bytes(let end, _), .finish(let end), .failure(let end, _), .room(let end): end
      }
    switch (wire, end) {
    case (relay.toLink, 0):
      link.connection.became(event)
      turn(.link)
    case (relay.toLink, _):
      relay.became(event, onLink: true, network)
      turn(.relay)
    case (relay.toSite, 0):
      relay.became(event, onLink: false, network)
      turn(.relay)
    case (relay.toSite, _):
      site.connection.became(event)
      turn(.site)
    default:
      guard let dial = dialOfWire[wire] else { return }
      if end == 0 {
        site.deviceReady(dials[dial].flow, event, &network)
        turn(.site)
      } else {
        deviceReady(dial, event)
      }
    }
  }

  // MARK: Turns

  /// Lets a host's loop go round; if there is more to do, it goes on in a moment.
  func turn(_ host: Host) {
    switch host {
    case .link:
      link.turn(&network)
      flushLink()
      if link.needsTurn(now: network.now), !link.isQueued {
        link.isQueued = true
        bookTurn(.link)
      }
    case .relay:
      if relay.turn(&network), !relay.isQueued {
        relay.isQueued = true
        bookTurn(.relay)
      }
    case .site:
      let isBusy = site.turn(&network)
      beginDials()
      if isBusy, !site.isQueued {
        site.isQueued = true
        bookTurn(.site)
      }
    }
  }

  private func bookTurn(_ host: Host) {
    let moment = Interval.microseconds(Int64.random(in: 1...50, using: &network.random))
    network.agenda.book(.turn(host), at: network.now + moment)
  }

  private func flushLink() {
    writeLinkPackets()
    link.flush(&network)
    writeLinkPackets()
  }

  private func writeLinkPackets() {
    while let packet = link.nextPacket(now: network.now) { carry(packet, toLink: false) }
  }

  func flushApplications() {
    guard applications.needsFlush else { return }
    applications.needsFlush = false
    takeApplicationEvents()
    while let packet = applications.nextPacket(now: network.now) { carry(packet, toLink: true) }
  }

  private func carry(_ packet: FaultyLink.Packet, toLink isToLink: Bool) {
    var arrivals: [(FaultyLink.Packet, Instant)] = []
    let fate =
      isToLink
      ? toLink.carry(packet, &network) { arrivals.append(($1, $2)) }
      : toApplications.carry(packet, &network) { arrivals.append(($1, $2)) }
    if network.trace.isWanted {
      let text = (try? ParsedPacket(parsing: packet.bytes.span)).map { "\($0)" } ?? "a packet"
      network.trace.say(network.now, isToLink ? "-->" : "<--", fate.isEmpty ? text : "\(text) [\(fate)]")
    }
    for (packet, due) in arrivals {
      let index: Int
      if let free = freePackets.popLast() {
        index = free
        packets[index] = packet
      } else {
        index = packets.count
        packets.append(packet)
      }
      network.agenda.book(.packet(index, toLink: isToLink), at: due)
    }
  }

  // MARK: Incidents and ends

  private func happen() {
    guard let incident = plan.incident?.what else { return }
    network.trace.say(network.now, "world", "\(incident)")
    switch incident {
    case .relayCancels: relay.end(reset: true, &network)
    case .corruption: break
    case .blackHole(let isToSite): network.wires[isToSite ? relay.toSite : relay.toLink].block()
    case .siteEnds:
      site.leave("an end", &network)
      turn(.site)
    case .linkLeaves:
      link.core.leaveSite(named: "site", "an end", now: network.now)
      flushLink()
    case .linkStops:
      link.stop(&network)
    // Its device is gone with it: nothing comes from there any more.
    case .siteDies: site.stop(.local("killed"), &network)
    }
  }

  /// Whether nobody has anything to do any more but to keep the session alive.
  private var isSettled: Bool {
    guard network.now > Self.start, applications.stack.connectionCount == 0 else { return false }
    guard connections.allSatisfy({ $0.flow != nil }) else { return false }
    guard link.isStopped || (link.core.stack.connectionCount == 0 && link.core.flowCount == 0) else { return false }
    guard site.flows.count == 0 else { return false }
    return dials.allSatisfy { $0.device.openedAt == nil || $0.device.isOver || $0.device.hasClosed }
  }

  /// Ends the session in order and lets go of everything.
  private func finish() {
    if link.end == nil, site.end == nil, !link.isStopped {
      // While one end says goodbye, its streams may wait for what the other says of them.
      if plan.incident == nil, link.core.sites[link.site].peer.session.streamCount > 0 {
        note("LinkManager's session has streams left")
      }
      link.core.leaveSite(named: "site", "done", now: network.now)
      flushLink()
      let limit = network.now + .seconds(40)
      while link.end == nil || site.end == nil, network.now < limit, step() {}
    }
    if plan.incident == nil {
      if case .finished? = site.end {} else { note("SiteManager's session: \(site.end.map { "\($0)" } ?? "goes on")") }
      if link.end == nil { note("LinkManager's session goes on") }
    } else {
      let limit = network.now + .seconds(40)
      while link.end == nil || site.end == nil, network.now < limit, step() {}
    }
    if !link.isStopped { link.stop(&network) }
    site.stop(.local("over"), &network)
    let held = (link.close(now: network.now), site.heldSlabs(), applications.close())
    if held != (0, 0, 0) { note("slabs held at the end: \(held)") }
  }

  private func note(_ problem: String) {
    problems.append(problem)
  }

  /// What tells whether two runs were the same.
  private var digest: UInt64 {
    var digest = UInt64(bitPattern: network.now.nanoseconds) &+ UInt64(steps)
    for connection in connections {
      digest = (digest ^ UInt64(connection.application.received)) &* 0x100_0000_01B3
    }
    for dial in dials { digest = (digest ^ UInt64(dial.device.received)) &* 0x100_0000_01B3 }
    var random = network.random
    return digest ^ random.next()
  }
}
