import ArgumentParser
import Control
import Service

/// `linkmanager discover`: the devices of a site's network, whether they have an address or not.
struct Discover: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Find the devices beside a site, also those without a usable address.",
    discussion: """
      The site looks for devices on the interface that the agent names, by the methods that it permits: PROFINET DCP,
      EtherNet/IP List Identity, multicast DNS, SSDP, ARP, and listening for LLDP. The site has to be connected.

      Devices that have no IP address, or one that doesn't fit the network, are marked.

      EXAMPLES
        linkmanager discover plant-7
        linkmanager discover plant-7/cell --methods dcp,lldp --seconds 35
        linkmanager discover plant-7/cell --range 10.0.0.0/24 --json
      """)

  @OptionGroup var place: Place

  @Argument(help: ArgumentHelp("The site, or one agent of it.", valueName: "site[/agent]"))
  var target: String

  @Option(
    help: ArgumentHelp(
      "Of \(InterfaceAccess.methods.joined(separator: ", ")); all that the agent permits unless given.",
      valueName: "list"))
  var methods: String?

  @Option(help: "How long to look, 1 to \(DiscoveryMessage.secondsLimit). LLDP devices speak each 5 to 30 seconds.")
  var seconds = 5

  @Option(
    name: .customLong("range"),
    help: ArgumentHelp("A network to ask by ARP, besides the interface's own. Can be repeated.", valueName: "prefix"))
  var ranges: [String] = []

  @Flag(help: "For scripts: one JSON object.")
  var json = false

  func validate() throws {
    guard (1...DiscoveryMessage.secondsLimit).contains(seconds) else {
      throw ValidationError("--seconds: \(seconds) is not between 1 and \(DiscoveryMessage.secondsLimit)")
    }
    for method in wantedMethods ?? [] where !InterfaceAccess.methods.contains(method) {
      throw ValidationError(
        "--methods: there is no \(method); there are \(InterfaceAccess.methods.joined(separator: ", "))")
    }
  }

  private var wantedMethods: [String]? {
    methods.map { $0.split(separator: ",").map { String($0.filter { $0 != " " }) } }
  }

  func run() throws {
    var arguments = try Target(target).arguments
    arguments["seconds"] = "\(seconds)"
    arguments["methods"] = wantedMethods?.joined(separator: ",")
    if !ranges.isEmpty { arguments["ranges"] = ranges.joined(separator: ",") }
    // A site may have several interfaces, which are searched one after the other.
    let answer = try place.client.request(
      ManagementRequest("discover", arguments), as: DiscoverAnswer.self, timeoutSeconds: 8 * (seconds + 15))
    print(json ? try Output.json(answer) : Self.text(answer))
  }

  static func text(_ answer: DiscoverAnswer) -> String {
    var lines: [String] = []
    for agent in answer.agents {
      if answer.agents.count > 1 { lines.append("\(EscapedText(agent.name)):") }
      var table = Table("NAME", "VENDOR", "MAC", "IP", "TYPE", "FOUND BY", "REMARK")
      for device in agent.devices {
        table.append(
          device.name ?? "-", device.vendor ?? "-", device.mac,
          device.addresses.isEmpty ? "-" : device.addresses.joined(separator: " "), device.kind ?? "-",
          device.methods.joined(separator: " "), device.problems.map(remark).joined(separator: ", "))
      }
      lines.append(table.isEmpty ? "no device was found" : "\(table)")
      lines += agent.remarks.map { "\(EscapedText($0))" }
    }
    return lines.joined(separator: "\n")
  }

  private static func remark(_ problem: String) -> String {
    switch problem {
    case "noAddress": "no IP address"
    case "foreignSubnet": "IP of another subnet"
    case "addressConflict": "IP is there twice"
    default: problem
    }
  }
}

/// `linkmanager assign`: gives a device its name or its address.
struct Assign: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Give a PROFINET device a name or an IP address.",
    discussion: """
      By DCP, at the device's Ethernet address, so that it needs no address before. The agent has to permit it
      (`assignment: true`), and the site's log says who did it.

      EXAMPLES
        linkmanager assign plant-7 00:0e:8c:01:02:03 --name press4-plc
        linkmanager assign plant-7/cell 00:0e:8c:01:02:03 --ip 192.168.10.20/24 --gateway 192.168.10.1
      """)

  @OptionGroup var place: Place

  @Argument(help: ArgumentHelp("The site, or one agent of it.", valueName: "site[/agent]"))
  var target: String

  @Argument(help: "The device's Ethernet address, as `discover` shows it.")
  var mac: String

  @Option(help: "The name of station: lower-case letters, digits, hyphens and dots.")
  var name: String?

  @Option(name: .customLong("ip"), help: ArgumentHelp("The IPv4 address with its network.", valueName: "address/bits"))
  var address: String?

  @Option(help: "The IPv4 address of the network's router; none unless given.")
  var gateway: String?

  @Flag(help: "Until the device's next start only.")
  var temporary = false

  func validate() throws {
    guard (name == nil) != (address == nil) else { throw ValidationError("either --name or --ip is needed") }
    guard gateway == nil || address != nil else { throw ValidationError("--gateway goes with --ip") }
  }

  func run() throws {
    var arguments = try Target(target).arguments
    arguments["mac"] = mac
    arguments["name"] = name
    arguments["address"] = address
    arguments["gateway"] = gateway
    if temporary { arguments["temporary"] = "true" }
    try place.client.perform(ManagementRequest("assign", arguments), timeoutSeconds: 30)
    let what = name ?? address ?? ""
    print("\(EscapedText(mac)) is now \(EscapedText(what))\(temporary ? ", until its next start" : "")")
  }
}

/// `SITE` or `SITE/AGENT` on a command line.
struct Target {
  let arguments: [String: String]

  init(_ text: String) throws(CommandFailure) {
    let parts = text.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
    guard let site = parts.first, AgentDescription.isValidName(site), parts.count == 1 || !parts[1].isEmpty else {
      throw CommandFailure(.usage, "\"\(text)\" is not SITE or SITE/AGENT")
    }
    var arguments = ["site": site]
    if parts.count == 2 { arguments["agent"] = parts[1] }
    self.arguments = arguments
  }
}
