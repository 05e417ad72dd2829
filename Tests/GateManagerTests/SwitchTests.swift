import Control
import Crypto
import Kernel
import Primitives
import Proxy
import Testing

@testable import GateManager

/// The switch to raw by clients that decide what shares a segment.
@Suite(.serialized) struct SwitchTests {
  private let plc = AgentDescription(name: "plc", target: .device(.v4), tcp: [PortRange(502)!])

  /// A site and a user, with what the tests of a switch need over and over again.
  private final class Bench {
    let fixture: GateFixture
    let user: TLSContext.Credentials
    let site: TLSContext.Credentials
    private let link: TestPeer
    private let north: TestPeer

    init(_ agents: [AgentDescription]) throws {
      fixture = try GateFixture()
      try fixture.addUser("ann")
      user = try fixture.login("ann")
      (site, _) = try fixture.enroll(fixture.addSite("north"), name: "north")
      north = try TestPeer(fixture, .siteManager, site)
      try north.send(.agents(agents))
      #expect(fixture.eventually { $0.sites.first?.agents.count == 1 })
      link = try TestPeer(fixture, .linkManager, user)
    }

    deinit {
      link.stop()
      north.stop()
    }

    /// A session's two tickets, spent by nobody yet.
    func tickets() throws -> (link: Ticket, site: Ticket) {
      try link.send(.connect(.init(site: "north")))
      let session = try link.message { if case .session(let body) = $0 { body } else { nil } }
      let dial = try north.message { if case .dial(let body) = $0 { body } else { nil } }
      return (session.ticket, dial.ticket)
    }

    func client(_ credentials: TLSContext.Credentials, _ version: TLSContext.Version) throws -> RawClient {
      try RawClient.open(fixture.service.endpoint, credentials, version)
    }
  }

  @Test(arguments: [TLSContext.Version.tls12, .tls13]) func noByteIsLost(version: TLSContext.Version) throws {
    let bench = try Bench([plc])
    let tickets = try bench.tickets()
    var near = try bench.client(bench.user, version)
    var far = try bench.client(bench.site, version)
    try near.attach(tickets.link)
    try far.attach(tickets.site)
    // This end is raw long before the other has left TLS.
    try near.leave(sending: Array("first bytes from here".utf8))
    #expect(bench.fixture.service.status()?.relay.active == 0)
    try far.leave(sending: Array("first bytes from there".utf8))
    #expect(try far.receive(21) == Array("first bytes from here".utf8))
    #expect(try near.receive(22) == Array("first bytes from there".utf8))
  }

  /// close_notify and raw bytes, cut at every byte: forwards by one end, backwards by the other.
  @Test(arguments: [TLSContext.Version.tls12, .tls13]) func noByteIsLostAtAnySplit(
    version: TLSContext.Version
  ) throws {
    let bench = try Bench([plc])
    // It looks like TLS, as the handshake between the ends does.
    let first: [UInt8] = [22, 3, 1, 0, 16] + (0..<16).map { $0 &* 31 }
    let second: [UInt8] = [21, 3, 3, 0, 2, 1, 0] + (0..<16).map { ~$0 }
    var cut = 1
    var count = Int.max
    while cut < count {
      let tickets = try bench.tickets()
      var near = try bench.client(bench.user, version)
      var far = try bench.client(bench.site, version)
      try near.attach(tickets.link)
      try far.attach(tickets.site)
      count = try near.leave(sending: first) { _ in [cut] }
      _ = try far.leave(sending: second) { [$0 - cut] }
      // What comes late is no different.
      try near.finish(sending: [1, 2, 3])
      try far.finish(sending: [4, 5])
      #expect(try far.receiveToEnd() == first + [1, 2, 3], "cut at \(cut)")
      #expect(try near.receiveToEnd() == second + [4, 5], "cut at \(cut)")
      cut += 1
    }
    #expect(count > 20 + first.count)
  }

  @Test(arguments: [TLSContext.Version.tls12, .tls13]) func noByteIsLostByteByByte(version: TLSContext.Version) throws {
    let bench = try Bench([plc])
    let tickets = try bench.tickets()
    var near = try bench.client(bench.user, version)
    var far = try bench.client(bench.site, version)
    try near.attach(tickets.link) { Array(1..<$0) }
    try far.attach(tickets.site) { Array(1..<$0) }
    _ = try near.leave(sending: [1, 2, 3]) { Array(1..<$0) }
    _ = try far.leave(sending: [4, 5, 6]) { Array(1..<$0) }
    try near.finish(sending: [7])
    try far.finish(sending: [8])
    #expect(try far.receiveToEnd() == [1, 2, 3, 7])
    #expect(try near.receiveToEnd() == [4, 5, 6, 8])
  }

  /// Data behind a ticket would be lost in the switch: the connection ends, wherever it is cut, and GateManager says so.
  @Test(arguments: [TLSContext.Version.tls12, .tls13]) func earlyDataEndsTheConnection(
    version: TLSContext.Version
  ) throws {
    let bench = try Bench([plc])
    var cut = 1
    var count = Int.max
    var refusals: [String: UInt64] = [:]
    while cut < count {
      let tickets = try bench.tickets()
      var near = try bench.client(bench.user, version)
      var far = try bench.client(bench.site, version)
      try far.attach(tickets.site)
      // In a record of its own, and in the same one with the ticket, which then isn't taken.
      let isApart = cut % 2 == 0
      count = try near.attach(tickets.link, followedBy: [0], isApart: isApart) { [$0 - cut] }
      let began = Clock.now
      var raw = near.waitForEnd()
      if isApart { raw += far.waitForEnd() }
      #expect(raw == [] && Clock.now - began < .seconds(5), "cut at \(cut)")
      refusals[isApart ? "switchFailed" : "badTicket", default: 0] += 1
      cut += 1
    }
    #expect(bench.fixture.eventually { $0.refusals == refusals })
    #expect(bench.fixture.eventually { $0.relay.active == 0 && $0.sessions.isEmpty })
  }
}
