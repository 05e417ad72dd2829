import ArgumentParser
import Service

/// `linkmanager capture`: packets between this PC and the agents, in plain.
struct CaptureCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "capture",
    abstract: "Capture packets between this PC and the agents, as pcapng.",
    discussion: """
      Each packet carries its agent, its flow, and what was decided about it. Packets that the kernel exchanges with the \
      device in one piece are captured in one piece, of up to 64 KiB, and marked as such.

      A capture never holds up what it sees: what its reader doesn't take in time is dropped and counted.

      EXAMPLES
        linkmanager capture --agent plant-7/plc | wireshark -k -i -
        linkmanager capture --drops --seconds 60 | tshark -r -
        linkmanager capture --filter 'tcp port 102' --write plc.pcapng --ring-size 100 --ring-files 5
      """)

  @OptionGroup var place: Place

  @Argument(help: "Only packets of this agent, SITE/AGENT.")
  var about: String?

  @Option(help: "The same.")
  var agent: String?

  @OptionGroup var options: CaptureOptions

  func validate() throws {
    if let wanted = agent ?? about, wanted.split(separator: "/").count != 2 {
      throw ValidationError("\"\(wanted)\" is not SITE/AGENT")
    }
    if agent != nil, about != nil, agent != about { throw ValidationError("two agents are named") }
  }

  func run() throws {
    var arguments = options.arguments
    arguments["agent"] = agent ?? about
    try options.run(place.client, ManagementRequest("capture", arguments))
  }
}
