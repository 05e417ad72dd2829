public import ArgumentParser
internal import Glibc

/// What the commands `capture` of the hosts have in common.
public struct CaptureOptions: ParsableArguments {
  @Option(help: ArgumentHelp("Only packets of this flow, as `status --flows` and the logs call it.", valueName: "id"))
  public var flow: String?

  @Option(help: "Only packets that this filter lets through, in the language of pcap-filter(7).")
  public var filter: String?

  @Flag(help: "Only frames of Layer 2 agents: --filter is for these then, and otherwise for IP packets.")
  public var frames = false

  @Option(help: ArgumentHelp("Bytes of a packet that are kept, 64 to 262144.", valueName: "bytes"))
  public var snap = 262_144

  @Option(help: ArgumentHelp("Where the capture goes, in the pcapng format; - for standard output.", valueName: "file"))
  public var write = "-"

  @Option(help: ArgumentHelp("Begin another file after so much.", valueName: "MiB"))
  public var ringSize: Int?

  @Option(help: ArgumentHelp("Begin another file after so long.", valueName: "seconds"))
  public var ringSeconds: Int?

  @Option(help: ArgumentHelp("Keep so many files, and remove older ones.", valueName: "count"))
  public var ringFiles: Int?

  @Flag(help: "Only what was dropped or refused, with the reason.")
  public var drops = false

  @Option(help: ArgumentHelp("End after so many packets.", valueName: "packets"))
  public var count: Int?

  @Option(help: ArgumentHelp("End after so long.", valueName: "seconds"))
  public var seconds: Int?

  public init() {}

  public func validate() throws {
    guard (64...262_144).contains(snap) else { throw ValidationError("--snap: \(snap) is not between 64 and 262144") }
    for (name, value) in [
      ("--ring-size", ringSize), ("--ring-seconds", ringSeconds), ("--ring-files", ringFiles), ("--count", count),
      ("--seconds", seconds),
    ] {
      if let value, !(1...1_000_000_000).contains(value) { throw ValidationError("\(name): \(value) is not positive") }
    }
    let isRing = ringSize != nil || ringSeconds != nil
    if isRing, write == "-" { throw ValidationError("a ring of files needs --write FILE") }
    if ringFiles != nil, !isRing { throw ValidationError("--ring-files needs --ring-size or --ring-seconds") }
  }

  /// What the service is asked for.
  public var arguments: [String: String] {
    var arguments = ["snap": "\(snap)"]
    arguments["flow"] = flow
    arguments["filter"] = filter
    if frames { arguments["frames"] = "yes" }
    if drops { arguments["drops"] = "yes" }
    arguments["count"] = count.map { "\($0)" }
    arguments["seconds"] = seconds.map { "\($0)" }
    return arguments
  }

  /// Has the service capture, and writes what comes until it ends, its reader goes away, or a signal asks for it.
  public func run(_ client: ManagementClient, _ request: ManagementRequest) throws {
    if write == "-", isatty(STDOUT_FILENO) == 1 {
      throw CommandFailure(
        .usage, "a capture isn't for a terminal: use --write FILE, or a pipe such as `| wireshark -k -i -`")
    }
    var output = CaptureOutput(path: write)
    output.ringBytes = ringSize.map { $0 << 20 }
    output.ringSeconds = ringSeconds
    output.ringFiles = ringFiles
    try output.run(client, request)
  }
}
