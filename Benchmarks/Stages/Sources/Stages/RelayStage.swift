import Control
import Glibc
import Kernel
import Primitives
import Proxy

/// GateManager's relay between two TCP connections of the loopback interface, by splice(2): a message goes from one
/// client to the other, and comes back.
struct RelayStage: Stage, ~Copyable {
  private let relay: SpliceRelay
  private let first, second: OwnedDescriptor
  private let message: [UInt8]
  private var buffer: [UInt8]
  private(set) var completed = 0

  /// - Parameter size: bytes each way; more than sockets and pipe hold would never end.
  init(size: Int) throws {
    guard let session = SessionID([UInt8](1...16)) else { throw StageFailure("no session") }
    let relay = try SpliceRelay { _, _ in }
    let listener = try Socket.listen(on: Endpoint(IPAddress(127, 0, 0, 1), 0))
    let first = try Self.connect(to: listener)
    let firstServer = try Self.accept(from: listener)
    let second = try Self.connect(to: listener)
    let secondServer = try Self.accept(from: listener)
    guard relay.add(session, first: firstServer, second: secondServer) != nil else { throw StageFailure("no relay") }
    message = (0..<size).map { UInt8(truncatingIfNeeded: $0) }
    buffer = [UInt8](repeating: 0, count: size)
    self.first = first
    self.second = second
    self.relay = relay
  }

  deinit { relay.stop() }

  private static func connect(to listener: borrowing OwnedDescriptor) throws -> OwnedDescriptor {
    guard let endpoint = Socket.localEndpoint(listener) else { throw StageFailure("no port") }
    let client = try Socket.connect(to: endpoint)
    try Socket.setNoDelay(client)
    try client.setNonblocking(false)
    return client
  }

  private static func accept(from listener: borrowing OwnedDescriptor) throws -> OwnedDescriptor {
    for _ in 0..<1_000 {
      if let server = try Socket.accept(from: listener) { return server }
      usleep(1_000)
    }
    throw StageFailure("no connection")
  }

  mutating func run(_ operations: Int) throws {
    for _ in 0..<operations {
      try first.writeAll(message)
      try Self.fill(&buffer, from: second)
      try second.writeAll(buffer)
      try Self.fill(&buffer, from: first)
      if buffer[0] == message[0], buffer[buffer.count - 1] == message[buffer.count - 1] { completed += 1 }
    }
  }

  private static func fill(_ buffer: inout [UInt8], from socket: borrowing OwnedDescriptor) throws {
    var filled = 0
    while filled < buffer.count {
      let end = buffer.count
      var span = buffer.mutableSpan
      var rest = span._mutatingExtracting(filled..<end)
      guard case .moved(let count) = try socket.read(into: &rest) else { throw StageFailure("the relay has ended") }
      filled += count
    }
  }
}
