import ArgumentParser
import Control
import Crypto
import Kernel
import Service

struct SiteCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "site", abstract: "Manages the sites that SiteManagers stand at.",
    subcommands: [Add.self, List.self, Remove.self])

  struct Add: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Makes a site and prints its enrolment code.",
      discussion: """
        The code is the last line of the output. It works once, for `sitemanager enroll`, and tells the SiteManager
        which GateManager to trust. Only a hash of it is kept: who loses it makes another one with --renew.

        With several names, each site's name and code are one line, for scripts that prepare many SiteManagers.

        EXAMPLES
          gatemanager site add plant-7
          gatemanager site add press-{001..250} >codes
        """)

    @Argument(help: "The site's name: \(RecordName.rule). Or several.")
    var names: [String]
    @OptionGroup var location: DirectoryOption
    @Option(help: "Hours until the code expires.")
    var hours = 24
    @Flag(help: "Make a new code for a site that exists; an enrolled SiteManager stays until the code is used.")
    var renew = false

    func validate() throws {
      guard (1...8760).contains(hours) else { throw ValidationError("--hours takes 1 to 8760") }
    }

    func run() throws {
      try reporting {
        let gate = location.gate
        let keys = try gate.loadKeys()
        for name in names {
          let code = try make(name, in: gate, keys)
          if names.count == 1 {
            print("site \(name): enrol within \(hours) h with this code, once:")
            print("sitemanager enroll --gate HOST:443 --name \(name) --code CODE")
            print(code.text)
          } else {
            print(name, code.text)
          }
        }
      }
    }

    private func make(_ name: String, in gate: GateDirectory, _ keys: GateDirectory.Keys) throws -> EnrolmentCode {
      let now = Clock.unixSeconds
      let code = try EnrolmentCode(gateKey: keys.server.keyHash)
      let enrolment = SiteRecord.Enrolment(
        secretHash: Hex.encode(try EnrolmentCode.hash(secret: code.secret).bytes), expires: now + Int64(hours) * 3600)
      if renew {
        var record = try gate.sites.existing(name)
        record.enrolment = enrolment
        try gate.sites.save(record, replacing: true)
      } else {
        try gate.sites.save(SiteRecord(name: name, created: now, enrolment: enrolment), replacing: false)
      }
      return code
    }
  }

  struct List: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Lists all sites.")

    @OptionGroup var location: DirectoryOption

    func run() throws {
      try reporting {
        _ = try location.gate.loadKeys()
        let (sites, problems, _) = location.gate.sites.loadAll()
        var table = Table("SITE", "ENROLLED", "CODE", "KEY")
        for site in sites {
          let code = site.enrolment.map {
            $0.expires > Clock.unixSeconds ? "until \(Timestamp.text(unixSeconds: $0.expires))" : "expired"
          }
          table.append(
            site.name, site.enrolled.map { Timestamp.text(unixSeconds: $0) } ?? "no", code ?? "none",
            site.key.map { "\($0)" } ?? "")
        }
        print(table.isEmpty ? "no sites: add one with `gatemanager site add NAME`" : "\(table)")
        if let problem = problems.first { throw problem }
      }
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
      try reporting { try location.gate.sites.remove(name) }
    }
  }
}
