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
  private var dialOfWire: [Int: Int] = [:]
  var toLink: FaultyLink
  var toApplications: FaultyLink
  private var packets: [FaultyLink.Packet?] = []
  private var freePackets: [Int] = []
  private(set) var steps = 0
  private var problems: [String] = []
  private let alias: AgentAlias

  static let start = Instant(nanoseconds: 1_000_000_000)
  private static let firstPort: UInt16 = 10_000
  private static let firstApplicationPort: UInt16 = 40_000

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
  private static let timeLimit = Interval.seconds(4 * 3600)

  /// Runs until everything is over.
  package func run() -> Outcome {
    while problems.isEmpty {
      if isSettled { break }
      guard step() else {
        problems.append("nothing happens any more")
        break
      }
      if steps > Self.stepLimit { problems.append("\(steps) steps: it goes in circles") }
      if network.now - Self.start > Self.timeLimit { problems.append("it isn't over after four hours") }
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
    network.now = max(network.now, next)
    while let event = network.agenda.popDue(network.now) { handle(event) }
    handleTimeouts()
    flushApplications()
    return true
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
  private func turn(_ host: Host) {
    switch host {
    case .link:
      let isBusy = link.turn(&network)
      flushLink()
      // Stopping reading for others' sake is no reason to look again at once.
      if isBusy, !link.isQueued {
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

  // MARK: Applications

  private func connect(_ index: Int) {
    let plan = connections[index].plan
    let address = plan.isV6 ? alias.v6?.address : alias.v4?.address
    guard let address else { return problems.append("no alias") }
    let source = plan.isV6 ? IPAddress("fd00::1")! : IPAddress(10, 0, 0, 1)
    do throws(StackError) {
      let flow = try applications.stack.connect(
        from: Endpoint(source, Self.firstApplicationPort + UInt16(index)),
        to: Endpoint(address, Self.port(of: index)), now: network.now)
      connections[index].flow = flow
      applications.connectionOf[flow] = index
      applications.stack.setReceiveCredit(flow, plan.application.buffer, now: network.now)
      applications.needsFlush = true
    } catch {
      problems.append("connection \(index): \(error)")
    }
  }

  private func takeApplicationEvents() {
    let now = network.now
    while let event = applications.stack.nextEvent() {
      switch event {
      case .established(let flow):
        guard let index = applications.connectionOf[flow] else { continue }
        connections[index].application.opened(now: now)
        network.trace.say(now, "application \(index)", "connected")
        act(index)
      case .received(let flow, let slice):
        guard let index = applications.connectionOf[flow] else {
          applications.pool.release(slice)
          continue
        }
        let actor = connections[index].application
        if actor.hasClosed {
          // Nobody is there to read it.
          applications.stack.abort(flow, pool: &applications.pool, now: now)
          connections[index].application.didReset()
        } else {
          applications.pool.withSpan(slice) { connections[index].application.receive($0, isRead: false) }
          let actor = connections[index].application
          if actor.unread > actor.plan.buffer {
            problems.append("connection \(index): \(actor.unread) bytes in a buffer of \(actor.plan.buffer)")
          }
        }
        applications.pool.release(slice)
        act(index)
      case .acknowledged(let flow, _):
        if let index = applications.connectionOf[flow] { act(index) }
      case .finished(let flow):
        guard let index = applications.connectionOf[flow] else { continue }
        network.trace.say(now, "application \(index)", "sees the end")
        connections[index].application.receiveFinish()
        act(index)
      case .reset(let flow, let cause):
        guard let index = applications.connectionOf[flow] else { continue }
        network.trace.say(now, "application \(index)", "sees a reset: \(cause)")
        let failure: Actor.Failure =
          switch cause {
          case .byApplication: .reset
          case .refused: .refused
          case .timedOut: .timedOut
          }
        connections[index].application.fail(failure)
      case .closed: break
      case .datagram(_, let slice), .echoRequested(_, let slice): applications.pool.release(slice)
      case .openRequested, .datagramFlowRequested, .datagramRejected, .datagramFlowExpired: break
      }
    }
  }

  /// Lets an application do what it has to do.
  private func act(_ index: Int) {
    guard let flow = connections[index].flow else { return }
    let now = network.now
    while true {
      let actor = connections[index].application
      let room = max(0, ApplicationHost.sendBuffer - applications.stack.unacknowledged(flow))
      let step = connections[index].application.next(
        room: room, readable: actor.unread, &network.random, now: now)
      applications.needsFlush = true
      if network.trace.isWanted { tell("application \(index)", step) }
      switch step {
      case .send(let count):
        guard applications.send(flow, count, key: actor.sendKey, from: actor.sent, now: now) else {
          problems.append("connection \(index): no memory for the application")
          return
        }
        connections[index].application.didSend(count)
      case .read(let count):
        connections[index].application.didRead(count)
        applications.stack.setReceiveCredit(
          flow, actor.plan.buffer - connections[index].application.unread, now: now)
      case .finish:
        applications.stack.finish(flow, now: now)
        connections[index].application.didFinish()
      case .close where actor.unread == 0:
        applications.stack.finish(flow, now: now)
        connections[index].application.didClose()
      case .close, .reset, .vanish:
        applications.stack.abort(flow, pool: &applications.pool, now: now)
        connections[index].application.didReset()
      case .sleep(let time):
        if let time { network.agenda.book(.application(connection: index), at: max(time, now + .microseconds(1))) }
        return
      }
    }
  }

  private func tell(_ who: String, _ step: Actor.Step) {
    switch step {
    case .sleep: break
    default: network.trace.say(network.now, who, "\(step)")
    }
  }

  // MARK: Devices

  private func beginDials() {
    while let (flow, port) = site.dials.popFirst() {
      guard site.flows.contains(flow) else { continue }
      let index = Int(port) - Int(Self.firstPort)
      guard connections.indices.contains(index) else { return problems.append("a dial to port \(port)") }
      let plan = connections[index].plan
      let wire = network.addWire(
        capacity: plan.device.buffer, latency: .microseconds(200), jitter: .microseconds(200))
      let dial = dials.count
      dials.append(
        Dial(
          connection: index, flow: flow, wire: wire,
          device: Actor(plan.device, sendKey: 2 * index + 1, receiveKey: 2 * index)))
      connections[index].dials.append(dial)
      dialOfWire[wire] = dial
      site.flows[flow].wire = wire
      network.trace.say(network.now, "site", "dials device \(index): dial \(dial)")
      if plan.dial != .silence { network.agenda.book(.dialled(dial: dial), at: network.now + plan.dialTime) }
    }
  }

  private func dialled(_ dial: Int) {
    let flow = dials[dial].flow
    // Given up meanwhile: the device has never heard of it, or has forgotten it.
    guard site.end == nil, site.flows.contains(flow) else { return }
    switch connections[dials[dial].connection].plan.dial {
    case .accept:
      dials[dial].device.opened(now: network.now)
      site.dialled(flow, nil, &network)
      actDevice(dial)
    case .refuse: site.dialled(flow, Refusal(.deviceRefused), &network)
    case .unreachable: site.dialled(flow, Refusal(.hostUnreachable), &network)
    case .silence: break
    }
    turn(.site)
  }

  private func deviceReady(_ dial: Int, _ event: WireEvent) {
    if case .failure(_, let error) = event, network.wires[dials[dial].wire].readable(1) == 0 {
      network.trace.say(network.now, "device \(dials[dial].connection)", "sees \(error)")
      dials[dial].device.fail(error == .timedOut ? .timedOut : .reset)
    }
    actDevice(dial)
  }

  /// Lets a device do what it has to do.
  private func actDevice(_ dial: Int) {
    let wire = dials[dial].wire
    let now = network.now
    while true {
      let actor = dials[dial].device
      let readable = network.wires[wire].readable(1)
      if readable == 0, !actor.isOver, !actor.hasClosed, actor.openedAt != nil {
        switch network.wires[wire].look(1) {
        case .ended where !actor.sawFinish:
          network.trace.say(now, "device \(dials[dial].connection)", "sees the end")
          dials[dial].device.receiveFinish()
        case .failed(let error): dials[dial].device.fail(error == .timedOut ? .timedOut : .reset)
        default: break
        }
      }
      let step = dials[dial].device.next(
        room: network.wires[wire].room(1), readable: readable, &network.random, now: now)
      if network.trace.isWanted { tell("device \(dials[dial].connection)", step) }
      switch step {
      case .send(let count):
        var bytes = [UInt8](repeating: 0, count: count)
        var span = bytes.mutableSpan
        Pattern.write(actor.sendKey, from: actor.sent, into: &span)
        let moved = network.write(wire, 1, bytes.span) ?? 0
        dials[dial].device.didSend(moved)
        if moved == 0 { dials[dial].device.fail(.reset) }
      case .read(let count):
        network.take(wire, 1, count) { bytes in
          dials[dial].device.receive(bytes, isRead: true)
        }
      case .finish:
        network.finish(wire, 1)
        dials[dial].device.didFinish()
      case .close:
        network.close(wire, 1, reset: false)
        if readable > 0 { dials[dial].device.didReset() } else { dials[dial].device.didClose() }
      case .reset:
        network.close(wire, 1, reset: true)
        dials[dial].device.didReset()
      case .vanish:
        network.die(wire, 1, after: .seconds(60))
        dials[dial].device.didReset()
      case .sleep(let time):
        if dials[dial].device.isComplete { network.close(wire, 1, reset: false) }
        if let time { network.agenda.book(.device(dial: dial), at: max(time, now + .microseconds(1))) }
        return
      }
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
      if link.core.sites[link.site].peer.session.streamCount > 0 { note("LinkManager's session has streams left") }
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
