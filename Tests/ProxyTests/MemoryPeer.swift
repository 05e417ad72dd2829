import Crypto
import Kernel

@testable import Proxy

/// A TLS server over memory, so that a test decides what leaves in one segment.
struct MemoryPeer: ~Copyable {
  var connection: TLSConnection

  init(_ context: TLSContext) throws {
    connection = try TLSConnection(context)
  }

  mutating func handshake(_ socket: borrowing OwnedDescriptor) throws {
    var buffer = [UInt8](repeating: 0, count: 16384)
    while try connection.handshake() != .done {
      try write(connection.takeOutput(), to: socket)
      var bytes = buffer.mutableSpan
      guard let count = try socket.read(some: &bytes, until: soon) else { throw WaitError.ended }
      try connection.receive(buffer.span.extracting(0..<count))
    }
    try write(connection.takeOutput(), to: socket)
  }

  /// Takes in what the client sends, until `isEnough` of it has come or it sends close_notify: says what it was.
  mutating func receive(
    _ socket: borrowing OwnedDescriptor, until isEnough: ([UInt8]) throws -> Bool
  ) throws -> [UInt8] {
    var all: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 16384)
    while try !isEnough(all) {
      var bytes = buffer.mutableSpan
      switch try connection.read(into: &bytes) {
      case .bytes(let count): all += buffer[..<count]
      case .closedByPeer: return all
      case .wantsRead, .wantsWrite:
        var raw = buffer.mutableSpan
        guard let count = try socket.read(some: &raw, until: soon) else { throw WaitError.ended }
        try connection.receive(buffer.span.extracting(0..<count))
      }
    }
    return all
  }

  mutating func seal(_ bytes: [UInt8], thenClose: Bool) throws -> [UInt8] {
    _ = try connection.write(bytes.span)
    if thenClose { _ = try connection.shutdown() }
    return connection.takeOutput()
  }
}
