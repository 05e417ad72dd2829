import ArgumentParser
import Control
import Crypto
import Kernel
import Logging
import Proxy
import Service

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

  @OptionGroup var logging: LoggingOptions

  func run() throws {
    let log = logging.bootstrap("sitemanager")
    let state = StateDirectory(directory)
    guard let binding = try SiteBinding.load(from: state) else {
      throw CommandFailure(
        .configuration, "this site isn't enrolled: run `sitemanager enroll --gate HOST --name NAME --code CODE` first")
    }
    let key = try state.key()
    let identity = SiteIdentity(
      server: try binding.gate.server(via: GateBinding.proxy(proxy)),
      credentials: try binding.gate.credentials(with: key), keyHash: key.keyHash, grantKey: binding.grantKey)
    let service = SiteService(
      name: binding.name, identity: identity, agents: try Self.load(agents), log: log)
    state.tidy()
    let signals = try ShutdownSignals()
    let file = agents
    let management = try ManagementSocket(directory: directory, program: "sitemanager") { request in
      switch request.command {
      case "status": return .success(service.status)
      case "reload":
        do throws(ConfigurationError) {
          let agents = try AgentsFile.load(file)
          service.replaceAgents(agents)
          return .success(["agents": "\(agents.count)"])
        } catch {
          return .failure("badConfiguration", "\(error)")
        }
      default: return .failure("unknownCommand", "there is no command \(request.command)")
      }
    }
    try service.start()
    log.info("running", metadata: ["site": "\(binding.name)", "gate": "\(binding.gate.address)"])
    let signal = signals.wait()
    log.info("stopping", metadata: ["signal": "\(signal)"])
    management.stop()
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
    try ManagementClient(directory: directory, program: "sitemanager").perform(ManagementRequest("reload"))
    print("the agents file is in force")
  }
}

/// `sitemanager status`: what the running service is doing.
struct Status: ParsableCommand {
  static let configuration = CommandConfiguration(abstract: "Show the connection, the agents and the sessions.")

  @Option(help: "Where this site keeps its key and its binding.")
  var directory = SiteManagerCommand.defaultDirectory

  @Flag(help: "For scripts: one JSON object.")
  var json = false

  func run() throws {
    let client = ManagementClient(directory: directory, program: "sitemanager")
    let status = try client.request(ManagementRequest("status"), as: SiteStatus.self)
    print(json ? try Output.json(status) : "\(status)")
  }
}
