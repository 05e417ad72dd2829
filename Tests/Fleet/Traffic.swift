import Adapter
import Control
import Crypto
import Primitives
import Proxy
import Synchronization

/// Streams of several LinkManagers to all agents of one site, which echo, all open at once.
final class Traffic: Sendable {
  struct Report: Encodable, Sendable {
    var sessions = 0
    var agents = 0
    var flows = 0
    var errors: [String] = []
  }

  private struct State {
    var links: [(gate: GateLink, adapter: Adapter)] = []
    var streams: [LocalStream] = []
    var report = Report()
  }

  private let home: Home
  private let site: String
  private let port: UInt16
  private let bytes: Int
  private let state = Mutex(State())

  init(_ home: Home, site: String, port: UInt16, bytes: Int) {
    self.home = home
    self.site = site
    self.port = port
    self.bytes = bytes
  }

  var report: Report { state.withLock { $0.report } }

  /// One more LinkManager with a session to the site.
  func join(_ login: Login) async {
    do {
      let gate = try GateLink(
        server: home.server, credentials: login.credentials, user: login.user, software: "fleet/1")
      let adapter = try Adapter()
      let session = try await gate.connect(to: site, reason: "fleet") { _ in }
      let aliases = try await adapter.attach(session)
      state.withLock { state in
        state.links.append((gate, adapter))
        state.report.sessions += 1
        state.report.agents = max(state.report.agents, aliases.count)
      }
    } catch {
      fail("session: \(error)")
    }
  }

  /// A LinkManager for each login; together they have one session with each of the sites.
  func join(_ logins: [Login], sites: [String]) async {
    guard !logins.isEmpty else { return fail("no users") }
    let share = (sites.count + logins.count - 1) / logins.count
    await withTaskGroup(of: Void.self) { group in
      for (index, login) in logins.enumerated() {
        let own = sites.dropFirst(index * share).prefix(share)
        guard !own.isEmpty else { continue }
        group.addTask { await self.join(login, number: index, sites: Array(own)) }
      }
    }
  }

  private func join(_ login: Login, number: Int, sites: [String]) async {
    do {
      let gate = try GateLink(
        server: home.server(of: number), credentials: login.credentials, user: login.user, software: "fleet/1")
      let adapter = try Adapter()
      state.withLock { $0.links.append((gate, adapter)) }
      for site in sites {
        let session = try await gate.connect(to: site, reason: "fleet") { _ in }
        try await adapter.attach(session) { [self] end in fail("session ended: \(end)") }
        state.withLock { $0.report.sessions += 1 }
      }
    } catch {
      fail("session: \(error)")
    }
  }

  /// Opens the streams, in turn over LinkManagers and agents, and exchanges bytes over all of them.
  func exchange(_ count: Int) async {
    let adapters = state.withLock { $0.links.map(\.adapter) }
    guard let first = adapters.first else { return }
    let agents = await first.agents.map(\.name)
    for index in 0..<count {
      do {
        let stream = try await adapters[index % adapters.count].connect(
          to: agents[index % agents.count], port: port)
        state.withLock { $0.streams.append(stream) }
      } catch {
        fail("stream: \(error)")
      }
    }
    let streams = state.withLock { $0.streams }
    await withTaskGroup(of: Void.self) { group in
      for (index, stream) in streams.enumerated() {
        let exchange = Exchange(self, stream, seed: UInt8(truncatingIfNeeded: index), bytes: bytes)
        group.addTask { await exchange.run() }
      }
    }
  }

  /// Ends all of it in order.
  func stop() {
    let state = state.withLock { state in
      defer { state = State() }
      return (state.links, state.streams)
    }
    for stream in state.1 { stream.finish() }
    for (gate, adapter) in state.0 {
      adapter.stop()
      gate.stop()
    }
  }

  fileprivate func succeeded() {
    state.withLock { $0.report.flows += 1 }
  }

  fileprivate func fail(_ problem: String) {
    state.withLock { $0.report.errors.append(problem) }
  }
}

/// One stream's bytes there and back.
private final class Exchange: Sendable {
  private let traffic: Traffic
  private let stream: LocalStream
  private let payload: [UInt8]

  init(_ traffic: Traffic, _ stream: LocalStream, seed: UInt8, bytes: Int) {
    self.traffic = traffic
    self.stream = stream
    payload = (0..<bytes).map { UInt8(truncatingIfNeeded: $0 &* 31) ^ seed }
  }

  func run() async {
    do {
      try await stream.write(payload)
      var received: [UInt8] = []
      while received.count < payload.count {
        guard let bytes = try await stream.read() else { return traffic.fail("ended after \(received.count) bytes") }
        received += bytes
      }
      if received == payload { traffic.succeeded() } else { traffic.fail("other bytes") }
    } catch {
      traffic.fail("\(error)")
    }
  }
}
