import Glibc
import Kernel
import Primitives
import Synchronization

@testable import Proxy

/// A device: a TCP listener on 127.0.0.1 that serves each connection by a closure on a thread of its own.
final class DeviceServer: Sendable {
  let endpoint: Endpoint
  private let isStopped = Mutex(false)

  init(_ serve: @escaping @Sendable (borrowing OwnedDescriptor) throws -> Void) throws {
    let listener = try Socket.listen(on: Endpoint(IPAddress(127, 0, 0, 1), 0))
    endpoint = Socket.localEndpoint(listener)!
    let fd = listener.release()
    _ = try Thread(name: "device") { [self] in
      let listener = OwnedDescriptor(owning: fd)
      while !isStopped.withLock({ $0 }) {
        guard (try? listener.wait(for: .readable, until: Clock.now + .milliseconds(50))) != nil else { continue }
        guard let socket = try? Socket.accept(from: listener) else { continue }
        let connection = socket.release()
        _ = try? Thread(name: "connection") { try? serve(OwnedDescriptor(owning: connection)) }
      }
    }
  }

  func stop() { isStopped.withLock { $0 = true } }

  var port: UInt16 { endpoint.port }

  /// Sends back what arrives, to the end.
  static func echo() throws -> DeviceServer {
    try DeviceServer { socket in
      try forward(socket) { bytes in try socket.write(all: bytes, until: late) }
      Socket.finish(socket)
      Thread.sleep(.milliseconds(50))
    }
  }

  /// Reads to the end, and only then answers with how many bytes there were.
  static func counter() throws -> DeviceServer {
    try DeviceServer { socket in
      var count = 0
      try forward(socket) { count += $0.count }
      try socket.write(all: Array("\(count)".utf8).span, until: late)
    }
  }

  /// Accepts and never reads.
  static func stuck() throws -> DeviceServer {
    try DeviceServer { socket in
      try Socket.setOption(socket, SOL_SOCKET, SO_RCVBUF, 4096)
      Thread.sleep(.seconds(20))
    }
  }

  /// Sends without end and never reads.
  static func source() throws -> DeviceServer {
    try DeviceServer { socket in
      let bytes = [UInt8](repeating: 0x55, count: 65_536)
      while true { try socket.write(all: bytes.span, until: late) }
    }
  }

  /// Breaks each connection after its first bytes.
  static func breaker() throws -> DeviceServer {
    try DeviceServer { socket in
      var buffer = [UInt8](repeating: 0, count: 100)
      var span = buffer.mutableSpan
      _ = try socket.read(some: &span, until: late)
      Socket.resetOnClose(socket)
    }
  }

  static var late: Instant { Clock.now + .seconds(30) }

  private static func forward(
    _ socket: borrowing OwnedDescriptor, to target: (Span<UInt8>) throws -> Void
  ) throws {
    var buffer = [UInt8](repeating: 0, count: 65_536)
    while true {
      var span = buffer.mutableSpan
      guard let count = try socket.read(some: &span, until: late) else { return }
      try target(buffer.span.extracting(0..<count))
    }
  }
}

/// A device that sends UDP datagrams back where they came from.
final class DatagramEcho: Sendable {
  let endpoint: Endpoint

  init() throws {
    let socket = try Socket.make(.v4, .datagram)
    // A datagram to the discard port gives the socket a port of its own.
    try Socket.send([0].span, to: Endpoint(IPAddress(127, 0, 0, 1), 9), from: socket)
    endpoint = Endpoint(IPAddress(127, 0, 0, 1), Socket.localEndpoint(socket)!.port)
    let fd = socket.release()
    _ = try Thread(name: "datagrams") {
      let socket = OwnedDescriptor(owning: fd)
      var buffer = [UInt8](repeating: 0, count: 65_536)
      let end = Clock.now + .seconds(10)
      while Clock.now < end {
        guard (try? socket.wait(for: .readable, until: Clock.now + .milliseconds(50))) != nil else { continue }
        var span = buffer.mutableSpan
        guard let (count, source) = try? Socket.receive(into: &span, from: socket) else { continue }
        try? Socket.send(buffer.span.extracting(0..<count), to: source, from: socket)
      }
    }
  }
}

/// A port of 127.0.0.1 where nobody listens.
func closedPort() throws -> UInt16 {
  let listener = try Socket.listen(on: Endpoint(IPAddress(127, 0, 0, 1), 0))
  return Socket.localEndpoint(listener)!.port
}
