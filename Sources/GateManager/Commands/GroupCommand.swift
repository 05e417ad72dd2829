import Access
import ArgumentParser
import Service

struct GroupCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "group", abstract: "Manages groups of accounts, which rules can speak of together.",
    subcommands: [Add.self, List.self, Remove.self, Join.self, Leave.self])

  struct Add: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Makes a group.")

    @Argument(help: "The group's name: \(AccessName.rule).")
    var name: String
    @Option(help: "The domain, such as ROOT.AcmeInc.")
    var domain = DomainPath.root
    @OptionGroup var location: DirectoryOption

    func run() throws { try reporting { _ = try location.perform(.addGroup(name, domain)) } }
  }

  struct List: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Lists all groups and their members.")

    @OptionGroup var location: DirectoryOption

    func run() throws {
      try reporting {
        guard case .groups(let groups) = try location.perform(.listGroups) else { return }
        var table = Table("GROUP", "DOMAIN", "MEMBERS")
        for group in groups { table.append(group.name, "\(group.domain)", group.members.joined(separator: " ")) }
        print(table.isEmpty ? "no groups: add one with `gatemanager group add NAME`" : "\(table)")
      }
    }
  }

  struct Remove: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Removes a group, with its rules.")

    @OptionGroup var target: NameAndDirectory

    func run() throws { try target.perform(.removeGroup(target.name)) }
  }

  struct Join: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Puts an account into a group.")

    @OptionGroup var target: NameAndDirectory
    @Argument(help: "The account's name.")
    var account: String

    func run() throws { try target.perform(.addMember(group: target.name, account: account)) }
  }

  struct Leave: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Takes an account out of a group.")

    @OptionGroup var target: NameAndDirectory
    @Argument(help: "The account's name.")
    var account: String

    func run() throws { try target.perform(.removeMember(group: target.name, account: account)) }
  }
}
