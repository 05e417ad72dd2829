import Adapter
import Control
import Crypto
import Framing
import Glibc
import Kernel
import Primitives
import Proxy
import Synchronization
import Testing

@testable import GateManager

/// A site with a device, a user, and a session between them through a GateManager: whole, but for the processes. What is
/// done to others must leave it as it is.
final class Bystander: Sendable {
  let site: TestSite
  let link: GateLink
  let adapter: Adapter
  let session: SessionID
  private let stream: LocalStream
  private let end = Box<SessionEnd>()

  /// - Parameter name: of the site and of the user.
  init(_ fixture: GateFixture, _ name: String = "calm") async throws {
    try fixture.addUser(name)
    site = try TestSite(fixture, name)
    link = try GateLink(
      server: fixture.server, credentials: fixture.login(name), user: name, software: "test/1")
    let established = try await link.connect(to: name) { _ in }
    session = established.id
    adapter = try Adapter()
    let end = end
    try await adapter.attach(established) { end.put($0) }
    stream = try await adapter.connect(to: "\(name)/plc", port: site.devicePort)
  }

  /// Asks the device something over the connection that has been there from the start.
  func expectUndisturbed(_ fixture: GateFixture, _ location: SourceLocation = #_sourceLocation) async throws {
    let question = Array("is anybody there, \(session)?".utf8)
    try await stream.write(question)
    var answer: [UInt8] = []
    while answer.count < question.count, let bytes = try await stream.read() { answer += bytes }
    #expect(answer == question, sourceLocation: location)
    #expect(end.value == nil, sourceLocation: location)
    let status = fixture.service.status()
    #expect(status?.sessions.contains { $0.id == "\(session)" } == true, sourceLocation: location)
    #expect(site.losses == 0 && link.status.outages.count == 0, sourceLocation: location)
  }

  func stop() {
    adapter.stop()
    link.stop()
    site.stop()
  }
}

/// A SiteManager's end: its control connection, and sessions that lead to an echoing device.
final class TestSite: Sendable {
  let credentials: TLSContext.Credentials
  let grantKey: PublicKey
  let devicePort: UInt16
  private let identity: SiteIdentity
  private let client: Mutex<ControlClient?> = Mutex(nil)
  private let state = Mutex(State())
  private let device: CInt
  let arrivals = Box<ArrivalError>()
  let ends = Box<SessionEnd>()

  private struct State {
    var sessions: [SiteSession] = []
    var losses = 0
    var ended: [String] = []
  }

  /// - Parameter answers: whether it follows calls to sessions by itself.
  init(_ fixture: GateFixture, _ name: String, answers: Bool = true) throws {
    let (credentials, enrolled) = try fixture.enroll(fixture.addSite(name), name: name)
    self.credentials = credentials
    grantKey = enrolled.grantKey
    identity = SiteIdentity(
      server: fixture.server, credentials: credentials, keyHash: credentials.key.keyHash, grantKey: enrolled.grantKey)
    let listener = try Socket.listen(on: Endpoint(IPAddress(127, 0, 0, 1), 0))
    devicePort = Socket.localEndpoint(listener)!.port
    device = listener.release()
    try serveDevice()
    let agents = [AgentDescription(name: "plc", target: .device(.v4), tcp: [PortRange(devicePort)!])]
    let started = try ControlClient(
      to: fixture.server, credentials: credentials, hello: .init(role: .siteManager, name: name, software: "test/1")
    ) { [weak self] event in self?.handle(event, agents, answers) }
    client.withLock { $0 = started }
    guard fixture.eventually({ $0.sites.contains { $0.name == name && $0.agents == ["plc"] } }) else {
      throw SystemError(call: "announce", code: ETIMEDOUT)
    }
  }

  /// How often its control connection was lost.
  var losses: Int { state.withLock { $0.losses } }

  /// What GateManager has said about the ends of sessions.
  var endings: [String] { state.withLock { $0.ended } }

  /// Puts rules in force that permit nothing.
  func removeAgents() {
    for session in state.withLock({ $0.sessions }) { session.replaceRules([]) }
  }

  func send(_ message: ControlMessage) throws { try client.withLock { try $0?.send(message) } }

  func stop() {
    let (running, sessions) = (client.withLock { $0.take() }, state.withLock { $0.sessions })
    for session in sessions { session.end("the test is over") }
    running?.stop()
    _ = shutdown(device, CInt(SHUT_RDWR))
  }

  private func handle(_ event: ControlClientEvent, _ agents: [AgentDescription], _ answers: Bool) {
    switch event {
    case .connected:
      // The first one comes before the client is at hand.
      _ = try? Thread(name: "announce") { [weak self] in
        while let self {
          if let client = self.client.withLock({ $0 }) {
            try? client.send(.agents(agents))
            return
          }
          usleep(2000)
        }
      }
    case .disconnected: state.withLock { $0.losses += 1 }
    case .message(let envelope):
      switch envelope.message {
      case .dial(let dial) where answers: _ = try? Thread(name: "meet") { [weak self] in self?.meet(dial) }
      case .revoke(let ending), .sessionEnded(let ending): state.withLock { $0.ended.append(ending.reason) }
      default: break
      }
    }
  }

  private func meet(_ dial: ControlMessage.Dial) {
    let rule = SiteRule(
      agent: "plc", device: IPPrefix(IPAddress(127, 0, 0, 1), length: 32)!, tcp: [PortRange(devicePort)!], udp: [],
      echo: false)
    let (arrivals, ends) = (arrivals, ends)
    do throws(ArrivalError) {
      let (session, _) = try identity.meet(
        dial, rules: [rule], onFlow: { _ in },
        onEnd: { [weak self] end in
          ends.put(end)
          self?.client.withLock { $0?.leave(dial.id, reason: "\(end)") }
        })
      state.withLock { $0.sessions.append(session) }
    } catch {
      arrivals.put(error)
      client.withLock { $0?.leave(dial.id, reason: "\(error)") }
    }
  }

  private func serveDevice() throws {
    let listener = device
    _ = try Thread(name: "device") {
      let listener = OwnedDescriptor(owning: listener)
      try? listener.setNonblocking(false)
      while let socket = try? Socket.accept(from: listener) {
        let fd = socket.release()
        _ = try? Thread(name: "echo") {
          let socket = OwnedDescriptor(owning: fd)
          try? socket.setNonblocking(false)
          var buffer = [UInt8](repeating: 0, count: 4096)
          while true {
            var span = buffer.mutableSpan
            guard case .moved(let count)? = try? socket.read(into: &span) else { return }
            guard (try? socket.writeAll(Array(buffer[..<count]))) != nil else { return }
          }
        }
      }
    }
  }
}

/// Carries a value from one thread to another.
final class Box<Value: Sendable>: Sendable {
  private let stored = Mutex<Value?>(nil)

  func put(_ value: Value) { stored.withLock { $0 = value } }

  var value: Value? { stored.withLock { $0 } }

  func clear() { stored.withLock { $0 = nil } }

  /// Waits for it, some seconds.
  func wait() -> Value? {
    for _ in 0..<2000 {
      if let value { return value }
      usleep(5000)
    }
    return nil
  }
}
