import Control
import Crypto
import Framing
import Kernel
import Logging
import Primitives
import Proxy
import Service
import Synchronization
import Tun

/// The running site: its control connection, its agents and the sessions that it has met.
final class SiteService: Sendable {
  struct Meeting: Sendable {
    let session: SiteSession
    let grant: Grant
    /// Seconds since 1970, and the same on the clock that nobody sets.
    let since: Int64
    let began: Instant
  }

  struct State {
    var agents: [AgentConfiguration]
    /// What the operator on site has switched off.
    var remote = RemoteAccess()
    var meetings: [SessionID: Meeting] = [:]
    var arriving = 0
    var connectedSince: Instant?
    var outages = OutageLog()
    /// Sessions that ended before their meeting was noted.
    var endedEarly: Set<SessionID> = []
    /// Of sessions that have ended.
    var totals = SiteStatus.Totals()
    var refusals: [String: UInt64] = [:]

    /// What sessions are judged by.
    var rules: [SiteRule] {
      agents.map { agent in
        var rule = agent.rule
        rule.veto = remote.veto(of: agent.name)
        return rule
      }
    }

    /// What others are told.
    var descriptions: [AgentDescription] {
      agents.map { agent in
        var description = agent.description
        description.veto = remote.veto(of: agent.name)
        if description.veto != nil { description.state = .down }
        return description
      }
    }
  }

  /// Meetings under way at once: each has a thread.
  let arrivalLimit: Int
  /// Sessions at once: each has a thread and its memory.
  let sessionLimit: Int

  let name: String
  let identity: SiteIdentity
  let log: Logger
  private let flowLog: FlowLog
  private let durations: SiteDurations
  private let discovery: DiscoveryServer
  let state: Mutex<State>
  let captures = CaptureList()
  private let reports = Mutex(ReportBacklog())
  /// Held while sessions are told of captures.
  let tapping = Mutex(())
  private let client = Mutex<ControlClient?>(nil)

  init(
    name: String, identity: SiteIdentity, agents: [AgentConfiguration], durations: SiteDurations, log: Logger,
    sessionLimit: Int = 128, arrivalLimit: Int = 32
  ) {
    self.sessionLimit = sessionLimit
    self.arrivalLimit = arrivalLimit
    self.name = name
    self.identity = identity
    self.durations = durations
    self.log = log
    flowLog = FlowLog(log)
    discovery = DiscoveryServer(log: log)
    state = Mutex(State(agents: agents))
  }

  func start() throws(GateError) {
    let started = try ControlClient(
      to: identity.server, credentials: identity.credentials,
      hello: .init(role: .siteManager, name: name, software: SiteManagerCommand.software)
    ) { [weak self] event in
      self?.handle(event)
    }
    client.withLock { $0 = started }
  }

  func stop() {
    let meetings = state.withLock { Array($0.meetings.values) }
    for meeting in meetings { meeting.session.end("the site is stopping") }
    let running = client.withLock { $0.take() }
    running?.stop()
    // Sessions say goodbye on their own threads.
    for _ in 0..<20 where !state.withLock({ $0.meetings.isEmpty }) {
      Thread.sleep(.milliseconds(50))
    }
  }

  /// Puts other agents in force: new flows are judged by them, and GateManager hears of them.
  func replaceAgents(_ agents: [AgentConfiguration]) {
    state.withLock { $0.agents = agents }
    judgeAnew()
    log.info("agents replaced", metadata: ["agents": "\(agents.count)"])
  }

  /// The operator on site has switched something off or on: what is off is cut, and GateManager hears of it.
  func replaceRemoteAccess(_ access: RemoteAccess) {
    state.withLock { $0.remote = access }
    judgeAnew()
    var story: Logger.Metadata = ["remote": "\(access.veto ?? "on")"]
    if let agents = access.agents { story["off"] = "\(agents.keys.sorted().joined(separator: " "))" }
    log.notice("remote access switched", metadata: story)
  }

  private func judgeAnew() {
    let (meetings, rules, veto) = state.withLock { (Array($0.meetings.values), $0.rules, $0.remote.veto) }
    for meeting in meetings {
      meeting.session.replaceRules(rules)
      if let veto { meeting.session.end(veto) }
    }
    announce()
  }

  /// The host's links, addresses or routes have changed: connections that died of it are found and made anew.
  func networkChanged() {
    let sessions = state.withLock { $0.meetings.values.map(\.session) }
    for session in sessions { session.probe() }
    client.withLock { $0 }?.networkChanged()
  }

  // MARK: GateManager

