import Control
import Crypto
import Framing
import Kernel
import Primitives
import Proxy
import Synchronization

/// A LinkManager's control connection to its GateManager, as requests that are awaited.
///
/// Exists only while a user wants something: a LinkManager with nothing to do holds no connection.
public final class GateLink: Sendable {
  private struct State {
    var isConnected = false
    var outages = OutageLog()
    var nextRequest: UInt64 = 1
    var waiting: [UInt64: CheckedContinuation<ControlMessage, any Error>] = [:]
    var waitingForConnection: [UInt64: CheckedContinuation<Void, any Error>] = [:]
  }

  private final class Shared: Sendable {
    let state = Mutex(State())
  }

  private let server: GateServer
  private let credentials: TLSContext.Credentials
  private let client: ControlClient
  private let shared: Shared

  /// Starts connecting at once, and stays connected until it is let go of.
  ///
  /// - Parameters:
  ///   - onConnected: called whenever the connection has come about, on its thread: it must not block.
  ///   - onDisconnected: called when it was lost or didn't come about, with the time until the next attempt, in the same
  ///     way.
  ///   - onNotice: called for what GateManager says unasked (a session was revoked or has ended), in the same way.
  public init(
    server: GateServer, credentials: TLSContext.Credentials, user: String, software: String,
    onConnected: @escaping @Sendable () -> Void = {},
    onDisconnected: @escaping @Sendable (GateError, Interval) -> Void = { _, _ in },
    onNotice: @escaping @Sendable (ControlMessage) -> Void = { _ in }
  ) throws(GateError) {
    let shared = Shared()
    self.server = server
    self.credentials = credentials
    self.shared = shared
    client = try ControlClient(
      to: server, credentials: credentials,
      hello: .init(role: .linkManager, name: user, software: software)
    ) { event in
      switch event {
      case .connected:
        let waiting = shared.state.withLock { state in
          state.isConnected = true
          state.outages.recovered(now: Clock.now)
          defer { state.waitingForConnection = [:] }
          return state.waitingForConnection
        }
        for continuation in waiting.values { continuation.resume() }
        onConnected()
      case .disconnected(let error, let retry):
        Self.fail(shared, error)
        onDisconnected(error, retry)
      case .message(let envelope):
        let waiting = envelope.request.flatMap { request in
          shared.state.withLock { $0.waiting.removeValue(forKey: request) }
        }
        if let waiting {
          waiting.resume(returning: envelope.message)
        } else {
          onNotice(envelope.message)
        }
      }
    }
  }

  /// The sites that the user may see.
  public func sites() async throws -> [ControlMessage.SiteSummary] {
    guard case .sites(let sites) = try await request(.list) else { throw GateError.unexpected("another answer") }
    return sites
  }

  /// Whether GateManager's rules would let the user reach an agent now, and by which or why not, as a line for people.
  public func explain(
    site: String, agent: String, reason: String? = nil
  ) async throws -> (isAllowed: Bool, text: String) {
    guard case .explained(let answer) = try await request(.explain(.init(site: site, agent: agent, reason: reason)))
    else { throw GateError.unexpected("another answer") }
    return (answer.isAllowed, answer.text)
  }

  /// Connects to a site: asks GateManager, meets the site there and proves both ends to each other.
  ///
  /// - Parameters:
  ///   - agents: `nil` for all that the user may reach.
  ///   - reason: what the user gives as the purpose.
  ///   - expecting: judges the key that GateManager names for the site; throw to refuse it. A key that was pinned
  ///     before must be the same.
  /// - Throws: `GateError` or `HandshakeError`, or what `expecting` throws.
  public func connect(
    to site: String, agents: [String]? = nil, reason: String? = nil,
    expecting: @Sendable (KeyHash) throws -> Void
  ) async throws -> EstablishedSession {
    let answer = try await request(.connect(.init(site: site, agents: agents, reason: reason)))
    guard case .session(let session) = answer else { throw GateError.unexpected("another answer") }
    // The site may be waiting at GateManager already: whatever fails from here on, it is told.
    do {
      try expecting(session.siteKey)
    } catch {
      client.leave(session.id, reason: "the LinkManager doesn't accept the site's key \(session.siteKey)")
      throw error
    }
    let parcel: Parcel<EstablishedSession>
    do {
      parcel = try await meet(session, site: site)
    } catch {
      client.leave(session.id, reason: "\(error)")
      throw error
    }
    guard let established = parcel.open() else { throw GateError.cancelled }
    return established
  }

