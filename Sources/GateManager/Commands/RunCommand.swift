import ArgumentParser
import Crypto
import Glibc
import Kernel
import Logging
import Primitives
import Service

struct RunCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "run",
    abstract: "Runs the service until SIGINT or SIGTERM.",
    discussion: "The log goes to standard error. Port 443 needs root or CAP_NET_BIND_SERVICE.")

  @OptionGroup var location: DirectoryOption

  @Option(help: "Address and port to listen on: 0.0.0.0:443, [::]:443 (IPv4 as well), 203.0.113.1:443.")
  var listen = "[::]:443"

  @Option(help: "Hours that a session may last.")
  var grantHours = 8

  @Option(help: "Threads that relay; each session has one.")
  var relayThreads = 2

  @Option(help: "Send the audit there as it grows: \(SyslogTarget.rule).")
  var syslog: String?

  @Option(help: "The key hash of the receiver's certificate, sha256:…, for a receiver over TLS.")
  var syslogKey: String?

  @OptionGroup var confinement: Confinement
  @OptionGroup var logging: LoggingOptions

  private var receiver: SyslogTarget? { syslog.flatMap { SyslogTarget($0, key: syslogKey.flatMap { KeyHash($0) }) } }

  func validate() throws {
    guard (syslog == nil && syslogKey == nil) || receiver != nil else {
      throw ValidationError("--syslog takes \(SyslogTarget.rule), a key as 64 hexadecimal digits")
    }
    guard Endpoint(text: listen) != nil else {
      throw ValidationError("--listen takes ADDRESS:PORT, such as 0.0.0.0:443 or [::]:443")
    }
    guard (1...720).contains(grantHours) else { throw ValidationError("--grant-hours takes 1 to 720") }
    guard (1...64).contains(relayThreads) else { throw ValidationError("--relay-threads takes 1 to 64") }
  }

  func run() throws {
    guard let endpoint = Endpoint(text: listen) else { return }
    try reporting {
      let signals: ShutdownSignals
      do throws(SystemError) { signals = try ShutdownSignals() } catch { throw fail("\(error)", .system) }
      let logger = logging.bootstrap("gatemanager")
      DescriptorLimit.raise()
      try confinement.hide(logger)
      location.gate.tidy()
      let metrics = MetricRegistry()
      metrics.install()
      let service = try start(endpoint, metrics, logger)
      let sender = try receiver.map {
        try SyslogSender(store: service.operations.store, host: service.name, target: $0, logger: logger)
      }
      let table = MetricTable(GateMetrics.rows, registry: metrics)
      let processTable = MetricTable(ProcessReport.metrics, registry: metrics)
      let management = try ManagementSocket(
        directory: location.gate.path, program: "gatemanager", version: GateManagerCommand.version
      ) { request in
        if request.command == ManagementRequest.operation { return service.answer(request) }
        guard request.command == "status" || request.command == "metrics" else {
          return .failure("unknownCommand", "this gatemanager doesn't know `\(request.command)`")
        }
        guard let status = service.status() else { return .failure("busy", "the service doesn't answer") }
        guard request.command == "metrics" else { return .success(status) }
        table.record(status)
        if let process = status.process { processTable.record(process) }
        return .success(MetricsAnswer(metrics))
      }
      logger.notice("listening", metadata: ["address": "\(service.endpoint)"])
      let signal = signals.wait()
      logger.notice("stopping", metadata: ["signal": "\(signal)"])
      management.stop()
      service.stop()
      sender?.stop()
    }
  }

  private func start(_ endpoint: Endpoint, _ metrics: MetricRegistry, _ logger: Logger) throws -> GateService {
    do {
      return try GateService(
        directory: location.gate,
        options: FrontOptions(listen: endpoint, grantHours: grantHours, relayThreads: relayThreads),
        durations: GateDurations(metrics), logger: logger
      ) {
        try confinement.enter(.gateManager(directory: location.gate.path, sends: receiver != nil), logger)
      }
    } catch let error as SystemError {
      switch error.code {
      case EACCES:
        throw fail("\(error): run it as root, give it CAP_NET_BIND_SERVICE, or choose another port", .notPermitted)
      case EADDRINUSE:
        throw fail("\(error): another program listens there; stop it or choose another port", .unavailable)
      default: throw fail("\(error)", .system)
      }
    }
  }
}

extension ConfinementProfile {
  /// Nothing is left but the directory and the sockets; a connection is opened to a receiver of the audit alone.
  static func gateManager(directory: String, sends: Bool) -> ConfinementProfile {
    ConfinementProfile(
      directory: directory, capabilities: [], files: sends ? nameResolution : [], connects: sends,
      // Of routes, for getaddrinfo(3).
      systemCalls: .service(
        families: sends ? [.internet, .unix, .routes] : [.unix], controls: [], splices: true))
  }
}

extension Endpoint {
  /// Reads `1.2.3.4:443` or `[::1]:443`.
  init?(text: String) {
    guard let colon = text.lastIndex(of: ":"), let port = UInt16(text[text.index(after: colon)...]) else { return nil }
    var host = text[..<colon]
    if host.hasPrefix("["), host.hasSuffix("]") {
      host = host.dropFirst().dropLast()
      guard host.contains(":") else { return nil }
    } else if host.contains(":") {
      return nil
    }
    guard let address = IPAddress(String(host)) else { return nil }
    self.init(address, port)
  }
}
