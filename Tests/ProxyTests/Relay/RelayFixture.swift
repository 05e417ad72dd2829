import Control
import Glibc
import Kernel
import Primitives
import Synchronization
import Testing

@testable import Proxy

/// One end of a relayed connection, blocking, for tests.
final class RelayPeer: Sendable {
  let socket: OwnedDescriptor

  init(_ socket: consuming OwnedDescriptor) {
    self.socket = socket
  }

  func send(_ bytes: [UInt8]) throws { try socket.writeAll(bytes) }

  /// Sends all of `bytes`, then ends the direction.
  func sendAll(_ bytes: [UInt8]) throws {
    try socket.writeAll(bytes)
    Socket.finish(socket)
  }

  /// Reads up to the end of file, or throws what the connection failed with.
  func receiveAll(pauseEvery: Int = .max) throws -> [UInt8] {
    var buffer = [UInt8](repeating: 0, count: 65536)
    var all: [UInt8] = []
    var reads = 0
    while true {
      var span = buffer.mutableSpan
      guard case .moved(let count) = try socket.read(into: &span) else { return all }
      all += buffer[..<count]
      reads += 1
      if reads % pauseEvery == 0 { usleep(2000) }
    }
  }

  func receive(_ count: Int) throws -> [UInt8] {
    var all: [UInt8] = []
    while all.count < count {
      var buffer = [UInt8](repeating: 0, count: count - all.count)
      var span = buffer.mutableSpan
      guard case .moved(let got) = try socket.read(into: &span) else { return all }
      all += buffer[..<got]
    }
    return all
  }

  /// Bytes in which no block of 64 KiB is like another.
  static func sequence(_ count: Int, seed: UInt64) -> [UInt8] {
    var random = SeededRandom(seed: seed)
    let base = (0..<65536).map { _ in UInt8.random(in: 0...255, using: &random) }
    var all: [UInt8] = []
    all.reserveCapacity(count + base.count)
    while all.count < count {
      all += base
      for shift in 0..<8 { all[all.count - 1 - shift * 997] = UInt8(truncatingIfNeeded: all.count >> (16 + shift)) }
    }
    all.removeLast(all.count - count)
    return all
  }
}

/// A relay with its ends collected.
final class RelayFixture: Sendable {
  let relay: SpliceRelay
  private let ends: Ends

  private final class Ends: Sendable {
    let all = Mutex<[SessionID: RelayEnd]>([:])
  }

  init(threads: Int = 1, limit: Int = SpliceRelay.relayLimit) throws {
    let ends = Ends()
    self.ends = ends
    relay = try SpliceRelay(threads: threads, limit: limit) { id, end in ends.all.withLock { $0[id] = end } }
  }

  /// Two clients joined by the relay.
  func join() throws -> (id: SessionID, first: RelayPeer, second: RelayPeer, meter: RelayMeter) {
    let id = try SessionID.random()
    var (clients, servers) = ([RelayPeer](), [CInt]())
    for _ in 0..<2 {
      let listener = try Socket.listen(on: Endpoint(IPAddress(127, 0, 0, 1), 0))
      let endpoint = Socket.localEndpoint(listener)
      let client = try Socket.connect(to: #require(endpoint))
      var accepted = try Socket.accept(from: listener)
      while accepted == nil {
        usleep(1000)
        accepted = try Socket.accept(from: listener)
      }
      servers.append(accepted.take()!.release())
      try client.setNonblocking(false)
      clients.append(RelayPeer(client))
    }
    let meter = relay.add(
      id, first: OwnedDescriptor(owning: servers[0]), second: OwnedDescriptor(owning: servers[1]))
    guard let meter else { throw SystemError(call: "relay", code: ECANCELED) }
    return (id, clients[0], clients[1], meter)
  }

  /// Waits up to 10 s for the end of a relay.
  func end(of id: SessionID) -> RelayEnd? {
    for _ in 0..<2000 {
      if let end = ends.all.withLock({ $0[id] }) { return end }
      usleep(5000)
    }
    return nil
  }
}

/// Runs work on threads of their own and waits for all of it.
func concurrently(_ works: [@Sendable () throws -> Void]) throws {
  let failures = FailureList()
  let threads = try works.map { work in
    try Thread(name: "test") {
      do { try work() } catch { failures.all.withLock { $0.append("\(error)") } }
    }
  }
  for thread in threads { thread.join() }
  #expect(failures.all.withLock { $0 } == [])
}

private final class FailureList: Sendable {
  let all = Mutex<[String]>([])
}
