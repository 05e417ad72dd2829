import ArgumentParser
import Service

/// `sitemanager capture`: packets as they pass this site.
struct CaptureCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "capture",
    abstract: "Capture packets at this site, as pcapng.",
    discussion: """
      Shows what flows carry between this site and its devices, in plain. The site's sockets carry payload: packets are \
      made up for it, with the addresses of both ends, so that programs follow the streams. With --interface it is what \
      an interface of this host sees.

      A capture never holds up what it sees: what its reader doesn't take in time is dropped and counted.

      EXAMPLE
        sitemanager capture --agent plc | wireshark -k -i -
      """)

  @Option(help: "Where this site keeps its key and its binding.")
  var directory = SiteManagerCommand.defaultDirectory

  @Option(help: "Only packets of this agent.")
  var agent: String?

  @Option(help: ArgumentHelp("Capture this interface instead of the flows.", valueName: "name"))
  var interface: String?

  @OptionGroup var options: CaptureOptions

  func run() throws {
    var arguments = options.arguments
    arguments["agent"] = agent
    arguments["interface"] = interface
    try options.run(SiteManagerCommand.client(directory), ManagementRequest("capture", arguments))
  }
}
