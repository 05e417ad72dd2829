import Access
import ArgumentParser
import Service

struct AccountCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "account", abstract: "Manages accounts, their roles and domains.",
    discussion: "What takes something from an account ends what rests on it within two seconds.",
    subcommands: [
      Add.self, List.self, Remove.self, Enable.self, Disable.self, Role.self, Password.self, Join.self, Leave.self,
      Forget.self,
    ])

  struct Add: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Makes an account.",
      discussion: """
        It reaches nothing until a rule says so: see `gatemanager rule add`.

        EXAMPLE
          gatemanager account add ann --domain ROOT.AcmeInc --role user --password-file ann.txt
        """)

    @Argument(help: "The account's name: \(RecordName.rule).")
    var name: String
    @OptionGroup var location: DirectoryOption
    @OptionGroup var password: PasswordFileOption
    @Option(help: "The domain, such as ROOT.AcmeInc.")
    var domain = DomainPath.root
    @Option(help: AccountRole.help)
    var role = AccountRole.linkUser

    func run() throws {
      try reporting {
        _ = try location.gate.loadKeys()
        guard RecordName.isValid(name) else { throw StoreError.invalidName(name) }
        _ = try location.perform(
          .addAccount(.init(name: name, domain: domain, role: role, password: try password.read())))
      }
    }
  }

  struct List: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Lists all accounts.")

    @OptionGroup var location: DirectoryOption

    func run() throws {
      try reporting {
        guard case .accounts(let accounts) = try location.perform(.listAccounts) else { return }
        var table = Table("ACCOUNT", "DOMAIN", "ROLE", "STATE", "GROUPS", "PCS")
        for account in accounts {
          let domains = ([account.domain] + account.joined).map(\.description).joined(separator: " ")
          let end = account.expires.map { "until \(Timestamp.text(unixSeconds: $0))" }
          table.append(
            account.name, domains, account.role.word, account.isEnabled ? end ?? "on" : "off",
            account.groups.joined(separator: " "), account.pcs.joined(separator: " "))
        }
        print(table.isEmpty ? "no accounts: add one with `gatemanager account add NAME`" : "\(table)")
      }
    }
  }

  struct Remove: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Removes an account, with its rules.")

    @Argument(help: "The account's name.")
    var name: String
    @OptionGroup var location: DirectoryOption

    func run() throws { try reporting { _ = try location.perform(.removeAccount(name)) } }
  }

  struct Enable: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Lets an account that was disabled be used again.")

    @Argument(help: "The account's name.")
    var name: String
    @OptionGroup var location: DirectoryOption

    func run() throws { try reporting { _ = try location.perform(.enableAccount(name, true)) } }
  }

  struct Disable: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Keeps an account from being used, and cuts its sessions.")

    @Argument(help: "The account's name.")
    var name: String
    @OptionGroup var location: DirectoryOption

    func run() throws { try reporting { _ = try location.perform(.enableAccount(name, false)) } }
  }

  struct Role: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Gives an account another role.")

    @Argument(help: "The account's name.")
    var name: String
    @Argument(help: AccountRole.help)
    var role: AccountRole
    @OptionGroup var location: DirectoryOption

    func run() throws { try reporting { _ = try location.perform(.setRole(name, role)) } }
  }

  struct Password: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Gives an account another password.")

    @Argument(help: "The account's name.")
    var name: String
    @OptionGroup var location: DirectoryOption
    @OptionGroup var password: PasswordFileOption

    func run() throws {
      try reporting { _ = try location.perform(.setPassword(name, password: try password.read())) }
    }
  }

  struct Join: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Lets rules of a further domain apply to an account.")

    @Argument(help: "The account's name.")
    var name: String
    @Argument(help: "The domain.")
    var domain: DomainPath
    @OptionGroup var location: DirectoryOption

    func run() throws { try reporting { _ = try location.perform(.joinDomain(account: name, domain)) } }
  }

  struct Leave: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Takes a further domain from an account.")

    @Argument(help: "The account's name.")
    var name: String
    @Argument(help: "The domain.")
    var domain: DomainPath
    @OptionGroup var location: DirectoryOption

    func run() throws { try reporting { _ = try location.perform(.leaveDomain(account: name, domain)) } }
  }

  struct Forget: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Logs an account out on one PC.")

    @Argument(help: "The account's name.")
    var name: String
    @Argument(help: "The PC's name, as `gatemanager account list` shows it.")
    var pc: String
    @OptionGroup var location: DirectoryOption

    func run() throws { try reporting { _ = try location.perform(.removePC(account: name, name: pc)) } }
  }
}
