import Control
import Crypto
import Kernel
import Primitives
import Proxy
import Testing

@testable import GateManager

/// The switch to raw by a client whose close_notify and raw bytes share a segment.
@Suite(.serialized) struct SwitchTests {
  private let plc = AgentDescription(name: "plc", target: .device(.v4), tcp: [PortRange(502)!])

  @Test(arguments: [TLSContext.Version.tls12, .tls13]) func noByteIsLost(version: TLSContext.Version) throws {
    let fixture = try GateFixture()
    try fixture.addUser("ann")
    let user = try fixture.login("ann")
    let (site, _) = try fixture.enroll(fixture.addSite("north"), name: "north")
    let north = try TestPeer(fixture, .siteManager, site)
    try north.send(.agents([plc]))
    #expect(fixture.eventually { $0.sites.first?.agents.count == 1 })
    let link = try TestPeer(fixture, .linkManager, user)
    try link.send(.connect(.init(site: "north")))
    let session = try link.message { if case .session(let body) = $0 { body } else { nil } }
    let dial = try north.message { if case .dial(let body) = $0 { body } else { nil } }

    var near = try RawClient.open(fixture.service.endpoint, user, version)
    var far = try RawClient.open(fixture.service.endpoint, site, version)
    try near.attach(session.ticket)
    try far.attach(dial.ticket)
    // This end is raw long before the other has left TLS.
    try near.leave(sending: Array("first bytes from here".utf8))
    #expect(fixture.service.status()?.relay.active == 0)
    try far.leave(sending: Array("first bytes from there".utf8))
    #expect(try far.receive(21) == Array("first bytes from here".utf8))
    #expect(try near.receive(22) == Array("first bytes from there".utf8))
    link.stop()
    north.stop()
  }
}

/// A data connection's client over memory, so that it decides what shares a segment.
private struct RawClient: ~Copyable {
  private let socket: OwnedDescriptor
  private var tls: TLSConnection
  private var surplus: [UInt8] = []

  static func open(
    _ endpoint: Endpoint, _ credentials: TLSContext.Credentials, _ version: TLSContext.Version
  ) throws -> RawClient {
    let context = try TLSContext(
      .client, credentials: credentials, peer: .required, alpn: [ControlProtocol.dataALPN],
      versions: version...version)
    let socket = try Socket.connect(to: endpoint)
    try socket.setNonblocking(false)
    try Socket.setNoDelay(socket)
    let tls = try TLSConnection(context)
    var client = RawClient(socket, tls)
    try client.handshake()
    return client
  }

  private mutating func handshake() throws {
    while try tls.handshake() != .done {
      try socket.writeAll(tls.takeOutput())
      try fill()
    }
    try socket.writeAll(tls.takeOutput())
  }

  private init(_ socket: consuming OwnedDescriptor, _ tls: consuming TLSConnection) {
    self.socket = socket
    self.tls = tls
  }

  private mutating func fill() throws {
    var buffer = [UInt8](repeating: 0, count: 16384)
    var span = buffer.mutableSpan
    guard case .moved(let count) = try socket.read(into: &span) else { throw TLSError.truncated }
    try tls.receive(buffer.span.extracting(0..<count))
  }

  mutating func attach(_ ticket: Ticket) throws {
    let bytes = try ControlEnvelope(.attach(ticket)).encoded()
    _ = try tls.write(bytes.span)
    try socket.writeAll(tls.takeOutput())
  }

  /// Waits for `attached` and the GateManager's close_notify, then sends its own with `bytes` behind it.
  mutating func leave(sending bytes: [UInt8]) throws {
    var decoder = MessageDecoder()
    var isAttached = false
    var buffer = [UInt8](repeating: 0, count: 16384)
    loop: while true {
      var span = buffer.mutableSpan
      switch try tls.read(into: &span) {
      case .bytes(let count):
        try decoder.receive(buffer.span.extracting(0..<count))
        isAttached = try decoder.next()?.message == .attached
      case .closedByPeer: break loop
      case .wantsRead, .wantsWrite: try fill()
      }
    }
    #expect(isAttached)
    surplus = tls.surplus()
    _ = try tls.shutdown()
    try socket.writeAll(tls.takeOutput() + bytes)
  }

  mutating func receive(_ count: Int) throws -> [UInt8] {
    while surplus.count < count {
      var buffer = [UInt8](repeating: 0, count: 16384)
      var span = buffer.mutableSpan
      guard case .moved(let got) = try socket.read(into: &span) else { break }
      surplus += buffer[..<got]
    }
    return surplus
  }
}
