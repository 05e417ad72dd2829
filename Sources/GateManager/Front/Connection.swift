import Control
import Crypto
import Kernel
import Primitives

/// One connection to the open port, from accept to its end or its switch to raw.
final class Connection {
  enum Kind {
    case handshaking(deadline: Instant)
    case control(ControlPeer)
    case data(DataPeer)

    var nextDeadline: Instant? {
      switch self {
      case .handshaking(let deadline): deadline
      case .control(let peer): peer.nextDeadline
      case .data(let peer): peer.nextDeadline
      }
    }

    /// What was received ends within a message, or doesn't. Data connections have a deadline for theirs.
    mutating func holdsPart(_ isPart: Bool, now: Instant) {
      guard case .control(var peer) = self else { return }
      peer.holdsPart(isPart, now: now)
      self = .control(peer)
    }
  }

  let accepted: Instant
  let peer: Endpoint?
  let address: String
  /// Without the port: who is throttled.
  let host: String
  /// Taken when the connection goes to the relay.
  var socket: OwnedDescriptor?
  let rawSocket: CInt
  var tls: TLSConnection
  var kind: Kind {
    didSet { kindDeadline = kind.nextDeadline }
  }
  /// That of `kind`. All connections are asked for theirs twice a second: a peer's state isn't copied for that.
  private var kindDeadline: Instant?
  var decoder = MessageDecoder()
  var keyHash: KeyHash?
  /// Whose key it is, if it is registered: who to name in the log, whatever the connection comes to.
  var knownIdentity: PeerIdentity?
  /// What the poller was asked for.
  var interest: Readiness = .readable
  /// Encoded messages that TLS hasn't taken yet.
  private(set) var output: [UInt8] = []
  /// After the output: close_notify.
  var wantsCloseNotify = false
  var hasSentCloseNotify = false
  /// Close the connection once the output is out.
  var isClosing = false
  var closingDeadline: Instant?
  /// The session of a data connection.
  var session: SessionID?

  init(
    _ socket: consuming OwnedDescriptor, peer: Endpoint?, context: TLSContext, handshakeTime: Interval, now: Instant
  ) throws(CryptoError) {
    accepted = now
    self.peer = peer
    address = peer.map { "\($0)" } ?? "?"
    host = peer.map { "\($0.address)" } ?? "?"
    rawSocket = socket.rawValue
    tls = try TLSConnection(context, descriptor: socket.rawValue)
    self.socket = consume socket
    kind = .handshaking(deadline: now + handshakeTime)
    kindDeadline = now + handshakeTime
  }

  var hasOutput: Bool { !output.isEmpty }

  /// Whether it has a place among those that are nobody yet.
  var hasStrangersPlace = true

  /// Whether it has shown neither a registered key nor a good ticket.
  var isStranger: Bool {
    switch kind {
    case .handshaking: true
    case .control(let peer): !peer.isIdentified
    case .data: session == nil
    }
  }

  var identity: PeerIdentity? {
    if case .control(let peer) = kind, peer.isIdentified { peer.identity } else { nil }
  }

  var nextDeadline: Instant? { Instant.earliest(kindDeadline, closingDeadline) }

  /// False when too much waits already, or the message is too long.
  func enqueue(_ envelope: ControlEnvelope) -> Bool {
    guard let bytes = try? envelope.encoded(), output.count + bytes.count <= GateLimits.outputBytes else {
      return false
    }
    output += bytes
    return true
  }

  /// Writes what the socket takes. True if it must be writable before more goes out.
  func flush() throws(TLSError) -> Bool {
    var start = 0
    defer {
      // Memory for an answer that has left isn't kept for the next one, which may come in hours.
      if start == output.count { output = [] } else { output.removeFirst(start) }
    }
    while start < output.count {
      switch try tls.write(output.span.extracting(start..<output.count)) {
      case .bytes(let count): start += count
      case .wantsRead: return false
      case .wantsWrite: return true
      }
    }
    guard wantsCloseNotify, !hasSentCloseNotify else { return false }
    switch try tls.shutdown() {
    case .done: hasSentCloseNotify = true
    case .wantsRead: return false
    case .wantsWrite: return true
    }
    return false
  }
}
