import Access
import ArgumentParser
import Crypto
import Glibc
import Kernel
import Service

struct BackupCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "backup", abstract: "Copies accounts, sites, rules and audit to a file, while the service runs.",
    discussion: """
      The keys aren't in it: copy the other files of the directory, too. They never change. The service makes the copy in
      its directory, and this command moves it to the file.
      """)

  @Argument(help: "The file. One that is there is replaced once the copy is whole.")
  var file: String
  @OptionGroup var location: DirectoryOption

  func run() throws {
    try reporting {
      // The service, if one runs, may write to its own directory only: it is from there that this command takes the copy.
      // What an interrupted one leaves is named as `removeAbandoned` knows it.
      let made = "\(location.gate.path)/backup.\(Hex.encode(try Random.bytes(8)))"
      defer { unsafe unlink(made) }
      _ = try location.perform(.backUp(to: made))
      try AtomicFile.move(made, to: file)
    }
  }
}

struct RestoreCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "restore", abstract: "Puts a backup in the place of accounts, sites, rules and audit.",
    discussion: """
      The service has to be stopped. What was there, whatever its state, is kept beside it as `access.sqlite.before`, with
      its -wal and -shm.
      """)

  @Argument(help: "The file that `gatemanager backup` has made.")
  var file: String
  @OptionGroup var location: DirectoryOption

  func run() throws {
    try reporting {
      let keys = try location.gate.loadKeys()
      guard !isRunning else {
        throw fail("the service is running: stop it first, so that it doesn't go on with what it knows", .unavailable)
      }
      let path = location.gate.storePath
      do throws(AccessStoreError) {
        try AccessStore.restore(file, to: path)
        var event = AuditEvent(.restored, account: Actor.host.text)
        event.object = file
        let store = try AccessStore(path: path, key: keys.grantKey)
        try store.append([AuditLine(event: event, time: Clock.unixMicroseconds)])
      } catch {
        throw StoreError.store(error)
      }
    }
  }

  private var isRunning: Bool {
    do throws(ManagementError) {
      _ = try location.client.request(ManagementRequest("status"), as: StatusReport.self, timeoutSeconds: 5)
      return true
    } catch {
      if case .notRunning = error { return false }
      return true
    }
  }
}
