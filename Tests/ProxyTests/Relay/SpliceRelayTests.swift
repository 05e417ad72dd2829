import Control
import Glibc
import Kernel
import Synchronization
import Testing

@testable import Proxy

@Suite(.serialized) struct SpliceRelayTests {
  @Test func carriesBulkBothWaysAtOnce() throws {
    let fixture = try RelayFixture()
    let (id, first, second, meter) = try fixture.join()
    let size = 50_000_000
    let (up, down) = (RelayPeer.sequence(size, seed: 1), RelayPeer.sequence(size, seed: 2))
    try concurrently([
      { try first.sendAll(up) },
      { try second.sendAll(down) },
      {
        let seen = try first.receiveAll()
        #expect(seen == down, "downwards")
      },
      {
        let seen = try second.receiveAll()
        #expect(seen == up, "upwards")
      },
    ])
    #expect(fixture.end(of: id) == .finished)
    #expect(meter.bytes(from: .first) == UInt64(size) && meter.bytes(from: .second) == UInt64(size))
    #expect(fixture.relay.figures.bytes == UInt64(2 * size) && fixture.relay.figures.active == 0)
    // Each byte is in two calls. The mean shows that it is bulk that is spliced.
    #expect(Int(meter.splices) < 4 * size / 8192)
    fixture.relay.stop()
  }

  @Test func halfCloseLeavesTheOtherDirectionOpen() throws {
    let fixture = try RelayFixture()
    let (id, first, second, _) = try fixture.join()
    try first.send(Array("question".utf8))
    Socket.finish(first.socket)
    #expect(try second.receive(8) == Array("question".utf8))
    #expect(try second.receive(1) == [])
    try second.send(Array("answer".utf8))
    #expect(try first.receive(6) == Array("answer".utf8))
    Socket.finish(second.socket)
    #expect(try first.receive(1) == [])
    #expect(fixture.end(of: id) == .finished)
    fixture.relay.stop()
  }

  @Test func aResetIsPassedOn() throws {
    let fixture = try RelayFixture()
    let (id, first, second, _) = try fixture.join()
    try first.send([1])
    #expect(try second.receive(1) == [1])
    Socket.resetOnClose(first.socket)
    shutdown(first.socket.rawValue, CInt(SHUT_RD))
    // AF_UNSPEC undoes the connection with a reset, with the descriptor still open.
    var address = sockaddr(sa_family: sa_family_t(AF_UNSPEC), sa_data: (0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0))
    #expect(unsafe connect(first.socket.rawValue, &address, socklen_t(MemoryLayout<sockaddr>.size)) == 0)
    #expect(throws: SystemError.self) { try second.receive(1) }
    #expect(fixture.end(of: id) == .reset(.first))
    fixture.relay.stop()
  }

  @Test func cancelResetsBothEnds() throws {
    let fixture = try RelayFixture()
    let (id, first, second, _) = try fixture.join()
    try first.send([1])
    #expect(try second.receive(1) == [1])
    fixture.relay.cancel(id)
    #expect(throws: SystemError.self) { try first.receive(1) }
    #expect(throws: SystemError.self) { try second.receive(1) }
    #expect(fixture.end(of: id) == .cancelled)

    let other = try fixture.join()
    fixture.relay.stop()
    #expect(fixture.end(of: other.id) == .stopped)
    #expect(throws: SystemError.self) { try fixture.join() }
  }

  @Test func aSlowReaderGetsAll() throws {
    let fixture = try RelayFixture()
    let (id, first, second, _) = try fixture.join()
    let bytes = RelayPeer.sequence(8_000_000, seed: 3)
    try concurrently([
      { try first.sendAll(bytes) },
      {
        let seen = try second.receiveAll(pauseEvery: 3)
        #expect(seen == bytes, "all bytes in order")
        Socket.finish(second.socket)
      },
    ])
    #expect(fixture.end(of: id) == .finished)
    fixture.relay.stop()
  }

  @Test func manyRelaysAndNoPipeForIdleOnes() throws {
    let fixture = try RelayFixture(threads: 2)
    let joined = try (0..<200).map { _ in try fixture.join() }
    for (index, pair) in joined.enumerated() {
      try pair.first.send([UInt8(index), 1])
      try pair.second.send([UInt8(index), 2])
    }
    for (index, pair) in joined.enumerated() {
      #expect(try pair.second.receive(2) == [UInt8(index), 1])
      #expect(try pair.first.receive(2) == [UInt8(index), 2])
    }
    #expect(fixture.relay.figures.active == 200)
    // All are idle: what exists lies in the pools of two threads.
    #expect(fixture.relay.pipeCount <= 4)
    for pair in joined {
      Socket.finish(pair.first.socket)
      Socket.finish(pair.second.socket)
    }
    for pair in joined { #expect(fixture.end(of: pair.id) == .finished) }
    fixture.relay.stop()
  }

  @Test func aPipeWithBytesIsNeverPooled() throws {
    var pool = PipePool(keep: 2, size: 1 << 20)
    let (a, b, c) = (try pool.take(), try pool.take(), try pool.take())
    pool.giveBack(a, bytesInPipe: 1)
    #expect(pool.freeCount == 0 && pool.count == 2)
    pool.giveBack(b, bytesInPipe: 0)
    #expect(pool.freeCount == 1)
    #expect(try pool.take() === b)
    pool.giveBack(b, bytesInPipe: 0)
    pool.giveBack(c, bytesInPipe: 0)
    #expect(pool.freeCount == 2 && pool.count == 2)
  }
}
