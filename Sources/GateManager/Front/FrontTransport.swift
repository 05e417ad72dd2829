import Control
import Crypto
import Kernel
import Logging
import Primitives
import Service

/// Moving bytes between sockets, TLS and the machines.
extension Front {
  /// Reads in a row for one connection; more waits for the next turn.
  private static let readBudget = 32

  /// A connection is ready for something: does all that can be done.
  func serve(_ id: SlotID) {
    let connection = connections[id]
    do throws(TLSError) {
      if case .handshaking = connection.kind {
        let progress = try connection.tls.handshake()
        guard progress == .done else { return watch(id, connection, writable: progress == .wantsWrite) }
        // What follows in the same read is served below.
        guard begin(id, connection) else { return }
      }
      try read(id, connection)
      guard connections.contains(id) else { return }
      try write(id, connection)
    } catch {
      fail(id, error)
    }
  }

  /// Sends what waits, as far as it goes.
  func flush(_ id: SlotID) {
    guard connections.contains(id) else { return }
    do throws(TLSError) {
      try write(id, connections[id])
    } catch {
      fail(id, error)
    }
  }

  /// Encodes a message for a connection that may have gone.
  func send(_ message: ControlMessage, to id: SlotID, request: UInt64? = nil) {
    enqueue(ControlEnvelope(message, request: request), id)
    flush(id)
  }

  func enqueue(_ envelope: ControlEnvelope, _ id: SlotID) {
    guard connections.contains(id), !connections[id].isClosing else { return }
    guard !connections[id].enqueue(envelope) else { return }
    count(.slowReader)
    close(id, .slowReader)
  }

  /// The end of the handshake: what is this connection for?
  private func begin(_ id: SlotID, _ connection: Connection) -> Bool {
    connection.keyHash = connection.tls.peerKeyHash
    connection.knownIdentity = connection.keyHash.flatMap { membership.identities[$0] }
    totals.handshakes &+= 1
    durations?.handshake.record(now - connection.accepted)
    switch connection.tls.alpn {
    case ControlProtocol.alpn:
      connection.kind = .control(ControlPeer(identity: connection.knownIdentity, gate: keys.gate, now: now))
      return true
    case ControlProtocol.dataALPN:
      connection.kind = .data(DataPeer(now: now))
      guard connection.keyHash != nil else {
        refuse(id, .noCertificate, .notPermitted, "\(Refusal.noCertificate.text): a ticket is for the key of one")
        return false
      }
      return true
    default:
      turnAway(id, .wrongProtocol)
      return false
    }
  }

  private func read(_ id: SlotID, _ connection: Connection) throws(TLSError) {
    var buffer = [UInt8](repeating: 0, count: 16 << 10)
    var left = Self.readBudget
    // Bytes that TLS holds already make no socket readable: with them the budget doesn't count.
    while left > 0 || connection.tls.pending > 0 {
      left -= 1
      var span = buffer.mutableSpan
      switch try connection.tls.read(into: &span) {
      case .bytes(let count):
        received(id, connection, buffer.span.extracting(0..<count))
        guard connections.contains(id), !connection.isClosing else { return }
      case .closedByPeer:
        return closedByPeer(id, connection)
      case .wantsRead, .wantsWrite: return
      }
    }
  }

  private func received(_ id: SlotID, _ connection: Connection, _ bytes: Span<UInt8>) {
    if case .control(var peer) = connection.kind {
      let actions = peer.received(bytes: bytes.count, now: now)
      connection.kind = .control(peer)
      perform(actions, id, connection)
      guard connections.contains(id) else { return }
    }
    if case .data(var peer) = connection.kind, connection.session != nil {
      let action = peer.receivedStrayData()
      connection.kind = .data(peer)
      return perform(action, id, connection)
    }
    do throws(ControlError) {
      try connection.decoder.receive(bytes)
    } catch {
      return malformed(id, connection, error)
    }
    while connections.contains(id), !connection.isClosing {
      do throws(ControlError) {
        guard let envelope = try connection.decoder.next() else {
          return connection.kind.holdsPart(connection.decoder.buffered > 0, now: now)
        }
        deliver(envelope, id, connection)
      } catch {
        malformed(id, connection, error)
        if case .tooLong = error { return }
      }
    }
  }

