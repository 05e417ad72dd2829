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
    let since: Int64
  }

  private struct State {
    var agents: [AgentConfiguration]
    var meetings: [SessionID: Meeting] = [:]
    var arriving = 0
    /// Sessions that arrive and are still wanted. One that ends or is revoked before it is among `meetings` leaves here.
    var expected: Set<SessionID> = []
    var connectedSince: Int64?
    var reconnects = 0
    var lastProblem: String?
    var refusals: [String: UInt64] = [:]
  }

  /// Meetings under way at once: each has a thread.
  private static let arrivalLimit = 32
  /// Sessions at once: each has a thread and its memory.
  private static let sessionLimit = 128

  let name: String
  private let identity: SiteIdentity
  private let log: Logger
  private let state: Mutex<State>
  private let client = Mutex<ControlClient?>(nil)

  init(name: String, identity: SiteIdentity, agents: [AgentConfiguration], log: Logger) {
    self.name = name
    self.identity = identity
    self.log = log
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
    let meetings = state.withLock { state in
      state.agents = agents
      return Array(state.meetings.values)
    }
    for meeting in meetings { meeting.session.replaceRules(agents.map(\.rule)) }
    announce()
    log.info("agents replaced", metadata: ["agents": "\(agents.count)"])
  }

  // MARK: GateManager

  private func handle(_ event: ControlClientEvent) {
    switch event {
    case .connected(let welcome):
      state.withLock { state in
        state.connectedSince = Clock.unixSeconds
        state.lastProblem = nil
      }
      log.info("connected to GateManager", metadata: ["gate": "\(welcome.gate)"])
      let drift = abs(Clock.unixSeconds - welcome.serverTime)
      if drift > SignedGrant.clockSkew / 2 {
        log.warning(
          "this site's clock and GateManager's differ: grants may be refused", metadata: ["seconds": "\(drift)"])
      }
      announce()
    case .disconnected(let error, let retry):
      state.withLock { state in
        if state.connectedSince != nil { state.reconnects += 1 }
        state.connectedSince = nil
        state.lastProblem = "\(error)"
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
      guard let session = release(ending.id) else { return }
      log.info("session revoked", metadata: ["session": "\(ending.id)", "reason": "\(ending.reason)"])
      session.end(ending.reason)
    case .sessionEnded(let ending): release(ending.id)?.end(ending.reason)
    case .failure(let failure):
      log.warning("GateManager refused", metadata: ["code": "\(failure.code)", "reason": "\(failure.message)"])
    default: break
    }
  }

  /// A session that isn't wanted any more, unless it is still arriving: then it ends once it is there.
  private func release(_ id: SessionID) -> SiteSession? {
    state.withLock { state in
      state.expected.remove(id)
      return state.meetings[id]?.session
    }
  }

  private func announce() {
    let descriptions = state.withLock { $0.agents.map(\.description) }
    do throws(ControlSendError) {
      try client.withLock { $0 }?.send(.agents(descriptions))
    } catch {
      if error != .notConnected { log.warning("agents not announced", metadata: ["reason": "\(error)"]) }
    }
  }

  // MARK: Sessions

  private func arrive(_ dial: ControlMessage.Dial) {
    let isFull = state.withLock { state in
      guard state.arriving < Self.arrivalLimit, state.meetings.count + state.arriving < Self.sessionLimit else {
        return true
      }
      state.arriving += 1
      state.expected.insert(dial.id)
      return false
    }
    guard !isFull else {
      refuse(dial.id, "the site has \(Self.sessionLimit) sessions or \(Self.arrivalLimit) arrivals")
      return
    }
    do throws(SystemError) {
      _ = try Thread(name: "meet") {
        self.meet(dial)
        self.arrived(dial.id)
      }
    } catch {
      arrived(dial.id)
      refuse(dial.id, "\(error)")
    }
  }

  /// However it went.
  private func arrived(_ id: SessionID) {
    state.withLock { state in
      state.arriving -= 1
      state.expected.remove(id)
    }
  }

  private func meet(_ dial: ControlMessage.Dial) {
    let id = dial.id
    var log = log
    log[metadataKey: "session"] = "\(id)"
    let flowLog = log
    let rules = state.withLock { $0.agents.map(\.rule) }
    do throws(ArrivalError) {
      let (session, grant) = try identity.meet(
        dial, rules: rules, ownAddresses: Self.ownAddresses,
        onFlow: { flow in
          if let refusal = flow.refusal {
            self.count(refusal)
            flowLog.notice(
              "flow refused",
              metadata: [
                "agent": "\(flow.agent)", "port": "\(flow.transport)/\(flow.port)", "reason": "\(refusal)",
              ])
          } else {
            flowLog.info(
              "flow opened", metadata: ["agent": "\(flow.agent)", "port": "\(flow.transport)/\(flow.port)"])
          }
        },
        onEnd: { end in self.ended(id, end, flowLog) })
      let meeting = Meeting(session: session, grant: grant, since: Clock.unixSeconds)
      let isExpected = state.withLock { state in
        guard state.expected.remove(id) != nil else { return false }
        state.meetings[id] = meeting
        return true
      }
      // Ended already, by itself or by GateManager, and nobody would take it off the list again.
      guard isExpected else { return session.end("it was ended while it began") }
      log.info(
        "session open",
        metadata: ["user": "\(grant.user)", "pc": "\(grant.pc)", "reason": "\(grant.reason ?? "")"])
    } catch {
      log.warning("session refused", metadata: ["reason": "\(error)"])
      refuse(id, "\(error)")
    }
  }

  private func count(_ refusal: Framing.Refusal) {
    state.withLock { $0.refusals["\(refusal.reason)", default: 0] += 1 }
  }

  private func ended(_ id: SessionID, _ end: SessionEnd, _ log: Logger) {
    let meeting = state.withLock { state in
      state.expected.remove(id)
      return state.meetings.removeValue(forKey: id)
    }
    log.info(
      "session ended", metadata: ["reason": "\(end)", "user": "\(meeting?.grant.user ?? "")"])
    refuse(id, "\(end)")
  }

  /// Tells GateManager that this site won't come to a session, or has left it.
  private func refuse(_ id: SessionID, _ reason: String) {
    try? client.withLock { $0 }?.send(.cancel(.init(id: id, reason: reason)))
  }

  private static var ownAddresses: Set<IPAddress> {
    guard let routes = try? RouteSocket(), let addresses = try? routes.addresses() else { return [] }
    return Set(addresses.map(\.address))
  }

  // MARK: Status

  /// Takes half a second, over which rates are measured.
  var status: SiteStatus {
    let before = state.withLock { $0.meetings.mapValues(\.session.status) }
    if !before.isEmpty { Thread.sleep(.milliseconds(450)) }
    return state.withLock { state in
      let now = Clock.unixSeconds
      let sessions = state.meetings.map { id, meeting in
        SiteStatus.Session(id: id, meeting: meeting, before: before[id])
      }
      .sorted { $0.since < $1.since }
      let agents = state.agents.map { agent in
        let flows = sessions.reduce(0) { $0 + ($1.flowsByAgent[agent.name] ?? 0) }
        return SiteStatus.Agent(
          name: agent.name, device: "\(agent.device)", state: flows > 0 ? "UP:\(flows)" : "IDLE", flows: flows,
          about: agent.about)
      }
      return SiteStatus(
        site: name, gate: identity.server.address.description, connected: state.connectedSince != nil,
        connectedSeconds: state.connectedSince.map { now - $0 }, reconnects: state.reconnects,
        problem: state.lastProblem, siteKey: "\(identity.keyHash)", agents: agents, sessions: sessions,
        refusals: state.refusals)
    }
  }
}

extension AgentConfiguration {
  /// What the session's policy needs of it.
  var rule: SiteRule {
    SiteRule(agent: name, device: device, tcp: tcp, udp: udp, echo: ping)
  }
}
