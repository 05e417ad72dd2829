import Access
import ArgumentParser
import Service

struct DomainCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "domain", abstract: "Manages the tree of domains, which accounts, sites and rules lie in.",
    discussion: "What lies outside of an account's domains doesn't exist for it.",
    subcommands: [Add.self, List.self, Remove.self, RequireCode.self])

  struct Add: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Makes a domain below one that is there.")

    @Argument(help: "Such as ROOT.AcmeInc.Line1.")
    var domain: DomainPath
    @OptionGroup var location: DirectoryOption

    func run() throws {
      try reporting { _ = try location.perform(.addDomain(domain)) }
    }
  }

  struct List: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Lists all domains.")

    @OptionGroup var location: DirectoryOption

    func run() throws {
      try reporting {
        guard case .domains(let domains) = try location.perform(.listDomains) else { return }
        var table = Table("DOMAIN", "SITES", "ACCOUNTS", "ONE-TIME CODES FOR")
        for domain in domains {
          let roles = domain.codeRoles.map(\.word).joined(separator: " ")
          table.append("\(domain.path)", "\(domain.sites)", "\(domain.accounts)", roles.isEmpty ? "-" : roles)
        }
        print(table)
      }
    }
  }

  struct RequireCode: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Asks accounts of a role for a one-time code at each login, in a domain and below.",
      discussion: """
        An account that has none can't log in until one is made: gatemanager account totp enrol. PCs that are logged in \
        stay so.

        EXAMPLE
          gatemanager domain require-code ROOT.AcmeInc --role administrator
        """)

    @Argument(help: "The domain.")
    var domain: DomainPath
    @Option(help: AccountRole.help)
    var role: AccountRole
    @Flag(help: "Asks no longer.")
    var off = false
    @OptionGroup var location: DirectoryOption

    func run() throws {
      try reporting { _ = try location.perform(.requireOneTimeCode(domain, role, !off)) }
    }
  }

  struct Remove: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Removes a domain that is empty.")

    @Argument(help: "The domain.")
    var domain: DomainPath
    @OptionGroup var location: DirectoryOption

    func run() throws {
      try reporting { _ = try location.perform(.removeDomain(domain)) }
    }
  }
}
