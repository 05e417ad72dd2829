import Adapter
import Kernel
import Logging
import Primitives
import Proxy
import Service
import Tun

/// Captures of a running LinkManager.
extension LinkService {
  func answerCapture(_ arguments: [String: String]) async throws -> ManagementResponse {
    if arguments["at"] == "site" { return try await answerRemoteCapture(arguments) }
    var request = CaptureRequest(arguments)
    // A Layer 2 agent has nothing but frames.
    if let agent = request.configuration.agent,
      let target = await adapter?.agents.first(where: { $0.name == agent })?.agent.target,
      case .interface = target
    {
      request.configuration.linkType = .ethernet
    }
    let wanted = request
    let capture: Capture
    do throws(CommandFailure) {
      // Names in a filter are looked up, which takes its time.
      capture = try await onThread { () throws(CommandFailure) in try wanted.start() }
    } catch {
      return .failure(CaptureRequest.badFilter, error.description)
    }
    try captures.add(capture, by: account.user, wanted)
    if let adapter, await !adapter.add(capture) {
      captures.remove(capture)
      throw CommandFailure(.temporaryFailure, "the adapter has stopped, or too many captures are under way")
    }
    log.notice("capture begins", metadata: ["what": "\(wanted.summary)"])
    let (captures, log) = (captures, log)
    return .stream([String: String]()) { socket in
      let end = capture.run(to: socket)
      captures.remove(capture)
      log.notice("capture ends", metadata: capture.metadata(of: end))
      Task { await self.captureEnded(capture) }
    }
  }

  private func captureEnded(_ capture: Capture) {
    adapter?.remove(capture)
  }

  /// Captures go on with an adapter that begins while they are under way.
  func takeUpCaptures(_ adapter: Adapter) {
    let waiting = captures.captures
    guard !waiting.isEmpty else { return }
    Task {
      for capture in waiting {
        // One that has ended meanwhile was taken from the adapter before it was there.
        if await adapter.add(capture), capture.isStopped { adapter.remove(capture) }
      }
    }
  }
}
