import Adapter
import Control
import Crypto
import Kernel
import Logging
import Primitives
import Proxy
import Service
import Synchronization

/// The running LinkManager: passive until a user asks for a site, and again after the last one is left.
actor LinkService {
  struct Site {
    var agents: [String]?
    var reason: String
    var session: SessionID?
    var isConnected = false
    var aliases: [AgentAlias] = []
    /// Why agents are switched off on site, by name.
    var vetoes: [String: String] = [:]
    /// Attempts since it was last connected.
    var attempts = 0
    var problem: String?
    /// It was connected once: kept up until the user leaves it, and over a crash of this process.
    var isKept = false
    /// Why its sessions were lost, and for how long it was away.
    var outages = OutageLog()
    /// The rest before the next attempt; cut short when there is reason to hope.
    var pause: Task<Void, Never>?
    /// Counts up when the user leaves, so that an attempt under way finds out.
    var epoch: Int
  }

  let account: Account
  private let server: GateServer
  private let credentials: TLSContext.Credentials
  private let directory: StateDirectory
  private let deviceName: String
  private let configuration: AdapterConfiguration
  /// How long ago an orderly stop may be for its sites to be taken up again.
  private let resumptionWindow: Interval
  let log: Logger
  let captures = CaptureList()
  /// What the state directory says is wanted.
  private var wanted = WantedSites()
  private var isStopped = false
  private let flowLog: FlowLog
  private let metrics: MetricRegistry
  private let durations: LinkDurations
  private let table: MetricTable<LinkStatus>
  private let processTable: MetricTable<ProcessReport>
  private var gate: GateLink?
  private(set) var adapter: Adapter?
  private(set) var sites: [String: Site] = [:]
  /// The device and the connection that nobody needs any more are being closed.
  private var resting = 0
  /// What GateManager has said about sessions that aren't connected yet, the oldest first.
  private var earlyStates: [AgentStates] = []
  private static let earlyStatesLimit = 32
  /// What hides agents from this PC, or a part of its network.
  private var deviceProblem: String?
  private var epochs = 0
  /// How often GateManager could be reached anew.
  private var gateConnections = 0
  private var totals = LinkStatus.Totals()
  private var random = SystemRandomNumberGenerator()

  init(
    account: Account, server: GateServer, credentials: TLSContext.Credentials, directory: StateDirectory,
    device: String, configuration: AdapterConfiguration, resumptionWindow: Interval, metrics: MetricRegistry,
    log: Logger
  ) {
    self.metrics = metrics
    durations = LinkDurations(metrics)
    table = MetricTable(LinkMetrics.rows, registry: metrics)
    processTable = MetricTable(ProcessReport.metrics, registry: metrics)
    flowLog = FlowLog(log)
    self.account = account
    self.server = server
    self.credentials = credentials
    self.directory = directory
    deviceName = device
    self.configuration = configuration
    self.resumptionWindow = resumptionWindow
    self.log = log
  }

  // MARK: Over restarts

  /// Takes up the sites that were connected when the service last ended, if that wasn't long ago.
  func resume() {
    do throws(CommandFailure) {
      wanted = try WantedSites.load(from: directory)
    } catch {
      log.warning("the sites that were connected aren't known", metadata: ["reason": "\(error)"])
    }
    guard wanted.areCurrent(for: account, now: Clock.unixSeconds, window: resumptionWindow) else { return keepWanted() }
    for (name, site) in wanted.sites {
      epochs += 1
      let epoch = epochs
      sites[name] = Site(
        agents: site.agents, reason: site.reason, problem: "the LinkManager was restarted", isKept: true, epoch: epoch)
      log.notice("taking a site up again", metadata: ["site": "\(name)", "reason": "\(site.reason)"])
      Task { await self.recover(name, epoch, atOnce: true) }
    }
    keepWanted()
  }

  /// Brings the state directory up to date.
  private func keepWanted(stopped: Int64? = nil) {
    guard !isStopped else { return }
    var current = WantedSites(user: account.user, gate: account.gate.key.description, stopped: stopped)
    for (name, site) in sites where site.isKept {
      current.sites[name] = WantedSites.Site(agents: site.agents, reason: site.reason)
    }
    guard current != wanted, !(current.sites.isEmpty && wanted.sites.isEmpty) else { return }
    do throws(CommandFailure) {
      try current.save(to: directory)
      wanted = current
    } catch {
      log.warning("the connected sites aren't kept for the next start", metadata: ["reason": "\(error)"])
    }
  }

  // MARK: What users ask

  func list() async throws -> [ControlMessage.SiteSummary] {
    let sites = try await gateLink().sites()
    restIfIdle()
    return sites
  }

  /// Connects to a site, and keeps it connected until `disconnect`.
  func connect(_ name: String, agents: [String]?, reason: String) async throws -> [AgentAlias] {
    // An attempt that is under way is this user's as well; one that recovers a lost site gives way to a fresh one.
    while let site = sites[name], site.agents == agents, site.problem == nil {
      if site.isConnected { return site.aliases }
      try await Task.sleep(for: .milliseconds(50))
    }
    epochs += 1
    let epoch = epochs
    sites[name] = Site(agents: agents, reason: reason, epoch: epoch)
    do {
      return try await attempt(name, epoch)
    } catch {
      // The first attempt is the user's to see; only what was connected once is taken up again by itself.
      if sites[name]?.epoch == epoch { sites[name] = nil }
      keepWanted()
      restIfIdle()
      throw error
    }
  }

  func disconnect(_ name: String) -> Bool {
    guard leave(name) else { return false }
    keepWanted()
    restIfIdle()
    return true
  }

  private func leave(_ name: String) -> Bool {
    guard let site = sites.removeValue(forKey: name) else { return false }
    site.pause?.cancel()
    adapter?.detach(site: name)
    if let session = site.session { gate?.leave(session, reason: "disconnected by the user") }
    var story: Logger.Metadata = ["site": "\(name)"]
    if let session = site.session { story["session"] = "\(session)" }
    log.info("disconnected", metadata: story)
    return true
  }

  /// The host's links or addresses have changed: connections that died of it are found and made anew.
  func networkChanged() {
    adapter?.networkChanged()
    gate?.networkChanged()
  }

  /// GateManager can be asked again: lost sites needn't wait any longer.
  private func gateConnected() {
    gateConnections += 1
    for site in sites.values { site.pause?.cancel() }
  }

  func explain(_ transport: TransportProtocol, _ destination: Endpoint) async -> Explanation? {
    await adapter?.explain(transport, destination)
  }

  /// What GateManager says about an agent, if it can be asked.
  func askGate(_ site: String, _ agent: String) async throws -> (isAllowed: Bool, text: String) {
    let gate = try gateLink()
    defer { restIfIdle() }
    return try await gate.explain(site: site, agent: agent, reason: sites[site]?.reason)
  }

  func stop() {
    // First, while they are still known.
    keepWanted(stopped: Clock.unixSeconds)
    isStopped = true
    for name in Array(sites.keys) { _ = leave(name) }
    adapter?.stop()
    gate?.stop()
    adapter = nil
    gate = nil
  }

  // MARK: Sessions

  private func attempt(_ name: String, _ epoch: Int) async throws -> [AgentAlias] {
    // Two devices can't have the same addresses: the one of a moment ago goes first.
    while resting > 0 { try await Task.sleep(for: .milliseconds(20)) }
    let start = Clock.now
    do {
      let aliases = try await open(name, epoch)
      durations.connect.record(Clock.now - start, ("outcome", "connected"))
      return aliases
    } catch {
      durations.connect.record(Clock.now - start, ("outcome", "failed"))
      throw error
    }
  }

  private func open(_ name: String, _ epoch: Int) async throws -> [AgentAlias] {
    guard let site = sites[name], site.epoch == epoch else { throw CommandFailure(.no, "left by the user") }
    sites[name]?.attempts += 1
    let adapter = try self.adapter ?? startAdapter()
    let gate = try gateLink()
    let pins = PinBoard(directory: directory, gate: account.gate.key, site: name)
    let session = try await gate.connect(to: name, agents: site.agents, reason: site.reason) { key in
      try pins.judge(key)
    }
    let id = session.id
    guard sites[name]?.epoch == epoch else {
      gate.leave(id, reason: "left by the user")
      throw CommandFailure(.no, "left by the user")
    }
    // Known before it can end.
    sites[name]?.session = id
    let aliases: [AgentAlias]
    do {
      // The closures capture few words: the compiler (6.3.1, x86-64) loses the stack of an asynchronous closure whose
      // captures don't fit into registers.
      aliases = try await adapter.attach(session) { end in
        if end.isSudden { gate.probe() }
        let notice = EndNotice(id: id, end: end)
        Task { await self.ended(notice) }
      }
    } catch {
      if sites[name]?.session == id { sites[name]?.session = nil }
      throw error
    }
    guard sites[name]?.epoch == epoch else {
      if sites[name] == nil { adapter.detach(site: name) }
      throw CommandFailure(.no, "left by the user")
    }
    // One that has ended again already is `ended`'s to recover.
    guard sites[name]?.session == id else { return aliases }
    sites[name]?.aliases = aliases
    sites[name]?.isConnected = true
    sites[name]?.vetoes = [:]
    for alias in aliases { sites[name]?.vetoes[alias.agent.name] = alias.agent.veto }
    for states in earlyStates where states.id == id { take(states) }
    earlyStates.removeAll { $0.id == id }
    sites[name]?.attempts = 0
    sites[name]?.problem = nil
    sites[name]?.outages.recovered(now: Clock.now)
    totals.sessionsOpened += 1
    sites[name]?.isKept = true
    keepWanted()
    log.info(
      "connected",
      metadata: ["site": "\(name)", "session": "\(id)", "agents": "\(aliases.count)", "purpose": "\(site.reason)"])
    return aliases
  }

  private func ended(_ notice: EndNotice) {
    let (id, reason) = (notice.id, "\(notice.end)")
    totals.sessionsEnded[notice.end.label, default: 0] += 1
    gate?.leave(id, reason: reason)
    // One that its user has left is no longer among them; `leave` has logged its name.
    let lost = sites.first { $0.value.session == id }
    var story: Logger.Metadata = ["session": "\(id)", "reason": "\(reason)"]
    if let lost { story["site"] = "\(lost.key)" }
    log.info("session ended", metadata: story)
    guard let (name, site) = lost else { return }
    sites[name]?.session = nil
    sites[name]?.aliases = []
    sites[name]?.isConnected = false
    sites[name]?.problem = reason
    sites[name]?.outages.lost(reason, now: Clock.now, unixSeconds: Clock.unixSeconds)
    Task { await self.recover(name, site.epoch) }
  }

  /// Takes a site up again that was lost, for as long as its user doesn't leave it.
  private func recover(_ name: String, _ epoch: Int, atOnce: Bool = false) async {
    var backoff = Backoff()
    var seen = gateConnections
    var waits = !atOnce
    while sites[name]?.epoch == epoch {
      if seen != gateConnections {
        backoff.reset()
        seen = gateConnections
      }
      if waits {
        let wait = backoff.next(using: &random)
        let pause = Task { _ = try? await Task.sleep(for: wait.duration) }
        sites[name]?.pause = pause
        await pause.value
      }
      waits = true
      do {
        _ = try await attempt(name, epoch)
        return
      } catch {
        guard sites[name]?.epoch == epoch else { return }
        sites[name]?.problem = Self.describe(error)
        sites[name]?.outages.lost(Self.describe(error), now: Clock.now, unixSeconds: Clock.unixSeconds)
        log.warning(
          "not connected", metadata: ["site": "\(name)", "reason": "\(Self.describe(error))"])
      }
    }
  }

  private func gateLink() throws -> GateLink {
    if let gate { return gate }
    let log = log
    let made = try GateLink(
      server: server, credentials: credentials, user: account.user, software: LinkManagerCommand.software,
      onConnected: {
        log.info("connected to GateManager")
        Task { await self.gateConnected() }
      },
      onDisconnected: { error, retry in
        log.warning(
          "no connection to GateManager",
          metadata: ["reason": "\(error)", "retry": "\(retry.milliseconds) ms"])
      }
    ) { notice in
      switch notice {
      case .agentStates(let states): Task { await self.take(states) }
      case .sessionEnded(let ending), .revoke(let ending):
        log.info(
          "GateManager ended a session", metadata: ["session": "\(ending.id)", "reason": "\(ending.reason)"])
      case .failure(let failure):
        log.warning("GateManager refused", metadata: ["code": "\(failure.code)", "reason": "\(failure.message)"])
      default: break
      }
    }
    gate = made
    return made
  }

  private func startAdapter() throws -> Adapter {
    let (log, flowLog, durations) = (log, flowLog, durations)
    let made = try Adapter(
      tun: deviceName, configuration: configuration,
      onDevice: { event in
        event.record(in: log)
        switch event {
        case .moved: Task { await self.aliasesMoved() }
        case .clash(let clash): Task { await self.take(clash) }
        case .lost, .restored, .repaired, .failing, .ethernet: break
        }
      },
      onFlow: { flow in
        durations.record(flow)
        flowLog.record(flow)
      })
    adapter = made
    takeUpCaptures(made)
    return made
  }

  private func aliasesMoved() async {
    guard let agents = await adapter?.agents else { return }
    for name in Array(sites.keys) where sites[name]?.isConnected == true {
      sites[name]?.aliases = agents.filter { $0.site == name }
    }
  }

  /// Agents of a session are switched off on site, or on again.
  private func take(_ states: AgentStates) {
    guard let name = sites.first(where: { $0.value.session == states.id && $0.value.isConnected })?.key else {
      earlyStates.append(states)
      earlyStates.removeFirst(max(0, earlyStates.count - Self.earlyStatesLimit))
      return
    }
    for (agent, condition) in states.agents {
      sites[name]?.vetoes[agent] = condition.veto
      log.notice(
        "agent switched on site",
        metadata: ["agent": "\(name)/\(agent)", "state": "\(condition.veto ?? "on")"])
    }
  }

  private func take(_ clash: AdapterError?) {
    deviceProblem = clash?.advice
  }

  /// A LinkManager that serves nobody holds no connection and no device.
  private func restIfIdle() {
    guard sites.isEmpty else { return }
    let idleGate = gate
    let idleAdapter = adapter
    gate = nil
    adapter = nil
    deviceProblem = nil
    guard idleGate != nil || idleAdapter != nil else { return }
    resting += 1
    // Stopping waits for threads, which no task may do.
    let thread = try? Thread(name: "rest") {
      // What was queued to say goodbye leaves first.
      Thread.sleep(.milliseconds(200))
      idleAdapter?.stop()
      idleGate?.stop()
      Task { await self.hasRested(idleAdapter) }
    }
    // Without a thread they end by themselves, a little later.
    if thread == nil { resting -= 1 }
  }

  /// What an adapter has come to stays counted when it is gone.
  private func hasRested(_ stopped: Adapter?) async {
    resting -= 1
    guard let last = await stopped?.status else { return }
    totals.flowsOpened += last.totals.flowsOpened
    totals.bytesIn += last.totals.bytesIn
    totals.bytesOut += last.totals.bytesOut
    totals.records += last.totals.records
  }

  static func describe(_ error: any Error) -> String {
    (error as? AdapterError)?.advice ?? "\(error)"
  }

  // MARK: Status

  /// - Parameter flows: whether each flow is told of as well, up to `OpenFlowReport.limit`.
  func status(flows wantsFlows: Bool = false) async -> LinkStatus {
    let adapter = adapter
    let figures = await adapter?.status
    var report = LinkStatus(
      user: account.user, pc: account.pc, gate: account.gate.address, isServing: gate != nil,
      gateConnection: gate.map { LinkStatus.GateConnection($0.status) },
      sites: sites.sorted { $0.key < $1.key }.map { name, site in
        LinkStatus.Site(name, site, figures?.sites.first { $0.name == name })
      }, totals: totals)
    if let deviceProblem { report.problems.append(deviceProblem) }
    if let figures {
      report.describe(figures)
      report.totals.flowsOpened += figures.totals.flowsOpened
      report.totals.bytesIn += figures.totals.bytesIn
      report.totals.bytesOut += figures.totals.bytesOut
      report.totals.records += figures.totals.records
    }
    if wantsFlows {
      let flows = await adapter?.flows(limit: OpenFlowReport.limit) ?? []
      report.flows = flows.map(OpenFlowReport.init).sorted { $0.seconds > $1.seconds }
      report.flowsOmitted = max(0, report.sites.reduce(0) { $0 + $1.flows } - flows.count)
    }
    return report.completed()
  }

  /// All metrics, up to now.
  func answerMetrics() async -> MetricsAnswer {
    let status = await status()
    table.record(status)
    if let process = status.process { processTable.record(process) }
    return MetricsAnswer(metrics)
  }
}

extension LinkStatus.GateConnection {
  init(_ status: GateLinkStatus) {
    self.init(
      connected: status.isConnected, reconnects: status.outages.count,
      outages: status.outages.latest.map(OutageReport.init))
  }
}

/// A session's end, in one word for the closure that carries it.
private final class EndNotice: Sendable {
  let id: SessionID
  let end: SessionEnd

  init(id: SessionID, end: SessionEnd) {
    self.id = id
    self.end = end
  }
}