  private func deliver(_ envelope: ControlEnvelope, _ id: SlotID, _ connection: Connection) {
    switch connection.kind {
    case .control(var peer):
      let actions = peer.receive(envelope, now: now, unixSeconds: Clock.unixSeconds)
      connection.kind = .control(peer)
      perform(actions, id, connection)
    case .data(var peer):
      let action = peer.receive(envelope.message)
      connection.kind = .data(peer)
      perform(action, id, connection)
    case .handshaking: break
    }
    leaveStrangers(connection)
  }

  /// Gives its place among the strangers to others, if it has shown who it is or has gone.
  func leaveStrangers(_ connection: Connection, hasGone: Bool = false) {
    guard connection.hasStrangersPlace, hasGone || !connection.isStranger else { return }
    connection.hasStrangersPlace = false
    strangers.remove(connection.peer?.address)
  }

  private func malformed(_ id: SlotID, _ connection: Connection, _ error: ControlError) {
    guard case .control(var peer) = connection.kind else { return refuse(id, .malformed, .malformed, "\(error)") }
    let actions = peer.receivedMalformed("\(error)", now: now)
    connection.kind = .control(peer)
    perform(actions, id, connection)
    // Where the next message begins is lost.
    guard case .tooLong = error, connections.contains(id) else { return }
    closeSoon(id, .malformed)
    flush(id)
  }

  private func closedByPeer(_ id: SlotID, _ connection: Connection) {
    guard case .data(var peer) = connection.kind else { return close(id, .disconnected) }
    let action = peer.receivedCloseNotify()
    connection.kind = .data(peer)
    if let action { perform(action, id, connection) }
  }

  private func write(_ id: SlotID, _ connection: Connection) throws(TLSError) {
    let hadSent = connection.hasSentCloseNotify
    let wantsWrite = try connection.flush()
    if connection.hasSentCloseNotify, !hadSent, case .data(var peer) = connection.kind {
      let action = peer.sentCloseNotify()
      connection.kind = .data(peer)
      if let action { perform(action, id, connection) }
      guard connections.contains(id), connection.socket != nil else { return }
    }
    if connection.isClosing, connection.hasSentCloseNotify { return close(id, .disconnected) }
    watch(id, connection, writable: wantsWrite)
  }

  private func watch(_ id: SlotID, _ connection: Connection, writable: Bool) {
    let interest: Readiness = writable ? [.readable, .writable] : .readable
    guard interest != connection.interest, connection.socket != nil else { return }
    connection.interest = interest
    try? poller.modify(connection.rawSocket, token: id.token, for: interest)
  }

  /// To be called when the connection's deadline has passed.
  func timeout(_ id: SlotID, _ connection: Connection) {
    if connection.isClosing { return close(id, .disconnected) }
    switch connection.kind {
    case .handshaking: turnAway(id, .handshakeTimeout)
    case .control(var peer):
      let actions = peer.handleTimeout(now: now)
      connection.kind = .control(peer)
      perform(actions, id, connection)
      flush(id)
    case .data(var peer):
      let action = peer.handleTimeout(now: now)
      connection.kind = .data(peer)
      if let action { perform(action, id, connection) }
    }
  }

  // MARK: Ends

  private func fail(_ id: SlotID, _ error: TLSError) {
    guard connections.contains(id) else { return }
    let connection = connections[id]
    if case .handshaking = connection.kind {
      let (reason, detail) = Self.judge(error, offered: connection.tls.refusedProtocols)
      count(reason)
      tell("connection refused", reason, detail, connection)
      return close(id, reason)
    }
    switch error {
    // What it says behind its end is of no interest.
    case _ where connection.isClosing: close(id, .disconnected)
    // A peer that is cut off, or gone.
    case .truncated, .system: close(id, .disconnected)
    case .peerAlert, .peerMisbehaved, .certificate, .local:
      count(.brokenTLS)
      tell("connection refused", .brokenTLS, "\(error)", connection)
      close(id, .brokenTLS)
    }
  }

