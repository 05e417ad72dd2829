import ArgumentParser
import Control
import Primitives
import Service

/// `linkmanager connect`: makes a site's agents reachable.
struct Connect: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Make the agents of a site reachable from this PC.",
    discussion: """
      Returns once the site is connected, with the address under which each agent can be reached. The site stays
      connected, and is connected again if it is lost, until `linkmanager disconnect`.

      EXAMPLES
        linkmanager connect plant-7 --reason "drive 3 trips"
        linkmanager connect plant-7/plc --reason "program update"
      """)

  @OptionGroup var place: Place

  @Argument(help: ArgumentHelp("The site, or one agent of it.", valueName: "site[/agent]"))
  var target: String

  @Option(help: "What it is for; the site's operator and the audit see it.")
  var reason = ""

  @Flag(help: "For scripts: one JSON object.")
  var json = false

  func run() throws {
    var arguments = try Target(target).arguments
    arguments["reason"] = reason
    let answer = try place.client.request(
      ManagementRequest("connect", arguments), as: ConnectAnswer.self, timeoutSeconds: 90)
    if json {
      print(try Output.json(answer))
    } else {
      print("connected to \(EscapedText(answer.site))\n\(LinkStatus.table(answer.agents))")
    }
  }
}

/// `linkmanager disconnect`: leaves a site.
struct Disconnect: ParsableCommand {
  static let configuration = CommandConfiguration(abstract: "Leave a site: its flows are cut.")

  @OptionGroup var place: Place

  @Argument(help: "The site.")
  var site: String

  func run() throws {
    try place.client.perform(ManagementRequest("disconnect", ["site": site]))
    print("disconnected from \(EscapedText(site))")
  }
}

/// `linkmanager list`: the sites that the user may see.
struct List: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Show the sites that can be connected to, and their agents.")

  @OptionGroup var place: Place

  @Flag(help: "For scripts: a JSON array.")
  var json = false

  func run() throws {
    let sites = try place.client.request(ManagementRequest("list"), as: [ListedSite].self)
    if json {
      print(try Output.json(sites))
      return
    }
    var table = Table("SITE", "STATE", "AGENTS")
    for site in sites {
      table.append(site.name, site.online ? "online" : "offline", site.agents.joined(separator: ", "))
    }
    print(table)
  }
}

/// `linkmanager status`: what the service is doing.
struct Status: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Show sites, agents, flows, rates, and what was refused and why.",
    discussion: """
      What is wrong comes first. Flows have the same names here and in the logs of both hosts.

      EXAMPLES
        linkmanager status --flows
        linkmanager status --watch 1
        linkmanager status --json --watch 10 >>status.jsonl
      """)

  @OptionGroup var place: Place

  @OptionGroup var options: StatusOptions

  func run() throws {
    try options.show(LinkStatus.self, of: place.client)
  }
}

/// `linkmanager metrics`: the same for Prometheus.
struct Metrics: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Print the running service's metrics for Prometheus.", discussion: MetricsOptions.discussion)

  @OptionGroup var place: Place

  @OptionGroup var options: MetricsOptions

  func run() throws {
    try options.run(place.client)
  }
}

/// `linkmanager explain`: which rule decides about a packet, and why.
struct Explain: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Say which rule decides about a destination, and why.",
    discussion: """
      The exit status is 0 if an agent permits it, and 1 if not.

      EXAMPLES
        linkmanager explain 198.18.4.7:502
        linkmanager explain [fd72:656c:6179::47]:80
        linkmanager explain 198.18.4.7 --protocol icmp
      """)

  @OptionGroup var place: Place

  @Argument(help: ArgumentHelp("An address, with a port for tcp and udp.", valueName: "address[:port]"))
  var destination: String

  @Option(name: .customLong("protocol"), help: "tcp, udp or icmp; icmp if there is no port, otherwise tcp.")
  var transport: String?

  @Flag(help: "For scripts: one JSON object.")
  var json = false

  func run() throws {
    guard let (address, port) = Self.parse(destination) else {
      throw CommandFailure(.usage, "\"\(destination)\" is not an address, ADDRESS:PORT or [ADDRESS]:PORT")
    }
    let transport = transport ?? (port == nil ? "icmp" : "tcp")
    guard TransportProtocol.allCases.contains(where: { $0.description == transport }) else {
      throw CommandFailure(.usage, "--protocol: \"\(transport)\" is not tcp, udp or icmp")
    }
    guard transport == "icmp" || port != nil else { throw CommandFailure(.usage, "\(transport) needs a port") }
    let answer = try place.client.request(
      ManagementRequest(
        "explain", ["address": "\(address)", "port": "\(port ?? 0)", "protocol": transport]),
      as: ExplainAnswer.self)
    print(json ? try Output.json(answer) : answer.explanation)
    if !answer.permitted { throw ArgumentParser.ExitCode(1) }
  }

  static func parse(_ text: String) -> (IPAddress, UInt16?)? {
    if let address = IPAddress(text) { return (address, nil) }
    guard let colon = text.lastIndex(of: ":"), let port = UInt16(text[text.index(after: colon)...]) else { return nil }
    var host = String(text[..<colon])
    if host.hasPrefix("["), host.hasSuffix("]") { host = String(host.dropFirst().dropLast()) }
    return IPAddress(host).map { ($0, port) }
  }
}

/// `linkmanager forget`: lets go of a site's pinned key.
struct Forget: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Forget a site's key, after the site was set up anew.",
    discussion: "Compare the new key with `sitemanager status` at the site before you connect again.")

  @OptionGroup var place: Place

  @Argument(help: "The site.")
  var site: String

  func run() throws {
    let state = StateDirectory(place.directory)
    guard let account = try Account.load(from: state) else {
      throw CommandFailure(.configuration, "nobody is logged in")
    }
    var known = try KnownSites.load(from: state)
    guard known.forget(site, at: account.gate.key) else {
      throw CommandFailure(.usage, "this PC has never met site \(site)")
    }
    try state.save(known, as: KnownSites.fileName)
    print("the key of \(EscapedText(site)) is forgotten")
  }
}
