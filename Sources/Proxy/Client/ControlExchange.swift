import Control
import Crypto
import Kernel
import Primitives

/// One question to a GateManager over a connection of its own: for enrolment and login.
public enum ControlExchange {
  /// Connects, says hello, asks, and waits for the answer.
  ///
  /// - Parameters:
  ///   - server: its key must be pinned, as what is asked may hold a secret.
  ///   - credentials: `nil` as long as there is no identity yet.
  /// - Returns: the answer; a `failure` is thrown as `GateError.refused`.
  public static func request(
    _ message: ControlMessage, of server: GateServer, hello: ControlMessage.Hello,
    credentials: TLSContext.Credentials? = nil, until deadline: Instant, cancel: Cancellation? = nil
  ) throws(GateError) -> ControlMessage {
    let context = try GateServer.context(alpn: ControlProtocol.alpn, credentials: credentials)
    var stream = try server.open(context, alpn: ControlProtocol.alpn, until: deadline, cancel: cancel)
    var reader = MessageReader()
    _ = try reader.greet(over: &stream, as: hello, until: deadline, cancel: cancel)
    let number: UInt64 = 1
    try stream.send(message, request: number, until: deadline, cancel: cancel)
    while true {
      let envelope = try reader.receive(from: &stream, until: deadline, cancel: cancel)
      switch envelope.message {
      case .ping(let id): try stream.send(.pong(id), until: deadline, cancel: cancel)
      case .failure(let failure): throw .refused(failure)
      case let answer where envelope.request == number:
        stream.close()
        return answer
      // Something else that the GateManager wanted to tell.
      default: continue
      }
    }
  }
}