  private func handle(_ event: ControlClientEvent) {
    switch event {
    case .connected(let welcome):
      state.withLock { state in
        state.connectedSince = Clock.now
        state.outages.recovered(now: Clock.now)
      }
      log.info("connected to GateManager", metadata: ["gate": "\(welcome.gate)"])
      compareClocks(welcome.serverTime)
      // What files, keys and the handshake needed, a megabyte of it, isn't needed while the site waits.
      Heap.trim()
      announce()
      sendReports()
    case .disconnected(let error, let retry):
      state.withLock { state in
        state.connectedSince = nil
        state.outages.lost("\(error)", now: Clock.now, unixSeconds: Clock.unixSeconds)
      }
      log.warning(
        "no connection to GateManager",
        metadata: ["reason": "\(error)", "retry": "\(retry.milliseconds) ms"])
    case .message(let envelope): handle(envelope)
    }
  }

  private func handle(_ envelope: ControlEnvelope) {
    switch envelope.message {
    case .dial(let dial): arrive(dial)
    case .revoke(let ending):
      guard let meeting = state.withLock({ $0.meetings[ending.id] }) else { return }
      log.info("session revoked", metadata: ["session": "\(ending.id)", "reason": "\(ending.reason)"])
      meeting.session.end(ending.reason)
    case .sessionEnded(let ending):
      state.withLock({ $0.meetings[ending.id] })?.session.end(ending.reason)
    case .failure(let failure):
      log.warning("GateManager refused", metadata: ["code": "\(failure.code)", "reason": "\(failure.message)"])
    default: break
    }
  }

  /// Nothing depends on this site's clock but its log, and for that it should be right.
  private func compareClocks(_ serverTime: Int64) {
    let own = Clock.unixSeconds
    let (drift, overflow) = own.subtractingReportingOverflow(serverTime)
    guard overflow || drift.magnitude > UInt64(SignedGrant.clockSkew) else { return }
    log.warning(
      "this site's clock is wrong, or GateManager's: grants are judged by GateManager's",
      metadata: ["site": "\(Timestamp.text(unixSeconds: own))", "gate": "\(Timestamp.text(unixSeconds: serverTime))"])
  }

  private func announce() {
    let descriptions = state.withLock { $0.descriptions }
    do throws(ControlSendError) {
      try client.withLock { $0 }?.send(
        .agents(descriptions, features: SiteFeatures([SiteFeatures.grantedPorts])))
    } catch {
      if error != .notConnected { log.warning("agents not announced", metadata: ["reason": "\(error)"]) }
    }
  }

  /// Tells GateManager of what was done with a session here, now or when it can be reached again.
  func report(_ what: String, _ grant: Grant, agent: String, _ detail: String, _ counters: CaptureCounters? = nil) {
    let report = SiteReport(
      what, session: grant.session, agent: agent, detail: detail, packets: counters?.captured, bytes: counters?.bytes,
      time: Clock.unixSeconds)
    reports.withLock { $0.add(report) }
    sendReports()
  }

  private func sendReports() {
    reports.withLock { backlog in
      backlog.send { report in
        guard let client = client.withLock({ $0 }) else { return false }
        do throws(ControlSendError) {
          try client.send(.report(report))
        } catch .notConnected, .queueFull {
          return false
        } catch {
          // It would never go.
          log.warning("report not sent", metadata: ["reason": "\(error)"])
        }
        return true
      }
    }
  }

  // MARK: Sessions

  private func arrive(_ dial: ControlMessage.Dial) {
    if let veto = state.withLock({ $0.remote.veto }) {
      state.withLock { $0.totals.sessionsRefused += 1 }
      log.warning("session refused", metadata: ["session": "\(dial.id)", "reason": "\(veto)"])
      return refuse(dial.id, veto)
    }
    let isFull = state.withLock { state in
      guard state.arriving < arrivalLimit, state.meetings.count + state.arriving < sessionLimit else {
        state.totals.sessionsRefused += 1
        return true
      }
      state.arriving += 1
      return false
    }
    guard !isFull else {
      let reason = "the site has \(sessionLimit) sessions or \(arrivalLimit) arrivals"
      log.warning("session refused", metadata: ["session": "\(dial.id)", "reason": "\(reason)"])
      refuse(dial.id, reason)
      return
    }
    do throws(SystemError) {
      _ = try Thread(name: "meet") {
        self.meet(dial)
        self.state.withLock { $0.arriving -= 1 }
      }
    } catch {
      state.withLock { state in
        state.arriving -= 1
        state.totals.sessionsRefused += 1
      }
      log.warning("session refused", metadata: ["session": "\(dial.id)", "reason": "\(error)"])
      refuse(dial.id, "\(error)")
    }
  }

