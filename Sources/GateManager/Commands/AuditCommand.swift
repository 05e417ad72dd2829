import Access
import ArgumentParser
import Service

struct AuditCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "audit", abstract: "Shows who did what, and checks that nobody has changed it.",
    subcommands: [List.self, Verify.self])

  struct List: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Lists entries, one a line in the form of RFC 5424, the oldest first.")

    @Option(help: "Entries behind this one only.")
    var after: Int64 = 0
    @Option(help: "So many at most.")
    var limit = Int.max
    @OptionGroup var location: DirectoryOption

    func run() throws {
      try reporting {
        let gate = try location.gate.loadKeys().gate
        var (after, left) = (after, limit)
        while left > 0 {
          let page = min(left, AccessLimits.auditPage)
          guard case .audit(let entries) = try location.perform(.listAudit(after: after, limit: page)),
            let last = entries.last
          else { return }
          for entry in entries { print(SyslogMessage.text(entry, host: gate)) }
          after = last.number
          left -= entries.count
        }
      }
    }
  }

  struct Verify: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Finds any entry that was changed, added, moved or removed.",
      discussion: """
        Prints where the audit stands. Who notes that down elsewhere can give it as --noted later, and finds out even
        what somebody has done who had GateManager's keys. The exit status is 1 for an audit that isn't whole.
        """)

    @Option(help: "NUMBER:HASH, as this command has printed it before.")
    var noted: String?
    @OptionGroup var location: DirectoryOption

    func validate() throws {
      guard noted.map({ AuditHead($0) != nil }) ?? true else {
        throw ValidationError("--noted takes what `gatemanager audit verify` prints: NUMBER:sha256:…")
      }
    }

    func run() throws {
      try reporting {
        switch try location.perform(.verifyAudit(noted: noted.flatMap { AuditHead($0) })) {
        case .verified(let head): print("whole: \(head)")
        case .flawed(_, let text):
          print("NOT WHOLE: \(text)")
          throw ArgumentParser.ExitCode(Service.ExitCode.no.rawValue)
        default: break
        }
      }
    }
  }
}
