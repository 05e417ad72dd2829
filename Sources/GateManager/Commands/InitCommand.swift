import ArgumentParser
import Control
import Service

struct InitCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "init",
    abstract: "Makes the keys and certificates of a new GateManager.",
    discussion: """
      The keys are made here and never leave the directory, which only its owner may read. Sites and users pin the
      server's key: keep a backup, since with new keys all of them have to be enrolled again.
      """)

  @OptionGroup var location: DirectoryOption

  @Option(help: "The name that stands in certificates, usually the host's DNS name.")
  var name: String

  func validate() throws {
    guard AgentDescription.isValidName(name) else {
      throw ValidationError("--name takes 1 to 64 letters, digits, `-`, `_` and `.`, such as gm.example.org")
    }
  }

  func run() throws {
    try reporting {
      let key = try location.gate.create(name: name)
      print("GateManager \(name) is set up in \(location.gate.path)")
      print("key \(key)")
    }
  }
}
