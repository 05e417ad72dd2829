public import ArgumentParser
internal import Glibc
internal import Kernel
internal import Primitives

/// How `status` shows what a service tells: the same options for all hosts.
public struct StatusOptions: ParsableArguments {
  @Flag(help: "For scripts: one JSON object, or with --watch one a line.")
  public var json = false

  @Flag(help: "Show each flow as well, up to 2,000 of them.")
  public var flows = false

  @Option(
    defaultAsFlag: 2.0,
    help: ArgumentHelp("Show it again and again, until stopped; every 2 seconds unless given.", valueName: "seconds"))
  public var watch: Double?

  public init() {}

  public func validate() throws {
    if let watch, !(0.2...86_400).contains(watch) {
      throw ValidationError("--watch: \(watch) is not between 0.2 and 86400 seconds")
    }
  }

  /// Asks the service and shows what it says, once or until stopped.
  public func show<Report: Codable & CustomStringConvertible>(
    _ type: Report.Type, of client: ManagementClient
  ) throws {
    let request = ManagementRequest("status", flows ? ["flows": "yes"] : [:])
    guard let watch else {
      let report = try client.request(request, as: type, timeoutSeconds: 10)
      _ = Output.write((json ? try Output.json(report) : "\(report)") + "\n")
      return
    }
    let signals: ShutdownSignals
    do throws(SystemError) {
      signals = try ShutdownSignals()
    } catch {
      throw CommandFailure(error)
    }
    var loop = StatusWatch(style: json ? .lines : Terminal.isOutput ? .screen : .blocks)
    while true {
      let started = Clock.now
      let answer = ask(client, request, type)
      let text = try loop.show(
        answer, every: watch, now: started, unixSeconds: Clock.unixSeconds, size: Terminal.size)
      // Whoever read it has gone: nothing is left to do.
      guard Output.write(text) else { return }
      let wait = max(.milliseconds(50), Interval(nanoseconds: Int64(watch * 1e9)) - (Clock.now - started))
      if signals.wait(for: wait) != nil {
        _ = Output.write(loop.farewell)
        return
      }
    }
  }

  private func ask<Report: Codable & CustomStringConvertible>(
    _ client: ManagementClient, _ request: ManagementRequest, _ type: Report.Type
  ) -> Result<String, ManagementError> {
    do throws(ManagementError) {
      let report = try client.request(request, as: type, timeoutSeconds: 5)
      guard json else { return .success("\(report)") }
      guard let line = try? Output.jsonLine(report) else { throw .malformed(program: client.program) }
      return .success(line)
    } catch {
      return .failure(error)
    }
  }
}
