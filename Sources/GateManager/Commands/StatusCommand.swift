import ArgumentParser
import FoundationEssentials
import Service

struct StatusCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "status", abstract: "Shows sites, users, sessions and refusals of the running service.")

  @OptionGroup var location: DirectoryOption

  @Flag(help: "Print JSON, for programs.")
  var json = false

  func run() throws {
    try reporting {
      let client = ManagementClient(directory: location.gate.path, program: "gatemanager")
      let report = try client.request(ManagementRequest("status"), as: StatusReport.self, timeoutSeconds: 10)
      guard json else { return print(report.text) }
      let encoder = JSONEncoder()
      encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
      print(String(decoding: try encoder.encode(report), as: UTF8.self))
    }
  }
}
