public import ArgumentParser
internal import Glibc
internal import Kernel
internal import Primitives
internal import Tun

/// What the commands `capture` of the hosts have in common.
public struct CaptureOptions: ParsableArguments {
  @Option(help: ArgumentHelp("Only packets of this flow, as `status --flows` and the logs call it.", valueName: "id"))
  public var flow: String?

  @Option(help: "Only packets that this filter lets through, in the language of pcap-filter(7).")
  public var filter: String?

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
    let signals = try ShutdownSignals()
    let stream = try client.stream(request)
    let poller = try Poller()
    try poller.add(stream.rawValue, token: 0, for: .readable)
    try poller.add(signals.rawValue, token: 1, for: .readable)
    var files = try output()
    // A plain file can't be polled, and needn't be.
    if write == "-" { try? poller.add(STDOUT_FILENO, token: 2, for: .peerClosed) }
    try copy(stream, poller, signals, to: &files)
    let lost = files.dropped > 0 ? ", \(files.dropped) more dropped for want of room" : ""
    Terminal.write("\(files.packets) packets captured\(lost)\n")
  }

  private func output() throws -> PcapngFiles {
    guard write != "-" else {
      return PcapngFiles(descriptor: try OwnedDescriptor.duplicating(STDOUT_FILENO))
    }
    do throws(SystemError) {
      return try PcapngFiles(
        path: write,
        limits: PcapngFiles.Limits(
          bytes: ringSize.map { $0 << 20 }, time: ringSeconds.map { .seconds(Int64($0)) }, files: ringFiles))
    } catch {
      throw CommandFailure(.cannotCreate, "\(error)")
    }
  }

  private func copy(
    _ stream: borrowing OwnedDescriptor, _ poller: borrowing Poller, _ signals: borrowing ShutdownSignals,
    to files: inout PcapngFiles
  ) throws {
    var room = [UInt8](repeating: 0, count: 256 << 10)
    var end: Instant?
    while true {
      let count = try poller.wait(timeout: end.map { $0 - Clock.now })
      if let end, Clock.now >= end { return }
      for index in 0..<count {
        switch poller.event(index).token {
        case 1:
          // The service writes what it has, its statistics last.
          guard end == nil else { return }
          signals.take()
          Socket.finish(stream)
          end = Clock.now + .seconds(5)
        case 2: return
        default:
          var span = room.mutableSpan
          switch try stream.read(into: &span) {
          case .moved(let count):
            do throws(SystemError) {
              try files.write(room.span.extracting(0..<count))
            } catch {
              if error.isBrokenPipe { return }
              throw error
            }
          case .ended: return
          case .wouldBlock: break
          }
        }
      }
    }
  }
}
