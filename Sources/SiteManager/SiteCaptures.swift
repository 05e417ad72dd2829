import Kernel
import Logging
import Primitives
import Proxy
import Service
import Tun

/// Captures of a running site: of what its sessions carry, or of an interface of this host.
extension SiteService {
  /// Begins a capture for this host's operator.
  func answerCapture(_ arguments: [String: String]) -> ManagementResponse {
    var request = CaptureRequest(arguments)
    // A Layer 2 agent has nothing but frames.
    if let agent = request.configuration.agent,
      state.withLock({ $0.agents.first { $0.name == agent } })?.rule.interface != nil
    {
      request.configuration.linkType = .ethernet
    }
    do throws(CommandFailure) {
      if let interface = arguments["interface"] {
        let tap = try InterfaceTap(interface, for: request)
        return try stream(tap.capture, request, of: tap)
      }
      return try stream(try request.start(), request, of: nil)
    } catch {
      return .failure(error.exitCode == .data ? CaptureRequest.badFilter : "failed", error.description)
    }
  }

  private func stream(
    _ capture: Capture, _ request: CaptureRequest, of tap: InterfaceTap?
  ) throws(CommandFailure) -> ManagementResponse {
    try begin(capture, by: "the site's operator", request, seesFlows: tap == nil)
    do throws(SystemError) {
      try tap?.start()
    } catch {
      end(capture, by: "the site's operator", .failed(error))
      throw CommandFailure(error)
    }
    return .stream([String: String]()) { socket in
      self.end(capture, by: "the site's operator", capture.run(to: socket))
    }
  }

  /// Hands the captures that are under way to a session that has come, or to all of them.
  func tellCaptures(to newcomer: SiteSession? = nil) {
    // Under one lock, so that no session hears of an older list behind a newer one.
    tapping.withLock { _ in
      let all = captures.flowCaptures
      if let newcomer {
        if !all.isEmpty { newcomer.replaceCaptures(all) }
        return
      }
      for session in state.withLock({ $0.meetings.values.map(\.session) }) { session.replaceCaptures(all) }
    }
  }

  /// Hands flows to a capture from now on. Who is on site sees it in the log and in `status`.
  func begin(
    _ capture: Capture, by user: String, _ request: CaptureRequest, seesFlows: Bool = true
  ) throws(CommandFailure) {
    try captures.add(capture, by: user, request, seesFlows: seesFlows)
    tellCaptures()
    log.notice("capture begins", metadata: ["by": "\(user)", "what": "\(request.summary)"])
  }

  func end(_ capture: Capture, by user: String, _ end: CaptureEnd) {
    captures.remove(capture)
    tellCaptures()
    log.notice("capture ends", metadata: capture.metadata(of: end, by: user))
  }
}

/// Reads an interface for a capture, on a thread of its own, until the capture ends.
final class InterfaceTap: Sendable {
  let capture: Capture
  private let source: Parcel<PacketCapture>
  private let interface: Int

  /// Opens the interface, and makes the capture for the kind of packets that it has.
  init(_ name: String, for request: CaptureRequest) throws(CommandFailure) {
    var request = request
    let source = try Self.open(name, request.configuration)
    guard let linkType = source.linkType else {
      throw CommandFailure(.system, "\(name) can't be captured: its packets are neither Ethernet frames nor IP packets")
    }
    request.configuration.linkType = linkType
    let capture = try request.start()
    interface = capture.number(of: CaptureInterface(name, description: "interface of the site", linkType: linkType))
    self.source = Parcel(source)
    self.capture = capture
  }

  private static func open(
    _ name: String, _ wanted: CaptureConfiguration
  ) throws(CommandFailure) -> PacketCapture {
    do throws(TunError) {
      // A filter that came compiled is run by the capture, on what the kernel hands over.
      let filter = wanted.filterCode == nil ? wanted.filter : ""
      return try PacketCapture(
        PacketCapture.Configuration(interface: name, filter: filter, snapLength: wanted.snapLength))
    } catch {
      // What libpcap says of the filter is for whoever wrote it.
      let code: ExitCode =
        error.call == "pcap_compile" ? .data : error.isNotPermitted ? .notPermitted : .system
      throw CommandFailure(code, "\(error)")
    }
  }

  func start() throws(SystemError) {
    _ = try Thread(name: "capture") { self.run() }
  }

  private func run() {
    guard var source = source.open() else { return }
    var pool = SlabPool(limit: 2)
    var lane = SlabLane()
    defer { pool.close(&lane) }
    guard let poller = try? Poller(), let descriptor = source.descriptor,
      (try? poller.add(descriptor, token: 0, for: .readable)) != nil
    else { return capture.stop() }
    while !capture.isStopped {
      guard (try? poller.wait(timeout: .milliseconds(100))) != nil else { return capture.stop() }
      // libpcap holds several packets at once, for which there is no further edge.
      while !capture.isStopped, let region = pool.reserve(PacketLimits.size, in: &lane) {
        do throws(TunError) {
          guard let packet = try source.next(into: region, pool: &pool) else { break }
          pool.withSpan(packet.slice) { bytes in
            capture.record(
              interface, .unknown, at: packet.nanoseconds, comment: [], header: bytes, pool: pool)
          }
        } catch {
          return capture.stop()
        }
      }
    }
  }
}
