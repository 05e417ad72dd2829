import Access
import ArgumentParser
import Control
import Service

struct RuleCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "rule", abstract: "Manages rules: who may reach which agents, and when.",
    discussion: "What no rule allows is denied. What a change takes away ends within two seconds.",
    subcommands: [Add.self, List.self, Remove.self, Enable.self, Disable.self])

  struct Add: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Makes a rule and prints its number.",
      discussion: """
        EXAMPLES
          gatemanager rule add --account ann --domain ROOT.AcmeInc
          gatemanager rule add --group night-shift --domain ROOT.AcmeInc.Line1 --site press-7 --agent plc \\
            --slot "mon-fri 22:00-06:00" --zone Europe/Berlin --require-reason
        """)

    @Option(help: "For an account.")
    var account: String?
    @Option(help: "For a group.")
    var group: String?
    @Option(help: "For the sites in a domain and below, such as ROOT.AcmeInc.")
    var domain = DomainPath.root
    @Option(help: "For one of these sites only.")
    var site: String?
    @Option(name: .customLong("agent"), help: "For this agent only; may be repeated.")
    var agents: [String] = []
    @Option(name: .customLong("tcp"), help: "These TCP ports only, such as 502 or 8000-8010; may be repeated.")
    var tcp: [String] = []
    @Option(name: .customLong("udp"), help: "These UDP ports only; may be repeated.")
    var udp: [String] = []
    @Flag(help: "Pings, where ports are limited.")
    var ping = false
    @Option(name: .customLong("slot"), help: "Then only, such as \"mon-fri 06:00-14:00\"; may be repeated.")
    var slots: [String] = []
    @Option(help: "The time zone of the slots, such as Europe/Berlin.")
    var zone: String?
    @Flag(help: "Ask users for a reason when they connect.")
    var requireReason = false
    @OptionGroup var location: DirectoryOption

    func validate() throws {
      guard (account == nil) != (group == nil) else { throw ValidationError("give either --account or --group") }
      guard slots.isEmpty == (zone == nil) else { throw ValidationError("--slot and --zone go together") }
      for port in tcp + udp where PortRange(port) == nil {
        throw ValidationError("`\(port)` is no port: give one such as 502, or several as 8000-8010")
      }
      for slot in slots where WeeklySlots.Slot(slot) == nil {
        throw ValidationError("`\(slot)` is no slot: give days and times as in \"mon-fri 06:00-14:00\"")
      }
      if let zone, WeeklySlots(zone: zone, slots: slots.compactMap { WeeklySlots.Slot($0) }) == nil {
        throw ValidationError("--zone takes a name such as Europe/Berlin, with \(AccessLimits.slots) slots at most")
      }
    }

    func run() throws {
      let subject = account.map { AccessRule.Subject.account($0) } ?? .group(group ?? "")
      let isLimited = !tcp.isEmpty || !udp.isEmpty || ping
      let rule = AccessRule(
        subject: subject, domain: domain, site: site, agents: agents.isEmpty ? nil : agents,
        ports: isLimited
          ? PortLimits(tcp: tcp.compactMap { PortRange($0) }, udp: udp.compactMap { PortRange($0) }, icmp: ping) : nil,
        slots: zone.flatMap { WeeklySlots(zone: $0, slots: slots.compactMap { WeeklySlots.Slot($0) }) },
        requiresReason: requireReason, created: 0)
      try reporting {
        guard case .rule(let id) = try location.perform(.addRule(rule)) else { return }
        print(id)
      }
    }
  }

  struct List: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Lists all rules.")

    @OptionGroup var location: DirectoryOption

    func run() throws {
      try reporting {
        guard case .rules(let rules) = try location.perform(.listRules) else { return }
        var table = Table("RULE", "ALLOWS")
        for rule in rules { table.append("\(rule.id)", "\(rule)") }
        print(table.isEmpty ? "no rules, so nobody reaches anything: add one with `gatemanager rule add`" : "\(table)")
      }
    }
  }

  struct Remove: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Removes a rule.")

    @Argument(help: "The rule's number.")
    var number: Int64
    @OptionGroup var location: DirectoryOption

    func run() throws { try reporting { _ = try location.perform(.removeRule(number)) } }
  }

  struct Enable: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Lets a rule apply again.")

    @Argument(help: "The rule's number.")
    var number: Int64
    @OptionGroup var location: DirectoryOption

    func run() throws { try reporting { _ = try location.perform(.enableRule(number, true)) } }
  }

  struct Disable: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Keeps a rule from applying.")

    @Argument(help: "The rule's number.")
    var number: Int64
    @OptionGroup var location: DirectoryOption

    func run() throws { try reporting { _ = try location.perform(.enableRule(number, false)) } }
  }
}

struct WhyCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "why", abstract: "Says which rule lets an account reach an agent now, or why none does.",
    discussion: "The exit status is 1 if it doesn't reach it.")

  @Argument(help: "The account's name.")
  var account: String
  @Argument(help: "The site's name.")
  var site: String
  @Argument(help: "The agent's name.")
  var agent: String
  @Flag(help: "As if a reason was given.")
  var withReason = false
  @OptionGroup var location: DirectoryOption

  func run() throws {
    try reporting {
      let operation = Operation.explain(account: account, site: site, agent: agent, hasReason: withReason)
      guard case .explanation(let isAllowed, let text) = try location.perform(operation) else { return }
      print(text.escaped)
      guard isAllowed else { throw ArgumentParser.ExitCode(Service.ExitCode.no.rawValue) }
    }
  }
}
