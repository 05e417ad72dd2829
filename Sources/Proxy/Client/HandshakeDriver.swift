import Crypto
import Kernel
import Primitives

extension EndToEndHandshake {
  /// Runs the handshake over a non-blocking socket, blocking the calling thread.
  ///
  /// - Returns: with the socket where the records begin, but for `Outcome.surplus`, which come first.
  public static func run(
    on socket: borrowing OwnedDescriptor, role: Session.Role, credentials: TLSContext.Credentials,
    expecting expected: KeyHash, exporterContext: [UInt8], until deadline: Instant, cancel: Cancellation? = nil
  ) throws(HandshakeError) -> Outcome {
    var handshake = try EndToEndHandshake(
      role: role, credentials: credentials, expecting: expected, exporterContext: exporterContext)
    try handshake.start()
    try socket.send(handshake.takeOutput(), until: deadline, cancel: cancel)
    var buffer = [UInt8](repeating: 0, count: 16 << 10)
    while true {
      let count: Int?
      do throws(WaitError) {
        var bytes = buffer.mutableSpan
        count = try socket.read(some: &bytes, until: deadline, cancel: cancel)
      } catch {
        throw HandshakeError(error)
      }
      guard let count else {
        try handshake.receiveEnd()
        continue
      }
      do throws(HandshakeError) {
        let outcome = try handshake.receive(buffer.span.extracting(0..<count))
        try socket.send(handshake.takeOutput(), until: deadline, cancel: cancel)
        if let outcome { return outcome }
      } catch {
        // The alert tells the peer why; that it can't be told changes nothing.
        try? socket.send(handshake.takeOutput(), until: min(deadline, Clock.now + .seconds(1)), cancel: cancel)
        throw error
      }
    }
  }
}

extension OwnedDescriptor {
  fileprivate borrowing func send(
    _ bytes: [UInt8], until deadline: Instant, cancel: Cancellation?
  ) throws(HandshakeError) {
    do throws(WaitError) {
      try write(all: bytes.span, until: deadline, cancel: cancel)
    } catch {
      throw HandshakeError(error)
    }
  }
}

extension HandshakeError {
  init(_ error: WaitError) {
    switch error {
    case .timedOut: self = .timedOut
    case .cancelled: self = .cancelled
    case .ended: self = .tls(.truncated)
    case .system(let error): self = .system(error)
    }
  }
}
