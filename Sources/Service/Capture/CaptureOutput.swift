internal import Glibc
internal import Kernel
internal import Primitives
internal import Tun

/// Where a command line puts a capture that a service sends.
public struct CaptureOutput {
  let path: String
  var ringBytes: Int?
  var ringSeconds: Int?
  var ringFiles: Int?
  /// Whether nothing is said at the end.
  let isQuiet: Bool

  /// - Parameter path: a file or FIFO; - for standard output.
  public init(path: String, isQuiet: Bool = false) {
    self.path = path
    self.isQuiet = isQuiet
  }

  /// Has the service capture, and writes what comes until it ends, its reader goes away, or a signal asks for it.
  public func run(_ client: ManagementClient, _ request: ManagementRequest) throws {
    SignalDescriptor.ignoreBrokenPipes()
    let stream = try client.stream(request)
    let poller = try Poller()
    try poller.add(stream.rawValue, token: 0, for: .readable)
    var files = try open()
    // Not before: until now a signal ends the process, while the service or the reader of a FIFO lets it wait.
    let signals = try ShutdownSignals()
    try poller.add(signals.rawValue, token: 1, for: .readable)
    // A plain file can't be polled, and needn't be.
    if path == "-" { try? poller.add(STDOUT_FILENO, token: 2, for: .peerClosed) }
    try copy(stream, poller, signals, to: &files)
    guard !isQuiet else { return }
    let lost = files.dropped > 0 ? ", \(files.dropped) more dropped for want of room" : ""
    Terminal.write("\(files.packets) packets captured\(lost)\n")
  }

  private func open() throws(CommandFailure) -> PcapngFiles {
    do throws(SystemError) {
      guard path != "-" else { return PcapngFiles(descriptor: try OwnedDescriptor.duplicating(STDOUT_FILENO)) }
      let limits = PcapngFiles.Limits(
        bytes: ringBytes, time: ringSeconds.map { .seconds(Int64($0)) }, files: ringFiles)
      return try PcapngFiles(path: path, limits: limits)
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
          // Asked a second time, it doesn't wait for what the service still has.
          guard end == nil else { return }
          signals.take()
          Socket.finish(stream)
          end = Clock.now + .seconds(5)
        case 2: return
        default:
          guard try copy(stream, &room, to: &files) else { return }
        }
      }
    }
  }

  /// - Returns: whether there is more to come, and somebody to read it.
  private func copy(
    _ stream: borrowing OwnedDescriptor, _ room: inout [UInt8], to files: inout PcapngFiles
  ) throws(SystemError) -> Bool {
    var span = room.mutableSpan
    switch try stream.read(into: &span) {
    case .moved(let count):
      do throws(SystemError) {
        try files.write(room.span.extracting(0..<count))
      } catch {
        if error.isBrokenPipe { return false }
        throw error
      }
      return true
    case .ended: return false
    case .wouldBlock: return true
    }
  }
}
