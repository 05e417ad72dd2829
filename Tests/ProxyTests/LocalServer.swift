import Glibc
import Kernel
import Primitives
import Synchronization

@testable import Proxy

/// A listener on 127.0.0.1 whose first connections are each handed to a closure on a thread of its own.
final class LocalServer: Sendable {
  let endpoint: Endpoint
  private let thread: Thread

  init(
    connections: Int = 1, on address: IPAddress = IPAddress(127, 0, 0, 1),
    _ serve: @escaping @Sendable (borrowing OwnedDescriptor) -> Void
  ) throws {
    let listener = try Socket.listen(on: Endpoint(address, 0))
    endpoint = Socket.localEndpoint(listener)!
    let fd = listener.release()
    thread = try Thread(name: "server") {
      let listener = OwnedDescriptor(owning: fd)
      var left = connections
      while left > 0 {
        guard (try? listener.wait(for: .readable, until: Clock.now + .seconds(20))) != nil else { return }
        guard let socket = try? Socket.accept(from: listener) else { continue }
        serve(socket)
        left -= 1
      }
    }
  }

  /// Sends back what arrives, on so many connections at once.
  static func echo(connections: Int, on address: IPAddress = IPAddress(127, 0, 0, 1)) throws -> LocalServer {
    try LocalServer(connections: connections, on: address) { socket in
      let fd = try? socket.duplicate().release()
      _ = try? Thread(name: "device") {
        guard let fd else { return }
        let socket = OwnedDescriptor(owning: fd)
        while let bytes = try? readExactly(1, from: socket) { try? write(bytes, to: socket) }
      }
    }
  }

  var address: HostPort { HostPort(endpoint) }

  func join() { thread.join() }
}

/// The deadline that a test gives to what should take milliseconds.
var soon: Instant { Clock.now + .seconds(10) }

/// Reads until the peer ends its direction.
func readToEnd(_ socket: borrowing OwnedDescriptor) throws -> [UInt8] {
  var all: [UInt8] = []
  var buffer = [UInt8](repeating: 0, count: 65536)
  while true {
    var bytes = buffer.mutableSpan
    guard let count = try socket.read(some: &bytes, until: soon) else { return all }
    all += buffer[..<count]
  }
}

func readExactly(_ count: Int, from socket: borrowing OwnedDescriptor) throws -> [UInt8] {
  var buffer = [UInt8](repeating: 0, count: count)
  var bytes = buffer.mutableSpan
  try socket.read(exactly: count, into: &bytes, until: soon)
  return buffer
}

func write(_ bytes: [UInt8], to socket: borrowing OwnedDescriptor) throws {
  try socket.write(all: bytes.span, until: soon)
}
