import ArgumentParser
import Control
import Crypto
import Kernel
import Service

struct UserCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "user", abstract: "Manages those who may log in with a LinkManager.",
    subcommands: [Add.self, List.self, Remove.self])

  struct Add: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Makes a user.",
      discussion: """
        The password is read from a file, so that it stands in no process list: 12 characters or more, three of lower
        case, upper case, digits and others. Takes effect at once, with the service running or not.
        """)

    @Argument(help: "The user's name: \(RecordName.rule).")
    var name: String
    @OptionGroup var location: DirectoryOption
    @Option(help: "A file whose first line is the password; `-` is standard input.")
    var passwordFile: String

    func run() throws {
      try reporting {
        _ = try location.gate.loadKeys()
        guard RecordName.isValid(name) else { throw StoreError.invalidName(name) }
        let password = try readPassword()
        do throws(PasswordPolicyError) { try PasswordPolicy.check(password) } catch { throw fail("\(error)", .data) }
        let hash = try PasswordHash(hashing: password)
        try location.gate.users.save(
          UserRecord(name: name, password: "\(hash)", created: Clock.unixSeconds), replacing: false)
        print("user \(name) may log in: linkmanager login --user \(name) --gate HOST:443")
      }
    }

    private func readPassword() throws -> String {
      do throws(CryptoError) {
        let path = passwordFile == "-" ? "/dev/stdin" : passwordFile
        let text = String(decoding: try AtomicFile.read(path, limit: 4096), as: UTF8.self)
        return String(text.prefix { !$0.isNewline })
      } catch {
        throw fail("the password file can't be read: \(error)", .data)
      }
    }
  }

  struct List: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Lists all users and the PCs they logged in from.")

    @OptionGroup var location: DirectoryOption

    func run() throws {
      try reporting {
        _ = try location.gate.loadKeys()
        let (users, problems, _) = location.gate.users.loadAll()
        var table = Table("USER", "CREATED", "PCS")
        for user in users {
          table.append(
            user.name, Timestamp.text(unixSeconds: user.created), user.pcs.map(\.name).joined(separator: " "))
        }
        print(table.isEmpty ? "no users: add one with `gatemanager user add NAME --password-file FILE`" : "\(table)")
        if let problem = problems.first { throw problem }
      }
    }
  }

  struct Remove: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Removes a user.", discussion: "A running service ends the user's sessions within two seconds.")

    @Argument(help: "The user's name.")
    var name: String
    @OptionGroup var location: DirectoryOption

    func run() throws {
      try reporting { try location.gate.users.remove(name) }
    }
  }
}
