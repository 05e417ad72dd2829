import ArgumentParser
import Service

/// `linkmanager capture`: packets between this PC and the agents, in plain.
struct CaptureCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "capture",
    abstract: "Capture packets between this PC and the agents, as pcapng.",
    discussion: """
      Each packet carries its agent, its flow, and what was decided about it. Packets that the kernel exchanges with the \
      device in one piece are captured in one piece, of up to 64 KiB, and marked as such. Of a Layer 2 agent it is the \
      frames that pass its device, and those that its rule refuses.

      With --at site it is what the site exchanges with the device, whoever's flows they are. The agent has to permit it \
      there (`capture: true`), and who is on site sees it in `sitemanager status` and in the log.

      A capture never holds up what it sees: what its reader doesn't take in time is dropped and counted.

      EXAMPLES
        linkmanager capture --agent plant-7/plc | wireshark -k -i -
        linkmanager capture --drops --seconds 60 | tshark -r -
        linkmanager capture --at site plant-7/plc --write plc.pcapng
        linkmanager capture plant-7/line --filter 'ether proto 0x8892' --write dcp.pcapng
        linkmanager capture --filter 'tcp port 102' --write plc.pcapng --ring-size 100 --ring-files 5
      """)

  @OptionGroup var place: Place

  @Argument(help: "Only packets of this agent, SITE/AGENT.")
  var about: String?

  @Option(help: "The same.")
  var agent: String?

  @Option(help: "Where: `link`, on this PC, or `site`, beside the devices, for an agent that permits it.")
  var at = "link"

  @OptionGroup var options: CaptureOptions

  func validate() throws {
    if let wanted = agent ?? about, wanted.split(separator: "/").count != 2 {
      throw ValidationError("\"\(wanted)\" is not SITE/AGENT")
    }
    guard at == "link" || at == "site" else { throw ValidationError("--at: \"\(at)\" is neither link nor site") }
    if at == "site", agent == nil, about == nil { throw ValidationError("--at site needs an agent, SITE/AGENT") }
    if agent != nil, about != nil, agent != about { throw ValidationError("two agents are named") }
  }

  func run() throws {
    var arguments = options.arguments
    arguments["agent"] = agent ?? about
    if at == "site" { arguments["at"] = at }
    try options.run(place.client, ManagementRequest("capture", arguments))
  }
}
