import Control
import Framing
import Kernel

/// What a site offers besides flows to addresses, as byte streams: finding devices, captures.
///
/// A session treats such a stream like one to a device. In the device's place is one end of a pair of connected sockets;
/// who answers has the other end, on a thread of their own. So credit, half-close and a slow reader are what they always
/// are, and nothing that takes long happens on the session's thread.
public struct SiteServices: Sendable {
  /// A stream that the site's rules and the grant permit.
  public struct Request: Sendable {
    public let session: SessionID
    /// `discovery` or `capture`.
    public let `protocol`: StreamProtocol
    public let rule: SiteRule
  }

  /// Begins to answer, and returns the session's end. Called on the session's thread: it must not block.
  public var open: @Sendable (Request) throws(Refusal) -> OwnedDescriptor

  public init(open: @escaping @Sendable (Request) throws(Refusal) -> OwnedDescriptor) {
    self.open = open
  }

  /// For sites that have none.
  public static var none: SiteServices {
    SiteServices { request throws(Refusal) in
      throw Refusal(.siteError, "this site has no \(request.protocol) of agent \(request.rule.agent)")
    }
  }
}

extension SiteLoop {
  /// Answers a request that isn't for a flow to an address.
  mutating func openService(_ id: StreamID, _ request: OpenRequest) throws(Refusal) {
    let rule = try policy.rule(for: request, now: now)
    guard endReason == nil else { throw Refusal(.sessionEnded) }
    let socket = try services.open(SiteServices.Request(session: self.id, protocol: request.protocol, rule: rule))
    do throws(SystemError) {
      try socket.setNonblocking(true)
    } catch {
      throw Refusal(.siteError, "\(error)")
    }
    var flow = DeviceFlow(
      id: id, agent: request.agent, request.protocol, target: .unspecified, socket: socket, phase: .open, since: now,
      deadline: now)
    flow.interface = rule.interface
    insert(flow)
  }
}