  /// Why a handshake failed, and what can be done about it.
  static func judge(_ error: TLSError, offered: [String]) -> (Refusal, String) {
    guard !offered.isEmpty else { return (.handshakeFailed, "\(error)") }
    let names = EscapedText(offered.joined(separator: ", "), limit: 128)
    return switch ProtocolAge(of: offered) {
    case .later:
      (.wrongProtocol, "it speaks \(names), of a later version: this GateManager is too old, and has to be updated")
    case .earlier: (.wrongProtocol, "it speaks \(names), of an earlier version: it is too old, and has to be updated")
    case .foreign: (.wrongProtocol, "it speaks \(names), and is no LinkManager or SiteManager")
    }
  }

  /// One line about who did what. Strangers have so many a minute together, and peers that are known another so many.
  func tell(_ message: Logger.Message, _ reason: Refusal, _ detail: String, _ connection: Connection) {
    let identity = connection.knownIdentity
    let isKnown = identity != nil
    guard isKnown ? peerLines.admit(now: now) : strangerLines.admit(now: now) else { return }
    var metadata: Logger.Metadata = ["address": "\(connection.address)", "reason": "\(reason.text)"]
    if !detail.isEmpty, detail != reason.text { metadata["detail"] = "\(detail)" }
    if let identity { metadata[identity.role == .siteManager ? "site" : "user"] = "\(identity.name)" }
    if let session = connection.session { metadata["session"] = "\(session)" }
    logger.log(level: isKnown ? .warning : .info, message, metadata: metadata)
  }

  /// Lines that were left out since their minute began.
  func tellWhatWasOmitted() {
    for (who, omitted) in [
      ("strangers", strangerLines.settle(now: now)), ("known peers", peerLines.settle(now: now)),
    ] where omitted > 0 {
      logger.notice("more refusals than are worth a line", metadata: ["of": "\(who)", "omitted": "\(omitted)"])
    }
  }

  /// Counts and closes.
  func turnAway(_ id: SlotID, _ reason: Refusal) {
    guard connections.contains(id) else { return }
    count(reason)
    tell("connection refused", reason, "", connections[id])
    close(id, reason)
  }

  /// The same, and says why.
  func refuse(_ id: SlotID, _ reason: Refusal, _ code: FailureCode, _ message: String) {
    guard connections.contains(id) else { return }
    count(reason)
    tell("connection refused", reason, message, connections[id])
    enqueue(ControlPeer.failure(code, message, nil), id)
    closeSoon(id, reason)
    flush(id)
  }

  /// Closes after what waits has been sent, or a second later.
  func closeSoon(_ id: SlotID, _ reason: Refusal) {
    guard connections.contains(id) else { return }
    let connection = connections[id]
    guard !connection.isClosing else { return }
    // First, so that what ends with it doesn't close it at once.
    connection.isClosing = true
    leave(id, connection, reason)
    connection.wantsCloseNotify = true
    connection.closingDeadline = now + .seconds(1)
  }

  /// Closes at once.
  func close(_ id: SlotID, _ reason: Refusal) {
    guard connections.contains(id) else { return }
    let connection = connections[id]
    if connection.socket != nil { try? poller.remove(connection.rawSocket) }
    if !connection.isClosing { leave(id, connection, reason) }
    leaveStrangers(connection, hasGone: true)
    connections.remove(id)
  }

  /// Undoes what the connection stood for.
  private func leave(_ id: SlotID, _ connection: Connection, _ reason: Refusal) {
    if let identity = connection.identity { left(id, identity, connection, reason) }
    if let session = connection.session { dataConnectionEnded(session, reason) }
  }
}
