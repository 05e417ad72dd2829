import Control
import Crypto
import Framing
import Kernel
import Primitives
import Synchronization

@testable import Proxy

/// The LinkManager's end of a session with a site, driven by the test's thread.
struct LinkEnd: ~Copyable {
  var pool = SlabPool(limit: 128)
  var lane = SlabLane()
  var peer: BufferedSession
  var connection: SessionSocket
  let site: SiteSession
  let flows: FlowLog

  /// What the site told of its flows.
  final class FlowLog: Sendable {
    let reports = Mutex<[FlowReport]>([])

    var ends: [FlowEnd] {
      reports.withLock { $0.compactMap { if case .ended(let end) = $0.event { end } else { nil } } }
    }
  }

  /// What was waited for didn't come.
  struct Late: Error {}

  private init(_ session: consuming Session, _ socket: consuming OwnedDescriptor, _ site: SiteSession, _ log: FlowLog) {
    peer = BufferedSession(session)
    connection = SessionSocket(socket)
    self.site = site
    flows = log
  }

  /// A new session with a site that has these rules.
  static func join(
    rules: [SiteRule], limits: SiteLimits = SiteLimits(), linkLimits: SessionLimits = SessionLimits()
  ) throws -> LinkEnd {
    let listener = try Socket.listen(on: Endpoint(IPAddress(127, 0, 0, 1), 0))
    let near = try Socket.connect(to: Socket.localEndpoint(listener)!)
    try listener.wait(for: .readable, until: soon)
    guard let far = try Socket.accept(from: listener) else { throw Late() }
    let (up, down) = (try SecretBytes(random: 32), try SecretBytes(random: 32))
    let log = FlowLog()
    let site = try SiteSession(
      id: SessionID.random(), socket: far, secrets: RecordSecrets(send: down, receive: up), surplus: [],
      policy: SitePolicy(rules: rules, granted: nil, expires: nil), limits: limits,
      onFlow: { report in log.reports.withLock { $0.append(report) } }, onEnd: { _ in })
    let session = try Session(
      role: .link, secrets: RecordSecrets(send: up, receive: down), limits: linkLimits, now: Clock.now)
    return LinkEnd(session, near, site, log)
  }

  /// A rule for an agent that stands for a server of this host.
  static func rule(_ agent: String, _ endpoint: Endpoint, ftp: Bool = false) -> SiteRule {
    let ports = [PortRange(endpoint.port)!]
    return SiteRule(
      agent: agent, device: IPPrefix(endpoint.address, length: 32)!, tcp: ports, udp: ports, ftp: ftp ? ports : [],
      echo: false)
  }

  mutating func open(_ agent: String, _ port: UInt16, _ transport: TransportProtocol = .tcp) throws -> StreamID {
    try peer.session.open(OpenRequest(agent: agent, transport: transport, port: port), tag: 0)
  }

  /// Opens a stream and waits until the device is reached.
  mutating func reach(_ agent: String, _ port: UInt16, _ transport: TransportProtocol = .tcp) throws -> StreamID {
    let id = try open(agent, port, transport)
    _ = try next { $0 == .opened(id) }
    return id
  }

  /// Waits for the refusal of a stream.
  mutating func refusal(of id: StreamID) throws -> Refusal? {
    _ = try next { $0 == .refused(id) }
    return peer.session.refusal(of: id)
  }

  mutating func send(_ id: StreamID, _ bytes: [UInt8]) throws {
    let slice = pool.copy(bytes.span, in: &lane)!
    if peer.session.status(of: id)?.window == 0 {
      peer.session.sendDatagram(id, slice, pool: &pool)
    } else {
      try peer.session.send(id, slice, pool: &pool)
    }
  }

  /// Waits for an event that `isWanted`, and lets go of its payload and of all before it.
  ///
  /// - Parameter consumes: whether payload of streams becomes credit for the site.
  mutating func next(
    until deadline: Instant? = nil, consumes: Bool = true, _ isWanted: (SessionEvent) -> Bool
  ) throws -> SessionEvent {
    let deadline = deadline ?? soon
    while Clock.now < deadline {
      while let event = peer.session.nextEvent() {
        switch event {
        case .data(let id, let slice):
          pool.release(slice)
          if consumes { peer.session.consumed(id, slice.count, now: Clock.now) }
        case .datagram(_, let slice), .echo(_, let slice): pool.release(slice)
        case .ethernet(let id, let slice, isContinued: _):
          pool.release(slice)
          peer.session.consumed(id, slice.count, now: Clock.now)
        default: break
        }
        if isWanted(event) { return event }
      }
      try peer.session.handleTimeout(now: Clock.now)
      try connection.flush(&peer, pool: &pool, now: Clock.now)
      do throws(WaitError) {
        try connection.socket.wait(for: .readable, until: min(deadline, Clock.now + .milliseconds(500)))
      } catch {
        guard case .timedOut = error else { throw error }
      }
      connection.became([.readable, .writable])
      _ = try connection.read(into: &peer, pool: &pool, now: Clock.now)
    }
    throw Late()
  }

  /// Whether something comes back from a device that echoes.
  mutating func echoes(_ id: StreamID, _ bytes: [UInt8] = [7]) throws -> Bool {
    try send(id, bytes)
    _ = try next {
      switch $0 {
      case .data(id, _), .datagram(id, _): true
      default: false
      }
    }
    return true
  }

  /// Serves the connection for a while.
  mutating func run(for interval: Interval) throws {
    do { _ = try next(until: Clock.now + interval) { _ in false } } catch is Late {}
  }

  /// Gives everything back.
  ///
  /// - Returns: slabs that are held still.
  mutating func close() -> Int {
    peer.close(pool: &pool)
    pool.close(&lane)
    return pool.slabsInUse
  }
}
