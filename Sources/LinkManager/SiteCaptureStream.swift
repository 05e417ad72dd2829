import Adapter
import Framing
import Kernel
import Logging
import Primitives
import Proxy
import Service
import Synchronization
import Tun

/// Captures at a site, which come by a stream of its session.
extension LinkService {
  func answerRemoteCapture(_ arguments: [String: String]) async throws -> ManagementResponse {
    guard let agent = arguments["agent"] else { return .failure("malformed", "an agent is missing") }
    guard let adapter else { throw CommandFailure(.data, "no site is connected") }
    let target = await adapter.agents.first { $0.name == agent }?.agent.target
    let linkType: LinkType = if case .interface = target { .ethernet } else { .raw }
    let request: [String: String]
    do throws(CommandFailure) {
      // Names in a filter are looked up, which takes its time.
      request = try await onThread { () throws(CommandFailure) in
        try CaptureRequest.remote(arguments, linkType: linkType)
      }
    } catch {
      return .failure(CaptureRequest.badFilter, error.description)
    }
    let stream: LocalStream
    do {
      stream = try await adapter.connect(to: .capture, of: agent)
    } catch let error as LocalStreamError {
      return .failure("notPermitted", Self.reason(error, agent))
    }
    let first = try await stream.within(until: Clock.now + LocalStream.patience) {
      try await stream.write(RemoteCapture.message(request))
      return try await Self.firstBytes(of: stream)
    }
    log.notice("capture at a site begins", metadata: ["agent": "\(agent)"])
    let log = log
    return .stream([String: String]()) { socket in
      let count = RemoteStream(stream).copy(first, to: socket)
      log.notice("capture at a site ends", metadata: ["agent": "\(agent)", "bytes": "\(count)"])
    }
  }

  private static func reason(_ error: LocalStreamError, _ agent: String) -> String {
    switch error {
    case .refused(let refusal) where refusal.reason == .portNotPermitted:
      "\(agent) may not be captured at its site: its agent there needs `capture: true`"
    case .refused(let refusal): "\(agent): \(refusal)"
    case .unknownAgent: "no connected site has an agent \(agent)"
    default: "\(agent): \(error)"
    }
  }

  /// Waits for the beginning of the capture, or for what the site says instead.
  private static func firstBytes(of stream: LocalStream) async throws -> [UInt8] {
    var bytes: [UInt8] = []
    while true {
      guard let more = try await stream.read() else {
        throw CommandFailure(.unavailable, "the site ended the capture before it began")
      }
      bytes += more
      guard bytes.first == 0 else { return bytes }
      if let fields = RemoteCapture.fields(in: bytes) {
        throw CommandFailure(.data, "the site: \(fields["message"] ?? "refused")")
      }
      guard bytes.count <= RemoteCapture.sizeLimit + 4 else {
        throw CommandFailure(.software, "the site's answer can't be read")
      }
    }
  }
}

/// Bytes, counted by one thread and read by another.
private final class Count: Sendable {
  private let sum = Atomic(0)

  var value: Int { sum.load(ordering: .relaxed) }

  func add(_ count: Int) {
    sum.add(count, ordering: .relaxed)
  }
}

/// Copies a site's capture to whoever asked for it, until one of the two ends it.
private final class RemoteStream: Sendable {
  private let stream: LocalStream

  init(_ stream: LocalStream) {
    self.stream = stream
  }

  /// - Returns: bytes that came.
  func copy(_ first: [UInt8], to socket: borrowing OwnedDescriptor) -> Int {
    guard let done = try? Cancellation(), let output = try? socket.duplicate(), let poller = try? Poller(),
      (try? socket.setNonblocking(true)) != nil,
      (try? poller.add(socket.rawValue, token: 0, for: .peerClosed)) != nil,
      (try? poller.add(done.descriptor, token: 1, for: .readable)) != nil
    else {
      stream.reset()
      return 0
    }
    let parcel = Parcel(output)
    let total = Count()
    let copier = try? Thread(name: "capture") {
      if let output = parcel.open() { self.pump(first, output, total) }
      done.cancel()
    }
    guard let copier else { return 0 }
    // Who asks for its end still gets what the site has, its statistics last.
    _ = try? poller.wait(timeout: nil)
    stream.finish()
    let patience = Clock.now + .seconds(5)
    while !done.isCancelled, Clock.now < patience { Thread.sleep(.milliseconds(20)) }
    stream.reset()
    copier.join()
    return total.value
  }

  private func pump(_ first: [UInt8], _ output: borrowing OwnedDescriptor, _ total: Count) {
    var next = first
    while true {
      total.add(next.count)
      guard (try? output.write(all: next.span, until: Clock.now + .seconds(60))) != nil,
        let bytes = try? synchronously({ [stream] in try? await stream.read() })
      else { return stream.reset() }
      next = bytes
    }
  }
}
