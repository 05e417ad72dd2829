import Control
import Primitives
import Service

/// The GateManager's side of one control connection, from the end of its TLS handshake on.
///
///     greeting ── hello ──▶ anonymous   (no registered key: enrolment and login only)
///                     └───▶ site or user, as the key says
///
/// Holds no descriptor and reads no clock; what is to be done comes out as actions.
struct ControlPeer: Sendable {
  enum Action: Hashable, Sendable {
    case send(ControlEnvelope)
    /// The peer is who its key says; from now on it can be reached.
    case online(PeerIdentity)
    case enroll(ControlMessage.Enroll, request: UInt64?)
    case login(ControlMessage.Login, request: UInt64?)
    case agents([AgentDescription], features: SiteFeatures? = nil, request: UInt64?)
    case report(SiteReport)
    case list(request: UInt64?)
    case explain(ControlMessage.Explain, request: UInt64?)
    case connect(ControlMessage.Connect, request: UInt64?)
    case cancel(ControlMessage.Ending)
    /// Something that a known peer did wrong, and was told. It stays.
    case note(Refusal, String)
    /// After what was sent before it. With more about the reason, where there is more.
    case close(Refusal, String = "")
  }

  private enum Phase {
    case greeting(deadline: Instant), anonymous(deadline: Instant), identified(PeerIdentity), closed
  }

  /// Who the key of the TLS connection belongs to; `nil` for no key or one that isn't registered.
  let identity: PeerIdentity?
  private let gate: String
  private var phase: Phase
  private var messages: RateLimit
  private var bytes: RateLimit
  private var lastReceived: Instant
  private var lastPing: Instant
  private var pings: UInt64 = 0
  private var tries = 0
  /// Since when a message is on its way that hasn't come to its end.
  private var unfinished: Instant?

  init(identity: PeerIdentity?, gate: String, now: Instant) {
    self.identity = identity
    self.gate = gate
    phase = .greeting(deadline: now + GateLimits.firstMessageTime)
    messages = RateLimit(rate: GateLimits.messageRate, burst: GateLimits.messageBurst, now: now)
    bytes = RateLimit(rate: GateLimits.byteRate, burst: GateLimits.byteBurst, now: now)
    lastReceived = now
    lastPing = now
  }

  /// Whether it has come `online`; stays so when it is closed, since it has to be taken off then.
  private(set) var isIdentified = false

  /// Bytes came in; a peer that sends too many is to be closed.
  mutating func received(bytes count: Int, now: Instant) -> [Action] {
    lastReceived = now
    return bytes.take(Int64(count), now: now) ? [] : close(.tooFast)
  }

  /// To be called after bytes were received: whether they end within a message.
  mutating func holdsPart(_ isPart: Bool, now: Instant) {
    unfinished = isPart ? unfinished ?? now : nil
  }

  mutating func receive(_ envelope: ControlEnvelope, now: Instant, unixSeconds: Int64) -> [Action] {
    // Another one may begin behind it.
    unfinished = nil
    guard messages.take(1, now: now) else { return close(.tooFast) }
    let request = envelope.request
    switch (phase, envelope.message) {
    case (.closed, _): return []
    case (_, .ping(let id)): return [.send(ControlEnvelope(.pong(id), request: request))]
    case (_, .pong): return []
    case (.greeting, .hello(let hello)): return greet(hello, request, now, unixSeconds)
    case (.greeting, _): return refuse(.malformed, "hello comes first", request, .noHello)

    case (.anonymous, .enroll(let body)):
      guard countTry() else { return refuse(.tooManyAttempts, "too many tries", request, .tooManyTries) }
      return [.enroll(body, request: request)]
    case (.anonymous, .login(let body)):
      guard countTry() else { return refuse(.tooManyAttempts, "too many tries", request, .tooManyTries) }
      return [.login(body, request: request)]
    case (.anonymous, .unknown): return []
    case (.anonymous, _):
      return refuse(
        .notPermitted, "this key isn't registered here: enrol the site, or log in, again", request, .notRegistered)

    case (.identified(.site), .agents(let agents, let features)):
      return [.agents(agents, features: features, request: request)]
    case (.identified(.site), .report(let report)): return [.report(report)]
    case (.identified(.user), .list): return [.list(request: request)]
    case (.identified(.user), .explain(let body)): return [.explain(body, request: request)]
    case (.identified(.user), .connect(let body)): return [.connect(body, request: request)]
    case (.identified, .cancel(let ending)): return [.cancel(ending)]
    // A user whose login is renewed keeps the connection's identity.
    case (.identified(.user), .login(let body)):
      guard countTry() else { return refuse(.tooManyAttempts, "too many tries", request, .tooManyTries) }
      return [.login(body, request: request)]
    case (.identified, .unknown(let type)):
      // A request of a later version wants an answer; anything else is passed over.
      guard let request else { return [] }
      let text =
        "this GateManager doesn't know `\(type.prefix(bytes: 40))`: it is older than what asked, and too old for it"
      return [.note(.malformed, text), .send(Self.failure(.malformed, text, request))]
    case (.identified, let message):
      return [
        .note(.misplaced, message.type),
        .send(Self.failure(.notPermitted, "`\(message.type)` isn't for you to send", request)),
      ]
    }
  }

