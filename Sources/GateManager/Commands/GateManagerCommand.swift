import Access
import ArgumentParser
import Crypto
import Glibc
import Logging
import Service

@main
struct GateManagerCommand: ParsableCommand {
  static let version = "0.1.0"
  static let defaultDirectory = "/var/lib/relayvpn/gatemanager"

  static let configuration = CommandConfiguration(
    commandName: "gatemanager",
    abstract: "Relays encrypted sessions between technicians and sites, and decides who may meet whom.",
    discussion: """
      A GateManager has one open port. Sites and users connect to it; it joins their connections in the kernel and
      can't read what passes.

      The first steps:
        gatemanager init --name gm.example.org
        gatemanager user add ann --password-file ann.txt
        gatemanager site add plant-north
        gatemanager run --listen 0.0.0.0:443

      Exit statuses are those of sysexits.h: 64 wrong usage, 65 wrong data, 69 the service isn't running,
      77 not permitted, 78 wrong configuration.
      """,
    version: version,
    subcommands: [
      InitCommand.self, RunCommand.self, UserCommand.self, SiteCommand.self, DomainCommand.self, AccountCommand.self,
      GroupCommand.self, RuleCommand.self, WhyCommand.self, AuditCommand.self, BackupCommand.self, RestoreCommand.self,
      StatusCommand.self, MetricsCommand.self,
    ])
}

/// The option that every command has.
struct DirectoryOption: ParsableArguments {
  @Option(help: "Where the keys, users and sites are kept.")
  var directory = GateManagerCommand.defaultDirectory

  var gate: GateDirectory { GateDirectory(directory) }
  var client: ManagementClient {
    ManagementClient(directory: directory, program: "gatemanager", version: GateManagerCommand.version)
  }
}

/// Ends the program with a message on standard error.
func fail(_ message: String, _ code: Service.ExitCode) -> ArgumentParser.ExitCode {
  Terminal.write("gatemanager: \(message)\n")
  return ArgumentParser.ExitCode(code.rawValue)
}

/// Runs a command's body; what it throws becomes a message and an exit status.
func reporting(_ body: () throws -> Void) throws {
  do {
    try body()
  } catch let error as StoreError {
    throw fail("\(error)", error.exitCode)
  } catch let error as OperationError {
    throw fail(error.description.escaped, error.exitCode)
  } catch let error as ManagementError {
    throw fail("\(error)", error.exitCode)
  } catch let error as ManagementSocketError {
    throw fail("\(error)", .unavailable)
  } catch let failure as CommandFailure {
    throw fail(failure.description, failure.exitCode)
  } catch let error as CryptoError {
    let failure = CommandFailure(error)
    throw fail(failure.description, failure.exitCode)
  }
}
