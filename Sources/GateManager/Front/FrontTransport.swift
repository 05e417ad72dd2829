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
    totals.handshakes &+= 1
    durations?.handshake.record(now - connection.accepted)
    switch connection.tls.alpn {
    case ControlProtocol.alpn:
      let identity = connection.keyHash.flatMap { membership.identities[$0] }
      connection.kind = .control(ControlPeer(identity: identity, gate: keys.gate, now: now))
      return true
    case ControlProtocol.dataALPN:
      guard connection.keyHash != nil else {
        turnAway(id, .noCertificate)
        return false
      }
      connection.kind = .data(DataPeer(now: now))
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
        guard let envelope = try connection.decoder.next() else { return }
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
  }

  private func malformed(_ id: SlotID, _ connection: Connection, _ error: ControlError) {
    guard case .control(var peer) = connection.kind else { return turnAway(id, .malformed) }
    let actions = peer.receivedMalformed("\(error)", now: now)
    connection.kind = .control(peer)
    perform(actions, id, connection)
    // Where the next message begins is lost.
    if case .tooLong = error, connections.contains(id) { turnAway(id, .malformed) }
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
    let reason: Refusal
    if case .handshaking = connection.kind {
      reason = .handshakeFailed
      count(reason)
      logger.debug(
        "handshake failed", metadata: ["address": "\(connection.address)", "error": "\(error)"])
    } else {
      reason = .disconnected
    }
    close(id, reason)
  }

  /// Counts and closes.
  func turnAway(_ id: SlotID, _ reason: Refusal) {
    guard connections.contains(id) else { return }
    count(reason)
    // Anybody can make these: the counters tell how many there were.
    let level: Logger.Level = connections[id].isStranger ? .debug : .info
    logger.log(
      level: level, "connection refused",
      metadata: ["address": "\(connections[id].address)", "reason": "\(reason.text)"])
    close(id, reason)
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
    connections.remove(id)
  }

  /// Undoes what the connection stood for.
  private func leave(_ id: SlotID, _ connection: Connection, _ reason: Refusal) {
    if let identity = connection.identity { left(id, identity, connection, reason) }
    if let session = connection.session { dataConnectionEnded(session, reason) }
  }
}
