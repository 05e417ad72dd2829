import ArgumentParser
import Service

struct StatusCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "status", abstract: "Shows sites, users, sessions, the relay and refusals of the running service.",
    discussion: "What is wrong comes first.")

  @OptionGroup var location: DirectoryOption

  @OptionGroup var options: StatusOptions

  func run() throws {
    try reporting { try options.show(StatusReport.self, of: location.client) }
  }
}

struct MetricsCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "metrics", abstract: "Prints the running service's metrics for Prometheus.",
    discussion: MetricsOptions.discussion)

  @OptionGroup var location: DirectoryOption

  @OptionGroup var options: MetricsOptions

  func run() throws {
    try reporting { try options.run(location.client) }
  }
}