  private func meet(_ dial: ControlMessage.Dial) {
    let id = dial.id
    var log = log
    log[metadataKey: "session"] = "\(id)"
    let rules = state.withLock { $0.rules }
    do throws(ArrivalError) {
      let (session, grant) = try identity.meet(
        dial, rules: rules, ownAddresses: try Self.ownAddresses(), services: { self.services(of: $0) },
        onFlow: { self.record($0) }, onEnd: { self.ended(id, $0) })
      let hasEnded = state.withLock { state in
        state.totals.sessionsOpened += 1
        if state.endedEarly.remove(id) != nil { return true }
        state.meetings[id] = Meeting(session: session, grant: grant, since: Clock.unixSeconds, began: Clock.now)
        return false
      }
      // What has changed while it was met.
      let (rules, veto) = state.withLock { ($0.rules, $0.remote.veto) }
      session.replaceRules(rules)
      if let veto { session.end(veto) }
      tellCaptures(to: session)
      log.info(
        "session open",
        metadata: [
          "user": "\(grant.user)", "pc": "\(grant.pc)", "purpose": "\(grant.reason ?? "")",
          "until": "\(Timestamp.text(unixSeconds: grant.notAfter))",
        ])
      if hasEnded { log.info("session ended", metadata: ["reason": "it ended at once"]) }
    } catch {
      state.withLock { $0.totals.sessionsRefused += 1 }
      log.warning("session refused", metadata: ["reason": "\(error)"])
      refuse(id, "\(error)")
    }
  }

  /// What this site offers the one whom a grant names, besides flows to addresses.
  private func services(of grant: Grant) -> SiteServices {
    SiteServices { request throws(Framing.Refusal) in
      switch request.protocol {
      case .discovery:
        try self.discovery.answer(request.rule, session: request.session, user: grant.user, pc: grant.pc) {
          self.state.withLock { state in state.agents.first { $0.name == request.rule.agent } }?.rule.interface
        } assigned: { detail in
          self.report("assigned", grant, agent: request.rule.agent, detail)
        }
      case .capture: try self.openCapture(request, grant)
      case .ethernet, .icmp, .tcp, .udp: try SiteServices.none.open(request)
      }
    }
  }

  /// What became of a flow: on the session's thread.
  private func record(_ flow: FlowReport) {
    switch flow.event {
    case .opened(let time):
      if flow.protocol == .tcp { durations.dial.record(time, ("outcome", "opened")) }
    case .refused(let refusal):
      state.withLock { $0.refusals["\(refusal.reason)", default: 0] += 1 }
      if flow.protocol == .tcp, flow.destination != nil {
        durations.dial.record(flow.duration, ("outcome", "refused"))
      }
    case .ended: durations.flow.record(flow.duration, ("protocol", "\(flow.protocol)"))
    case .denied: break
    }
    flowLog.record(flow)
  }

  private func ended(_ id: SessionID, _ end: SessionEnd) {
    let meeting = state.withLock { state -> Meeting? in
      state.totals.sessionsEnded[end.label, default: 0] += 1
      guard let meeting = state.meetings.removeValue(forKey: id) else {
        state.endedEarly.insert(id)
        return nil
      }
      state.totals.add(meeting.session.status)
      return meeting
    }
    if let meeting {
      let status = meeting.session.status
      log.info(
        "session ended",
        metadata: [
          "session": "\(id)", "reason": "\(end)", "user": "\(meeting.grant.user)",
          "seconds": "\((Clock.now - meeting.began).milliseconds / 1000)", "flows": "\(status.counters.streamsOpened)",
          "bytesIn": "\(status.counters.dataBytesIn)", "bytesOut": "\(status.counters.dataBytesOut)",
        ])
    }
    if end.isSudden { client.withLock { $0 }?.probe() }
    refuse(id, "\(end)")
  }

  /// Tells GateManager that this site won't come to a session, or has left it.
  private func refuse(_ id: SessionID, _ reason: String) {
    client.withLock { $0 }?.leave(id, reason: reason)
  }

  /// Without them nothing would keep a subnet agent from the site itself: then there is no session.
  private static func ownAddresses() throws(ArrivalError) -> Set<IPAddress> {
    do throws(TunError) {
      return Set(try RouteSocket().addresses().map(\.address))
    } catch {
      throw .local("the site's own addresses can't be listed: \(error)")
    }
  }
}

extension AgentConfiguration {
  /// What the session's policy needs of it.
  var rule: SiteRule {
    var rule =
      switch place {
      case .addresses(let device): SiteRule(agent: name, device: device, tcp: tcp, udp: udp, ftp: ftp, echo: ping)
      case .interface(let interface, let access): SiteRule(agent: name, interface: SiteInterface(interface, access))
      }
    rule.capture = capture
    return rule
  }
}
