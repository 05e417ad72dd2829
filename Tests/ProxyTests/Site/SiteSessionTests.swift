import Control
import Crypto
import Framing
import Kernel
import Primitives
import Testing

@testable import Proxy

@Suite(.timeLimit(.minutes(1))) struct SiteSessionTests {
  /// The LinkManager's end, driven by the test's thread.
  private struct LinkEnd: ~Copyable {
    var pool = SlabPool(limit: 64)
    var peer: BufferedSession
    var connection: SessionSocket

    /// Waits for an event that `isWanted`; drops the others.
    mutating func next(_ isWanted: (SessionEvent) -> Bool) throws -> SessionEvent {
      while Clock.now < soon {
        while let event = peer.session.nextEvent() {
          if case .data(_, let slice) = event { pool.release(slice) }
          if isWanted(event) { return event }
        }
        try connection.flush(&peer, pool: &pool, now: Clock.now)
        try connection.socket.wait(for: .readable, until: soon)
        connection.became([.readable, .writable])
        _ = try connection.read(into: &peer, pool: &pool, now: Clock.now)
      }
      throw Late()
    }
  }

  private struct Late: Error {}

  private func rule(_ agent: String, _ server: LocalServer) -> SiteRule {
    SiteRule(
      agent: agent, device: IPPrefix(server.endpoint.address, length: 32)!, tcp: [PortRange(server.endpoint.port)!],
      udp: [], echo: false)
  }

  @Test func newRulesCutWhatTheyNoLongerPermit() throws {
    let server = try LocalServer(connections: 2) { socket in
      let fd = try? socket.duplicate().release()
      _ = try? Thread(name: "device") {
        guard let fd else { return }
        let socket = OwnedDescriptor(owning: fd)
        while let bytes = try? readExactly(1, from: socket) { try? write(bytes, to: socket) }
      }
    }
    let listener = try Socket.listen(on: Endpoint(IPAddress(127, 0, 0, 1), 0))
    let near = try Socket.connect(to: Socket.localEndpoint(listener)!)
    try listener.wait(for: .readable, until: soon)
    guard let far = try Socket.accept(from: listener) else { throw Late() }
    let (up, down) = (try SecretBytes(random: 32), try SecretBytes(random: 32))
    let site = try SiteSession(
      id: SessionID.random(), socket: far, secrets: RecordSecrets(send: down, receive: up), surplus: [],
      policy: SitePolicy(rules: [rule("a", server), rule("b", server)], granted: nil, expires: nil), onEnd: { _ in })
    let session = try Session(role: .link, secrets: RecordSecrets(send: up, receive: down), now: Clock.now)
    var link = LinkEnd(peer: BufferedSession(session), connection: SessionSocket(near))
    var lane = SlabLane()

    let port = server.endpoint.port
    let first = try link.peer.session.open(OpenRequest(agent: "a", transport: .tcp, port: port), tag: 0)
    _ = try link.next { $0 == .opened(first) }
    let second = try link.peer.session.open(OpenRequest(agent: "b", transport: .tcp, port: port), tag: 0)
    _ = try link.next { $0 == .opened(second) }

    site.replaceRules([rule("b", server)])
    let end = try link.next { if case .reset = $0 { true } else { false } }
    #expect(end == .reset(first, .revoked))

    // The other one goes on, and the first agent is gone for good.
    let slice = link.pool.copy([7].span, in: &lane)!
    try link.peer.session.send(second, slice, pool: &link.pool)
    _ = try link.next { if case .data(second, _) = $0 { true } else { false } }
    let third = try link.peer.session.open(OpenRequest(agent: "a", transport: .tcp, port: port), tag: 0)
    _ = try link.next { $0 == .refused(third) }
    let refusal = link.peer.session.refusal(of: third)
    #expect(refusal?.reason == .unknownAgent)

    site.end("done")
    let last = try link.next { if case .reset = $0 { true } else { false } }
    #expect(last == .reset(second, .revoked))
    link.peer.close(pool: &link.pool)
    link.pool.close(&lane)
    #expect(link.pool.slabsInUse == 0)
  }
}
