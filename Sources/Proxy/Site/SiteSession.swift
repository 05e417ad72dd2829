import Control
import Framing
import Kernel
import Primitives
import Synchronization

/// A session on the site's side, on a thread of its own from the connection to the devices.
///
/// Thread-safe; ends by itself when the connection or the grant does.
public final class SiteSession: Sendable {
  enum Command: Sendable {
    case end(String)
    case describeFlows(limit: Int, Mailbox<[FlowStatus]>)
    case replaceRules([SiteRule])
    case probe
  }

  private let mailbox: Mailbox<Command>
  private let shared = Mutex(SessionStatus())

  /// Starts the session's thread.
  ///
  /// - Parameters:
  ///   - id: what the session is called on all three parts.
  ///   - socket: the raw connection after the end-to-end handshake.
  ///   - surplus: bytes that came with the handshake's last message.
  ///   - services: what the site offers besides flows to addresses.
  ///   - onFlow: called on the session's thread for every flow that is opened or refused, and when it ends.
  ///   - onEnd: called once, on the session's thread, last.
  public init(
    id: SessionID, socket: consuming OwnedDescriptor, secrets: RecordSecrets, surplus: [UInt8], policy: SitePolicy,
    limits: SiteLimits = SiteLimits(), services: SiteServices = .none,
    onFlow: @escaping @Sendable (FlowReport) -> Void = { _ in },
    onEnd: @escaping @Sendable (SessionEnd) -> Void
  ) throws {
    let mailbox = try Mailbox<Command>()
    self.mailbox = mailbox
    try Socket.setNoDelay(socket)
    try Socket.setUnsentLimit(socket, bytes: 256 * 1024)
    try socket.setNonblocking(true)
    let session = try Session(role: .site, secrets: secrets, limits: limits.session, now: Clock.now)
    let loop = try SiteLoop(
      id: id, session: session, socket: socket, policy: policy, limits: limits, services: services, mailbox: mailbox,
      onFlow: onFlow)
    let parcel = Parcel(loop)
    _ = try Thread(name: "site-session") { [self] in
      guard var loop = parcel.open() else { return }
      let end = loop.run(surplus: surplus) { status in self.shared.withLock { $0 = status } }
      loop.close()
      onEnd(end)
    }
  }

  /// Ends the session in order; the peer is told why.
  public func end(_ reason: String) {
    mailbox.send(.end(reason))
  }

  /// The site's agents have changed: flows of agents that no longer permit them are cut.
  public func replaceRules(_ rules: [SiteRule]) {
    mailbox.send(.replaceRules(rules))
  }

  /// The host's network has changed: finds out within seconds whether the LinkManager can still be reached.
  public func probe() {
    mailbox.send(.probe)
  }

  /// Some 200 ms old while the session is busy, up to a second while it is not.
  public var status: SessionStatus {
    shared.withLock { $0 }
  }

  /// The open flows, `limit` of them at most. Blocks for up to a second; empty if the session is ending.
  public func flows(limit: Int) -> [FlowStatus] {
    guard let reply = try? Mailbox<[FlowStatus]>(), let poller = try? Poller(),
      (try? poller.add(reply.descriptor, token: 0, for: .readable)) != nil
    else { return [] }
    mailbox.send(.describeFlows(limit: limit, reply))
    _ = try? poller.wait(timeout: .seconds(1))
    return reply.receive().first ?? []
  }
}

/// Carries a value that can't be copied into a thread's closure, once.
public final class Parcel<Content: ~Copyable>: @unchecked Sendable {
  private var content: Content?

  public init(_ content: consuming Content) {
    self.content = consume content
  }

  public func open() -> Content? {
    content.take()
  }
}
