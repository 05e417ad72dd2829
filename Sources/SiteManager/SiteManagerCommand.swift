import ArgumentParser
import Service

/// The root of `sitemanager`.
struct SiteManagerCommand: ParsableCommand {
  static let version = "0.1.0"
  static let software = "sitemanager/\(version)"
  static let defaultDirectory = "/var/lib/relayvpn/sitemanager"

  static let configuration = CommandConfiguration(
    commandName: "sitemanager",
    abstract: "The gateway beside the devices: dials out to a GateManager and listens on nothing.",
    discussion: "A new site is bound once with `enroll`.",
    version: version,
    subcommands: [
      Enroll.self, Run.self, Status.self, Metrics.self, Check.self, Reload.self, RemoteCommand.self,
      CaptureCommand.self,
    ])

  /// Asks the running service of a directory.
  static func client(_ directory: String) -> ManagementClient {
    ManagementClient(directory: directory, program: "sitemanager", version: version)
  }
}
