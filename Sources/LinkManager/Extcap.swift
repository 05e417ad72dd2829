import ArgumentParser
import Kernel
import Service

/// `linkmanager extcap`: what Wireshark asks its helpers for, so that agents are among its interfaces.
///
/// Wireshark runs every program in its extcap folder with the options below (doc/extcap.4 of Wireshark). A script of one
/// line there calls this command: `Scripts/relayvpn-extcap`.
struct Extcap: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "extcap",
    abstract: "Serve Wireshark's extcap interface, which lists agents as interfaces.",
    discussion: """
      Copy Scripts/relayvpn-extcap to Wireshark's extcap folder (Help > About > Folders). Not for people.
      """)

  private static let everything = "relayvpn"
  /// Behind the name of an agent that is an interface of its site: it has frames, and no IP packets.
  private static let interfaceMark = "interface"

  @OptionGroup var place: Place

  @Flag(name: .customLong("extcap-interfaces"), help: "List the interfaces.")
  var lists = false

  @Flag(name: .customLong("extcap-dlts"), help: "Say what kind of packets an interface has.")
  var tellsKind = false

  @Flag(name: .customLong("extcap-config"), help: "Say what can be chosen.")
  var tellsOptions = false

  @Flag(name: .customLong("capture"), help: "Capture.")
  var captures = false

  @Option(name: .customLong("extcap-interface"), help: "Which interface.")
  var interface: String?

  @Option(name: .customLong("fifo"), help: "Where packets go.")
  var fifo: String?

  @Option(name: .customLong("extcap-capture-filter"), help: "Which packets.")
  var filter: String?

  @Option(name: .customLong("extcap-version"), help: .hidden)
  var version: String?

  @Option(name: .customLong("at"), help: "link or site.")
  var end = "link"

  @Option(help: "Only drops.")
  var drops = "false"

  func run() throws {
    if lists { return print(interfaces()) }
    if tellsKind {
      return print(
        isInterfaceAgent
          ? "dlt {number=1}{name=EN10MB}{display=Ethernet}" : "dlt {number=12}{name=RAW}{display=Raw IP}")
    }
    if tellsOptions { return print(options) }
    guard captures else {
      // Asked with a filter alone, it is to say what is wrong with it.
      return
    }
    guard let fifo, let interface, interface == Self.everything || agent(of: interface) != nil else {
      throw CommandFailure(.usage, "--capture needs --fifo and --extcap-interface")
    }
    var arguments: [String: String] = [:]
    arguments["agent"] = agent(of: interface)
    arguments["filter"] = filter
    if drops == "true" { arguments["drops"] = "yes" }
    if end == "site" { arguments["at"] = "site" }
    try CaptureOutput(path: fifo, isQuiet: true).run(place.client, ManagementRequest("capture", arguments))
  }

  private func interfaces() -> String {
    var lines = [
      "extcap {version=\(LinkManagerCommand.version)}{display=RelayVPN}",
      "interface {value=\(Self.everything)}{display=RelayVPN: all agents}",
    ]
    // Without a running service there is nothing else to list, and no reason to complain to Wireshark.
    let status = try? place.client.request(ManagementRequest("status"), as: LinkStatus.self, timeoutSeconds: 5)
    for site in status?.sites ?? [] {
      for agent in site.agents {
        let name = agent.name.contains("/") ? agent.name : "\(site.name)/\(agent.name)"
        var value = "\(Self.everything):\(name.replacing("/", with: ":"))"
        // Without an alias it stands for no address.
        if agent.v4 == nil, agent.v6 == nil { value += ":\(Self.interfaceMark)" }
        lines.append("interface {value=\(value)}{display=RelayVPN: \(name)}")
      }
    }
    return lines.joined(separator: "\n")
  }

  private var options: String {
    var lines = [
      "arg {number=0}{call=--drops}{display=Only what was dropped or refused}{type=boolean}{default=false}"
    ]
    if interface != Self.everything {
      lines += [
        "arg {number=1}{call=--at}{display=Where}{type=selector}",
        "value {arg=1}{value=link}{display=On this PC}{default=true}",
        "value {arg=1}{value=site}{display=At the site, beside the device}",
      ]
    }
    return lines.joined(separator: "\n")
  }

  /// `SITE/AGENT` of an interface's name.
  private func agent(of interface: String) -> String? {
    let parts = interface.split(separator: ":").map(String.init)
    guard parts.count == 3 || parts.count == 4 && parts[3] == Self.interfaceMark, parts[0] == Self.everything else {
      return nil
    }
    return "\(parts[1])/\(parts[2])"
  }

  private var isInterfaceAgent: Bool {
    // An agent may have the mark for a name.
    interface.map { $0.split(separator: ":").dropFirst(3).first.map(String.init) == Self.interfaceMark } ?? false
  }
}
