import Access
import ArgumentParser
import Service

struct UserCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "user", abstract: "Manages those who may log in with a LinkManager, and reach all there is.",
    discussion: "For more than that, such as users of one customer or for one machine, see `account` and `rule`.",
    subcommands: [Add.self, List.self, Remove.self])

  struct Add: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Makes a user.",
      discussion: """
        The password is read from a file, so that it stands in no process list: 12 characters or more, three of lower
        case, upper case, digits and others. Takes effect at once, with the service running or not.

        The user gets a rule that allows all agents of all sites in the domain.
        """)

    @Argument(help: "The user's name: \(AccessName.rule).")
    var name: String
    @OptionGroup var location: DirectoryOption
    @OptionGroup var password: PasswordFileOption
    @Option(help: "The domain, such as ROOT.AcmeInc.")
    var domain = DomainPath.root

    func run() throws {
      try reporting {
        _ = try location.gate.loadKeys()
        guard AccessName.isValid(name) else { throw StoreError.invalidName(name) }
        _ = try location.perform(
          .addAccount(.init(name: name, domain: domain, password: try password.read(), reachesAll: true)))
        print("user \(name) may log in: linkmanager login --user \(name) --gate HOST:443")
      }
    }
  }

  struct List: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Lists all users and the PCs they logged in from.")

    @OptionGroup var location: DirectoryOption

    func run() throws {
      try reporting {
        guard case .accounts(let accounts) = try location.perform(.listAccounts) else { return }
        var table = Table("USER", "CREATED", "PCS")
        for account in accounts where account.role.mayConnect {
          table.append(
            account.name, Timestamp.text(unixSeconds: account.created), account.pcs.joined(separator: " "))
        }
        print(table.isEmpty ? "no users: add one with `gatemanager user add NAME --password-file FILE`" : "\(table)")
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
      try reporting { _ = try location.perform(.removeAccount(name)) }
    }
  }
}