  /// A message that can't be understood. Whoever has said hello may go on: a later version may have sent it.
  mutating func receivedMalformed(_ reason: String, now: Instant) -> [Action] {
    if case .closed = phase { return [] }
    guard isIdentified else { return refuse(.malformed, reason, nil, .malformed) }
    unfinished = nil
    guard messages.take(1, now: now) else { return close(.tooFast) }
    return [.note(.malformed, reason), .send(Self.failure(.malformed, reason, nil))]
  }

  /// To be called at `nextDeadline` or later.
  mutating func handleTimeout(now: Instant) -> [Action] {
    switch phase {
    case .closed: return []
    case .greeting(let deadline): return now >= deadline ? close(.noHello) : []
    case .anonymous(let deadline) where now >= deadline: return close(.idleStranger)
    case .anonymous, .identified:
      // What peers have said meanwhile waits unread: they aren't silent, we were deaf. All of them get their time again.
      if let deadline = nextDeadline, now - deadline >= GateLimits.absence {
        lastReceived = now + (.zero - GateLimits.pingInterval)
        if unfinished != nil { unfinished = now }
      }
      if let unfinished, now - unfinished >= GateLimits.messageTime { return close(.endlessMessage) }
      if now - lastReceived >= GateLimits.deadInterval { return close(.silent) }
      guard now >= max(lastReceived, lastPing) + GateLimits.pingInterval else { return [] }
      lastPing = now
      pings &+= 1
      return [.send(ControlEnvelope(.ping(pings)))]
    }
  }

  var nextDeadline: Instant? {
    switch phase {
    case .closed: nil
    case .greeting(let deadline), .anonymous(let deadline): deadline
    case .identified:
      Instant.earliest(
        min(lastReceived + GateLimits.deadInterval, max(lastReceived, lastPing) + GateLimits.pingInterval),
        unfinished.map { $0 + GateLimits.messageTime })
    }
  }

  // MARK: Steps

  private mutating func greet(
    _ hello: ControlMessage.Hello, _ request: UInt64?, _ now: Instant, _ unixSeconds: Int64
  ) -> [Action] {
    guard hello.version == ControlProtocol.version else {
      return refuse(.versionIncompatible, Self.whoIsOlder(hello), request, .incompatible)
    }
    if let identity, identity.role != hello.role {
      return refuse(.notPermitted, "this key is registered for another role", request, .wrongRole)
    }
    let welcome = ControlMessage.Welcome(
      gate: gate, heartbeatSeconds: Int(GateLimits.pingInterval.milliseconds / 1000), serverTime: unixSeconds)
    let answer = Action.send(ControlEnvelope(.welcome(welcome), request: request))
    guard let identity else {
      phase = .anonymous(deadline: now + GateLimits.anonymousTime)
      return [answer]
    }
    phase = .identified(identity)
    isIdentified = true
    return [answer, .online(identity)]
  }

  /// Which side has to be updated.
  private static func whoIsOlder(_ hello: ControlMessage.Hello) -> String {
    let software = EscapedText(hello.software, limit: 64)
    let both =
      "\(software) speaks version \(hello.version) of the protocol, and this GateManager \(ControlProtocol.version)"
    return hello.version > ControlProtocol.version
      ? "\(both): the GateManager is too old, and has to be updated"
      : "\(both): \(software) is too old, and has to be updated"
  }

  private mutating func countTry() -> Bool {
    tries += 1
    return tries <= GateLimits.triesPerConnection
  }

  private mutating func refuse(
    _ code: FailureCode, _ message: String, _ request: UInt64?, _ reason: Refusal
  ) -> [Action] {
    [.send(Self.failure(code, message, request))] + close(reason, message)
  }

  private mutating func close(_ reason: Refusal, _ detail: String = "") -> [Action] {
    phase = .closed
    return [.close(reason, detail)]
  }

  static func failure(
    _ code: FailureCode, _ message: String, _ request: UInt64?, retryAfter: Int? = nil
  ) -> ControlEnvelope {
    ControlEnvelope(.failure(ControlMessage.Failure(code, message, retryAfter: retryAfter)), request: request)
  }
}
