import Control
import Crypto
import Kernel
import Primitives
import Synchronization

@testable import Proxy

/// A GateManager's end of connections, played by a closure a connection.
struct ScriptedGate {
  let identity: TestIdentity
  let server: LocalServer

  /// - Parameter serve: gets the number of the connection, its TLS and a reader for it.
  init(
    connections: Int = 1, alpn: String = ControlProtocol.alpn,
    _ serve: @escaping @Sendable (Int, inout TLSStream, inout MessageReader) throws -> Void
  ) throws {
    IgnoredSignals.brokenPipe
    let identity = try TestIdentity("gate")
    self.identity = identity
    let context = try TLSContext(.server, credentials: identity.credentials, peer: .requested, alpn: [alpn])
    let counter = ConnectionCounter()
    server = try LocalServer(connections: connections) { socket in
      let number = counter.next()
      guard let copy = try? socket.duplicate(),
        var stream = try? TLSStream.open(over: copy, context: context, serverName: nil, until: soon)
      else { return }
      var reader = MessageReader()
      try? serve(number, &stream, &reader)
    }
  }

  var gate: GateServer { GateServer(server.address, pin: .key(identity.keyHash)) }

  static func welcome(_ stream: inout TLSStream, _ reader: inout MessageReader, heartbeat: Int = 20) throws {
    guard case .hello = try reader.receive(from: &stream, until: soon).message else { throw GateError.closed }
    let welcome = ControlMessage.Welcome(gate: "gm", heartbeatSeconds: heartbeat, serverTime: Clock.unixSeconds)
    try stream.send(.welcome(welcome), until: soon)
  }
}

final class ConnectionCounter: Sendable {
  private let value = Atomic(0)

  func next() -> Int { value.add(1, ordering: .relaxed).oldValue }
}
