import Access
import ArgumentParser
import Kernel
import Service

struct AccountCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "account", abstract: "Manages accounts, their roles and domains.",
    discussion: "What takes something from an account ends what rests on it within two seconds.",
    subcommands: [
      Add.self, List.self, Remove.self, Enable.self, Disable.self, Role.self, Password.self, Join.self, Leave.self,
      Forget.self, TOTPCommand.self,
    ])

  struct Add: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Makes an account.",
      discussion: """
        It reaches nothing until a rule says so: see `gatemanager rule add`.

        EXAMPLE
          gatemanager account add ann --domain ROOT.AcmeInc --role user --password-file ann.txt
        """)

    @Argument(help: "The account's name: \(AccessName.rule).")
    var name: String
    @OptionGroup var location: DirectoryOption
    @OptionGroup var password: PasswordFileOption
    @Option(help: "The domain, such as ROOT.AcmeInc.")
    var domain = DomainPath.root
    @Option(help: AccountRole.help)
    var role = AccountRole.linkUser
    @Option(help: "Days until it ends by itself.")
    var expires: Int?

    func validate() throws {
      guard (1...36_500).contains(expires ?? 1) else { throw ValidationError("--expires takes 1 to 36500 days") }
    }

    func run() throws {
      try reporting {
        _ = try location.gate.loadKeys()
        guard AccessName.isValid(name) else { throw StoreError.invalidName(name) }
        _ = try location.perform(
          .addAccount(
            .init(
              name: name, domain: domain, role: role, password: try password.read(),
              expires: Self.end(afterDays: expires, now: Clock.unixSeconds))))
      }
    }

    static func end(afterDays days: Int?, now: Int64) -> Int64? { days.map { now + Int64($0) * 86_400 } }
  }

  struct List: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Lists all accounts.")

    @OptionGroup var location: DirectoryOption

    func run() throws {
      try reporting {
        guard case .accounts(let accounts) = try location.perform(.listAccounts) else { return }
        var table = Table("ACCOUNT", "DOMAIN", "ROLE", "STATE", "CODES", "GROUPS", "PCS")
        for account in accounts {
          let domains = ([account.domain] + account.joined).map(\.description).joined(separator: " ")
          let end = account.expires.map { "until \(Timestamp.text(unixSeconds: $0))" }
          table.append(
            account.name, domains, account.role.word, account.isEnabled ? end ?? "on" : "off",
            account.hasOneTimeCode ? "totp" : account.requiresOneTimeCode ? "missing" : "-",
            account.groups.joined(separator: " "), account.pcs.joined(separator: " "))
        }
        print(table.isEmpty ? "no accounts: add one with `gatemanager account add NAME`" : "\(table)")
      }
    }
  }

  struct Remove: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Removes an account, with its rules.")

    @OptionGroup var target: NameAndDirectory

    func run() throws { try target.perform(.removeAccount(target.name)) }
  }

  struct Enable: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Lets an account that was disabled be used again.")

    @OptionGroup var target: NameAndDirectory

    func run() throws { try target.perform(.enableAccount(target.name, true)) }
  }

  struct Disable: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Keeps an account from being used, and cuts its sessions.")

    @OptionGroup var target: NameAndDirectory

    func run() throws { try target.perform(.enableAccount(target.name, false)) }
  }

  struct Role: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Gives an account another role.")

    @OptionGroup var target: NameAndDirectory
    @Argument(help: AccountRole.help)
    var role: AccountRole

    func run() throws { try target.perform(.setRole(target.name, role)) }
  }

  struct Password: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Gives an account another password.")

    @OptionGroup var target: NameAndDirectory
    @OptionGroup var password: PasswordFileOption

    func run() throws {
      try reporting { _ = try target.location.perform(.setPassword(target.name, password: try password.read())) }
    }
  }

  struct Join: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Lets rules of a further domain apply to an account.")

    @OptionGroup var target: NameAndDirectory
    @Argument(help: "The domain.")
    var domain: DomainPath

    func run() throws { try target.perform(.joinDomain(account: target.name, domain)) }
  }

  struct Leave: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Takes a further domain from an account.")

    @OptionGroup var target: NameAndDirectory
    @Argument(help: "The domain.")
    var domain: DomainPath

    func run() throws { try target.perform(.leaveDomain(account: target.name, domain)) }
  }

  struct Forget: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Logs an account out on one PC.")

    @OptionGroup var target: NameAndDirectory
    @Argument(help: "The PC's name, as `gatemanager account list` shows it.")
    var pc: String

    func run() throws { try target.perform(.removePC(account: target.name, name: pc)) }
  }
}
