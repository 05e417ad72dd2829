import Control
import Framing
import Kernel
import Logging
import Proxy
import Service
import Tun

/// Captures at this site that LinkManagers ask for.
///
/// The agent's own `capture: true` and the grant permit one; `SitePolicy` has judged both by then. It is of all flows to
/// that agent, whoever's they are, or of the agent's interface. This site's log and GateManager's audit tell of it.
extension SiteService {
  /// Answers a stream of packets.
  func openCapture(_ request: SiteServices.Request, _ grant: Grant) throws(Refusal) -> OwnedDescriptor {
    guard captures.claim() else {
      throw Refusal(.tooMany, "\(CaptureList.remoteLimit) captures from remote are under way")
    }
    do throws(SystemError) {
      let pair = try UnixSocket.pair()
      let parcel = Parcel(pair.far)
      _ = try Thread(name: "capture") {
        if let socket = parcel.open() { self.answer(request, grant, on: socket) }
        self.captures.unclaim()
      }
      return pair.near
    } catch {
      captures.unclaim()
      throw Refusal(.siteError, "\(error)")
    }
  }

  private func answer(_ request: SiteServices.Request, _ grant: Grant, on socket: borrowing OwnedDescriptor) {
    let user = "\(grant.user) at \(grant.pc)"
    let agent = request.rule.agent
    do throws(CommandFailure) {
      guard var arguments = RemoteCapture.request(from: socket) else {
        throw CommandFailure(.data, "no request came, or none that can be read")
      }
      arguments["agent"] = agent
      let wanted = CaptureRequest(remote: arguments)
      let tap: InterfaceTap? =
        if let interface = request.rule.interface { try InterfaceTap(interface.name, for: wanted) } else { nil }
      let capture = if let tap { tap.capture } else { try wanted.start() }
      try begin(capture, by: user, wanted, seesFlows: tap == nil)
      report("captureBegan", grant, agent: agent, wanted.summary)
      do throws(SystemError) {
        try tap?.start()
        let outcome = capture.run(to: socket)
        end(capture, by: user, outcome)
        report("captureEnded", grant, agent: agent, "\(outcome)", capture.counters)
      } catch {
        end(capture, by: user, .failed(error))
        report("captureEnded", grant, agent: agent, "\(error)", capture.counters)
        throw CommandFailure(error)
      }
    } catch {
      log.notice("capture refused", metadata: ["by": "\(user)", "reason": "\(error)"])
      try? socket.writeAll(RemoteCapture.message(["code": "refused", "message": "\(error)"]))
    }
  }
}
