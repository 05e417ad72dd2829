import Control
import Crypto
import Kernel
import Primitives

/// The way to a session's other end: outer TLS to the GateManager, a ticket, and the switch to raw.
public enum DataConnection {
  /// Presents the ticket, waits until the other end is there, and leaves TLS.
  ///
  /// TLS writes to the socket by itself: the calling thread must ignore or block SIGPIPE.
  ///
  /// - Parameters:
  ///   - ticket: of this session, for this role and the key of `credentials`.
  ///   - deadline: for all of it, the wait for the other end included.
  /// - Returns: a non-blocking socket whose next byte, either way, is the other end's.
  public static func open(
    to server: GateServer, ticket: Ticket, credentials: TLSContext.Credentials, until deadline: Instant,
    cancel: Cancellation? = nil
  ) throws(GateError) -> OwnedDescriptor {
    let context = try GateServer.context(alpn: ControlProtocol.dataALPN, credentials: credentials)
    let stream = try server.open(context, alpn: ControlProtocol.dataALPN, until: deadline, cancel: cancel)
    return try attach(ticket, over: stream, until: deadline, cancel: cancel)
  }

  /// The same over a connection that is open.
  static func attach(
    _ ticket: Ticket, over stream: consuming TLSStream, until deadline: Instant, cancel: Cancellation? = nil
  ) throws(GateError) -> OwnedDescriptor {
    try stream.send(.attach(ticket), until: deadline, cancel: cancel)
    var reader = MessageReader()
    switch try reader.receive(from: &stream, until: deadline, cancel: cancel).message {
    case .attached: break
    case .failure(let failure): throw .refused(failure)
    case let message: throw .unexpected(message.type)
    }
    guard !reader.hasRest else { throw .strayData }
    return try stream.leave(until: deadline, cancel: cancel)
  }
}
