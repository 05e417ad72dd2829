import Access
import ArgumentParser
import Service

struct DomainCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "domain", abstract: "Manages the tree of domains, which accounts, sites and rules lie in.",
    discussion: "What lies outside of an account's domains doesn't exist for it.",
    subcommands: [Add.self, List.self, Remove.self])

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
        var table = Table("DOMAIN", "SITES", "ACCOUNTS")
        for domain in domains { table.append("\(domain.path)", "\(domain.sites)", "\(domain.accounts)") }
        print(table)
      }
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
