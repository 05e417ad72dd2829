import ArgumentParser
import Primitives
import Service

/// `linkmanager why`: everything on the way that allows or denies a connection, in one line.
struct WhyCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "why",
    abstract: "Say what allows or denies a connection: agent, grant, rule, slot, site or GateManager.",
    discussion: """
      Asks this PC's filter and, where it can be reached, the GateManager for its rules. The exit status is 0 if the \
      connection is allowed all the way to the site, and 1 if not. `explain` asks the filter alone.

      EXAMPLES
        linkmanager why 198.18.4.7:502
        linkmanager why plant-7/plc:502
        linkmanager why plant-7/plc --protocol icmp
      """)

  @OptionGroup var place: Place

  @Argument(help: ArgumentHelp("An address or an agent, with a port for tcp and udp.", valueName: "host[:port]"))
  var destination: String

  @Option(name: .customLong("protocol"), help: "tcp, udp or icmp; icmp if there is no port, otherwise tcp.")
  var transport: String?

  @Flag(help: "For scripts: one JSON object.")
  var json = false

  func run() throws {
    guard var arguments = Self.parse(destination) else {
      throw CommandFailure(.usage, "\"\(destination)\" is not an address or SITE/AGENT, with or without :PORT")
    }
    let transport = transport ?? (arguments["port"] == nil ? "icmp" : "tcp")
    guard TransportProtocol.allCases.contains(where: { $0.description == transport }) else {
      throw CommandFailure(.usage, "--protocol: \"\(transport)\" is not tcp, udp or icmp")
    }
    guard transport == "icmp" || arguments["port"] != nil else {
      throw CommandFailure(.usage, "\(transport) needs a port")
    }
    arguments["protocol"] = transport
    let answer = try place.client.request(ManagementRequest("why", arguments), as: ExplainAnswer.self)
    print(json ? try Output.json(answer) : answer.explanation)
    if !answer.permitted { throw ArgumentParser.ExitCode(1) }
  }

  /// `site` and `agent`, or `address`; and `port` if there is one.
  static func parse(_ text: String) -> [String: String]? {
    guard let slash = text.firstIndex(of: "/") else {
      guard let (address, port) = Explain.parse(text) else { return nil }
      var arguments = ["address": "\(address)"]
      arguments["port"] = port.map { "\($0)" }
      return arguments
    }
    var agent = text[text.index(after: slash)...]
    var arguments = ["site": String(text[..<slash])]
    if let colon = agent.lastIndex(of: ":") {
      guard let port = UInt16(agent[agent.index(after: colon)...]) else { return nil }
      arguments["port"] = "\(port)"
      agent = agent[..<colon]
    }
    arguments["agent"] = String(agent)
    return agent.isEmpty || arguments["site"]?.isEmpty != false ? nil : arguments
  }
}
