import ArgumentParser
import Control
import Crypto
import Kernel
import Logging
import Proxy
import Service
import Tun

/// `sitemanager run`: the service.
struct Run: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Keep the site reachable, until stopped.",
    discussion: """
      Dials out to the GateManager and stays connected; listens on no network port. LinkManagers reach what the
      agents file permits and their grant covers, and nothing else. `sitemanager reload` puts a changed agents file
      in force.

      EXAMPLE
        sitemanager run --agents /etc/relayvpn/agents.yaml
      """)

  @Option(help: "Where this site keeps its key and its binding.")
  var directory = SiteManagerCommand.defaultDirectory

  @Option(help: ArgumentHelp("The agents file.", valueName: "file"))
  var agents: String

  @Option(help: ArgumentHelp("HTTP proxy on the way: http://[user:password@]host:port.", valueName: "url"))
  var proxy: String?

  @OptionGroup var confinement: Confinement
  @OptionGroup var logging: LoggingOptions

  func run() throws {
    let log = logging.bootstrap("sitemanager")
    DescriptorLimit.raise()
    try confinement.hide(log)
    let state = StateDirectory(directory)
    guard let binding = try SiteBinding.load(from: state) else {
      throw CommandFailure(
        .configuration, "this site isn't enrolled: run `sitemanager enroll --gate HOST --name NAME --code CODE` first")
    }
    let (key, credentials) = try binding.credentials(in: state)
    let identity = SiteIdentity(
      server: try binding.gate.server(via: GateBinding.proxy(proxy)), credentials: credentials, keyHash: key.keyHash,
      grantKey: binding.grantKey)
    let metrics = MetricRegistry()
    metrics.install()
    state.tidy()
    let service = SiteService(
      name: binding.name, identity: identity, agents: try Self.load(agents), durations: SiteDurations(metrics),
      log: log)
    let table = MetricTable(SiteMetrics.rows, registry: metrics)
    let processTable = MetricTable(ProcessReport.metrics, registry: metrics)
    let signals = try ShutdownSignals()
    let file = agents
    try confinement.enter(.siteManager(directory: directory, agents: file), log)
    let remote = try RemoteSwitch(directory: state, log: log) { service.replaceRemoteAccess($0) }
    let management = try ManagementSocket(
      directory: directory, program: "sitemanager", version: SiteManagerCommand.version
    ) { request in
      switch request.command {
      case "status":
        var status = service.status(flows: request.arguments["flows"] != nil)
        if let problem = remote.problem { status.problems.append(problem) }
        return .success(status)
      case "metrics":
        let status = service.status()
        table.record(status)
        if let process = status.process { processTable.record(process) }
        return .success(MetricsAnswer(metrics))
      case "reload":
        do throws(ConfigurationError) {
          let agents = try AgentsFile.load(file)
          service.replaceAgents(agents)
          return .success(["agents": "\(agents.count)"])
        } catch {
          for problem in error.problems {
            log.error("the agents file isn't put in force; what was there stays", metadata: ["reason": "\(problem)"])
          }
          return .failure("badConfiguration", "\(error)")
        }
      case "remote": return service.answerRemote(request.arguments, remote)
      case "capture": return service.answerCapture(request.arguments)
      default: return .failure("unknownCommand", "there is no command \(request.command)")
      }
    }
    try remote.start()
    try service.start()
    log.info("running", metadata: ["site": "\(binding.name)", "gate": "\(binding.gate.address)"])
    let network = HostNetworkMonitor.start {
      service.networkChanged()
    } onFailure: { error in
      log.warning("changes of the host's network go unnoticed", metadata: ["reason": "\(error)"])
    }
    let signal = signals.wait()
    log.info("stopping", metadata: ["signal": "\(signal)"])
    management.stop()
    remote.stop()
    service.captures.stop()
    network?.stop()
    service.stop()
  }

  static func load(_ path: String) throws(CommandFailure) -> [AgentConfiguration] {
    do throws(ConfigurationError) {
      return try AgentsFile.load(path)
    } catch {
      throw CommandFailure(.configuration, "\(error)")
    }
  }
}

extension ConfinementProfile {
  /// Raw sockets are for pings, Layer 2, captures and finding devices, any of which an agent may be given by a reload.
  static func siteManager(directory: String, agents: String) -> ConfinementProfile {
    let hasRaw = Capabilities.permitted.contains(.rawNetwork)
    return ConfinementProfile(
      directory: directory, capabilities: .rawNetwork,
      // Of interfaces, for libpcap. The agents file may be replaced, so that its directory has to be readable.
      files: nameResolution + directories(of: agents).map { .init($0, .readFile) }
        + [.init("/sys/class/net", .read), .init("/sys/devices", .read)],
      connects: true,
      // For devices that open FTP data connections in active mode.
      listens: true,
      systemCalls: .service(
        families: [.internet, .unix, .routes] + (hasRaw ? [.packets] : []),
        controls: [
          .timestamp, .interfaceFlags, .interfaceAddress, .interfaceMTU, .interfaceHardwareAddress, .ethtool,
          .wirelessName,
        ]))
  }
}

/// `sitemanager check`: judges an agents file without running it.
struct Check: ParsableCommand {
  static let configuration = CommandConfiguration(abstract: "Check an agents file and say what is wrong with it.")

  @Option(help: ArgumentHelp("The agents file.", valueName: "file"))
  var agents: String

  func run() throws {
    let found = try Run.load(agents)
    print("\(agents): \(found.count) agents, no problems")
  }
}

/// `sitemanager reload`: puts a changed agents file in force.
struct Reload: ParsableCommand {
  static let configuration = CommandConfiguration(abstract: "Put a changed agents file in force.")

  @Option(help: "Where this site keeps its key and its binding.")
  var directory = SiteManagerCommand.defaultDirectory

  func run() throws {
    try SiteManagerCommand.client(directory).perform(ManagementRequest("reload"))
    print("the agents file is in force")
  }
}

/// `sitemanager status`: what the running service is doing.
struct Status: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Show the connection, the agents, the sessions and their flows.",
    discussion: "What is wrong comes first.")

  @Option(help: "Where this site keeps its key and its binding.")
  var directory = SiteManagerCommand.defaultDirectory

  @OptionGroup var options: StatusOptions

  func run() throws {
    try options.show(SiteStatus.self, of: SiteManagerCommand.client(directory))
  }
}

/// `sitemanager metrics`: the same for Prometheus.
struct Metrics: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Print the running service's metrics for Prometheus.", discussion: MetricsOptions.discussion)

  @Option(help: "Where this site keeps its key and its binding.")
  var directory = SiteManagerCommand.defaultDirectory

  @OptionGroup var options: MetricsOptions

  func run() throws {
    try options.run(SiteManagerCommand.client(directory))
  }
}