  public var status: GateLinkStatus {
    shared.state.withLock { GateLinkStatus(isConnected: $0.isConnected, outages: $0.outages) }
  }

  /// Tells GateManager that a session is over on this side.
  public func leave(_ id: SessionID, reason: String) {
    client.leave(id, reason: reason)
  }

  /// A session was lost, and the connection may be: see `ControlClient.probe`.
  public func probe() {
    client.probe()
  }

  /// The host's network has changed: see `ControlClient.networkChanged`.
  public func networkChanged() {
    client.networkChanged()
  }

  /// Ends the connection.
  public func stop() {
    client.stop()
    Self.fail(shared, .cancelled)
  }

  /// Time to meet a site at GateManager and shake hands with it.
  private static let meetingTime = Interval.seconds(45)

  /// The blocking part, on a thread of its own.
  private func meet(
    _ session: ControlMessage.Session, site: String
  ) async throws -> Parcel<EstablishedSession> {
    let server = server
    let credentials = credentials
    return try await withCheckedThrowingContinuation { continuation in
      do {
        _ = try Thread(name: "meet") {
          do {
            let deadline = Clock.now + Self.meetingTime
            let socket = try DataConnection.open(
              to: server, ticket: session.ticket, credentials: credentials, until: deadline)
            let outcome = try EndToEndHandshake.run(
              on: socket, role: .link, credentials: credentials, expecting: session.siteKey,
              exporterContext: try session.grant.exporterContext(session: session.id), until: deadline)
            let established = EstablishedSession(
              id: session.id, site: site, agents: session.agents, socket: socket, secrets: outcome.secrets,
              surplus: outcome.surplus)
            continuation.resume(returning: Parcel(established))
          } catch {
            continuation.resume(throwing: error)
          }
        }
      } catch {
        continuation.resume(throwing: error)
      }
    }
  }

  private func request(_ message: ControlMessage) async throws -> ControlMessage {
    try await waitForConnection()
    let answer: ControlMessage = try await withCheckedThrowingContinuation { continuation in
      let request = shared.state.withLock { state in
        defer { state.nextRequest += 1 }
        state.waiting[state.nextRequest] = continuation
        return state.nextRequest
      }
      do throws(ControlSendError) {
        try client.send(message, request: request)
      } catch {
        shared.state.withLock { $0.waiting.removeValue(forKey: request) }?.resume(throwing: error)
      }
    }
    if case .failure(let failure) = answer { throw GateError.refused(failure) }
    return answer
  }

  private func waitForConnection() async throws {
    try await withCheckedThrowingContinuation { (continuation: CheckedContinuation<Void, any Error>) in
      let isConnected = shared.state.withLock { state in
        if state.isConnected { return true }
        state.nextRequest += 1
        state.waitingForConnection[state.nextRequest] = continuation
        return false
      }
      if isConnected { continuation.resume() }
    }
  }

  private static func fail(_ shared: Shared, _ error: GateError) {
    let waiting = shared.state.withLock { state in
      state.isConnected = false
      state.outages.lost("\(error)", now: Clock.now, unixSeconds: Clock.unixSeconds)
      defer {
        state.waiting = [:]
        state.waitingForConnection = [:]
      }
      return (Array(state.waiting.values), Array(state.waitingForConnection.values))
    }
    for continuation in waiting.0 { continuation.resume(throwing: error) }
    for continuation in waiting.1 { continuation.resume(throwing: error) }
  }
}

/// Whether a control connection is there, and what became of those before. A snapshot.
public struct GateLinkStatus: Sendable {
  public let isConnected: Bool
  public let outages: OutageLog
}
