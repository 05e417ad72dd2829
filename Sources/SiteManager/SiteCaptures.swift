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
    let request = CaptureRequest(arguments)
    do throws(CommandFailure) {
      let capture = try request.start()
      if let interface = arguments["interface"] {
        return try stream(capture, request, of: try InterfaceTap(interface, for: capture))
      }
      return try stream(capture, request, of: nil)
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

  private func tellSessions() {
    let all = captures.flowCaptures
    for meeting in state.withLock({ Array($0.meetings.values) }) { meeting.session.replaceCaptures(all) }
  }

  /// Hands flows to a capture from now on. Who is on site sees it in the log and in `status`.
  func begin(
    _ capture: Capture, by user: String, _ request: CaptureRequest, seesFlows: Bool = true
  ) throws(CommandFailure) {
    try captures.add(capture, by: user, request, seesFlows: seesFlows)
    tellSessions()
    log.notice("capture begins", metadata: ["by": "\(user)", "what": "\(request.summary)"])
  }

  func end(_ capture: Capture, by user: String, _ end: CaptureEnd) {
    captures.remove(capture)
    tellSessions()
    let counters = capture.counters
    log.notice(
      "capture ends",
      metadata: [
        "by": "\(user)", "reason": "\(end)", "packets": "\(counters.captured)", "bytes": "\(counters.bytes)",
        "dropped": "\(counters.dropped)",
      ])
  }
}

/// Reads an interface for a capture, on a thread of its own, until the capture ends.
final class InterfaceTap: Sendable {
  private let capture: Capture
  private let source: Parcel<PacketCapture>
  private let interface: Int
  private let linkType: LinkType

  init(_ name: String, for capture: Capture) throws(CommandFailure) {
    do throws(TunError) {
      let wanted = capture.configuration
      // A filter that came compiled is run by the capture, on what the kernel hands over.
      let filter = wanted.filterCode == nil ? wanted.filter : ""
      let source = try PacketCapture(
        PacketCapture.Configuration(interface: name, filter: filter, snapLength: wanted.snapLength))
      guard let linkType = source.linkType else {
        throw TunError(call: "pcap_datalink", device: name, cause: .badArgument("neither Ethernet nor IP"))
      }
      self.linkType = linkType
      interface = capture.number(
        of: CaptureInterface(name, description: "interface of the site", linkType: linkType))
      self.source = Parcel(source)
    } catch {
      throw CommandFailure(error.isNotPermitted ? .notPermitted : .system, "\(error)")
    }
    self.capture = capture
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
              interface, .unknown, at: packet.nanoseconds, comment: [], linkType: linkType, header: bytes, pool: pool)
          }
        } catch {
          return capture.stop()
        }
      }
    }
  }
}
