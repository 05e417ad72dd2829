import ArgumentParser

/// The root of `linkmanager`.
struct LinkManagerCommand: ParsableCommand {
  static let version = "0.1.0"
  static let software = "linkmanager/\(version)"
  static let defaultDirectory = "/var/lib/relayvpn/linkmanager"

  static let configuration = CommandConfiguration(
    commandName: "linkmanager",
    abstract: "The technician's adapter: devices at remote sites, as if they were local.",
    discussion: "A PC is introduced to a GateManager once with `login`.",
    version: version,
    subcommands: [
      Login.self, Run.self, List.self, Connect.self, Disconnect.self, Status.self, Metrics.self, Explain.self,
      WhyCommand.self,
      Discover.self, Assign.self, CaptureCommand.self, Extcap.self, Forget.self,
    ])
}
