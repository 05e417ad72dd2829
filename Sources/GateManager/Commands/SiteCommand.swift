import Access
import ArgumentParser
import Kernel
import Service

struct SiteCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "site", abstract: "Manages the sites that SiteManagers stand at.",
    subcommands: [Add.self, List.self, Attach.self, Detach.self, Remove.self])

  struct Add: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Makes a site and prints its enrolment code.",
      discussion: """
        The code is the last line of the output. It works once, for `sitemanager enroll`, and tells the SiteManager
        which GateManager to trust. Only a hash of it is kept: who loses it makes another one with --renew.

        With several names, each site's name and code are one line, for scripts that prepare many SiteManagers.

        EXAMPLES
          gatemanager site add plant-7
          gatemanager site add plant-8 --domain ROOT.AcmeInc
          gatemanager site add press-{001..250} >codes
        """)

    @Argument(help: "The site's name: \(AccessName.rule). Or several.")
    var names: [String]
    @OptionGroup var location: DirectoryOption
    @Option(help: "The domain, such as ROOT.AcmeInc.")
    var domain = DomainPath.root
    @Option(help: "Hours until the code expires.")
    var hours = 24
    @Flag(help: "Make a new code for a site that exists; an enrolled SiteManager stays until the code is used.")
    var renew = false

    func validate() throws {
      guard (1...8760).contains(hours) else { throw ValidationError("--hours takes 1 to 8760") }
    }

    func run() throws {
      try reporting {
        for name in names {
          guard AccessName.isValid(name) else { throw StoreError.invalidName(name) }
          let operation: Operation = renew ? .renewSite(name, hours: hours) : .addSite(name, domain, hours: hours)
          guard case .code(let code, _) = try location.perform(operation) else { return }
          if names.count == 1 {
            print("site \(name): enrol within \(hours) h with this code, once:")
            print("sitemanager enroll --gate HOST:443 --name \(name) --code CODE")
            print(code)
          } else {
            print(name, code)
          }
        }
      }
    }
  }

  struct List: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Lists all sites.")

    @OptionGroup var location: DirectoryOption

    func run() throws {
      try reporting {
        guard case .sites(let sites) = try location.perform(.listSites) else { return }
        var table = Table("SITE", "DOMAIN", "ENROLLED", "CODE", "KEY")
        for site in sites {
          let code = site.codeExpires.map {
            $0 > Clock.unixSeconds ? "until \(Timestamp.text(unixSeconds: $0))" : "expired"
          }
          table.append(
            site.name, site.domain.map { "\($0)" } ?? "waits",
            site.enrolled.map { Timestamp.text(unixSeconds: $0) } ?? "no", code ?? "none",
            site.key.map { "\($0)" } ?? "")
        }
        print(table.isEmpty ? "no sites: add one with `gatemanager site add NAME`" : "\(table)")
      }
    }
  }

  struct Attach: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Puts a site into a domain.", discussion: "Sessions that aren't allowed there end within two seconds.")

    @Argument(help: "The site's name.")
    var name: String
    @Argument(help: "The domain, such as ROOT.AcmeInc.")
    var domain: DomainPath
    @OptionGroup var location: DirectoryOption

    func run() throws {
      try reporting { _ = try location.perform(.attachSite(name, domain)) }
    }
  }

  struct Detach: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Takes a site out of its domain.", discussion: "Nobody reaches it until it is attached again.")

    @Argument(help: "The site's name.")
    var name: String
    @OptionGroup var location: DirectoryOption

    func run() throws {
      try reporting { _ = try location.perform(.detachSite(name)) }
    }
  }

  struct Remove: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Removes a site.",
      discussion: "A running service ends the site's connection and sessions within two seconds.")

    @Argument(help: "The site's name.")
    var name: String
    @OptionGroup var location: DirectoryOption

    func run() throws {
      try reporting { _ = try location.perform(.removeSite(name)) }
    }
  }
}
