import Control
import Crypto
import Glibc
import Kernel
import Primitives
import Synchronization
import Testing

@testable import Proxy

/// A data connection's switch to raw, its peer's last message, close_notify and first raw bytes cut at every byte.
///
/// The peer writes a piece only once what it wrote before has been read as far as TLS may read it: that pieces are read
/// apart doesn't depend on luck, and a byte that TLS reads too much is noticed at once.
@Suite struct DataConnectionSplitTests {
  private let gate: TestIdentity
  private let link: TestIdentity
  private let ticket: Ticket
  /// What the peer sends at once behind its close_notify. It looks like TLS, as the handshake between the ends does.
  private let early: [UInt8] = [22, 3, 1, 0, 16] + (0..<16).map { $0 &* 31 }
  /// What it sends once it has the client's close_notify.
  private let late: [UInt8] = [21, 3, 3, 0, 2, 1, 0] + (0..<9).map { ~$0 }
  /// What the client sends as soon as it may.
  private let reply: [UInt8] = [23, 3, 3, 0, 1, 0] + (0..<20).map { $0 &* 7 }

  init() throws {
    gate = try TestIdentity("gate")
    link = try TestIdentity("link")
    ticket = try Ticket.random()
    IgnoredSignals.brokenPipe
  }

  /// What the client came to: all raw bytes that it read, or an error.
  private typealias Outcome = Result<[UInt8], GateError>

  /// What the peer adds to its side of the protocol.
  private enum Stray: CaseIterable {
    case none, behindTheMessage, inARecordOfItsOwn
  }

  private final class Client: Sendable {
    let outcome = Mutex<Outcome?>(nil)
  }

  /// Runs one switch to its end.
  ///
  /// - Parameter cuts: where what the peer sends is cut, by the number of bytes in TLS and in all.
  /// - Returns: how the client ended, and whether the peer could send everything.
  private func run(
    _ version: TLSContext.Version, _ stray: Stray = .none, _ cuts: (Int, Int) -> [Int]
  ) throws -> Outcome {
    let context = try TLSContext(
      .server, credentials: gate.credentials, peer: .requested, alpn: ["x/1"], versions: version...version)
    let clientContext = try TLSContext(.client, credentials: link.credentials, alpn: ["x/1"])
    let pair = try Self.socketPair()
    let near = OwnedDescriptor(owning: pair.near)
    let far = OwnedDescriptor(owning: pair.far)
    try near.setNonblocking(true)
    try far.setNonblocking(true)
    let watched = try near.duplicate()
    let client = Client()
    let fd = near.release()
    let (ticket, reply) = (ticket, reply)
    let thread = try Thread(name: "client") {
      let outcome = Self.attach(OwnedDescriptor(owning: fd), clientContext, ticket, sending: reply)
      client.outcome.withLock { $0 = outcome }
    }
    do {
      try play(far, watched, context, stray, cuts, client)
    } catch {
      // The client has given up, or will by its deadline: its outcome tells.
      if stray == .none { Issue.record("the peer: \(error)") }
    }
    Glibc.shutdown(far.rawValue, CInt(SHUT_RDWR))
    thread.join()
    return try #require(client.outcome.withLock { $0 })
  }

  private static func attach(
    _ socket: consuming OwnedDescriptor, _ context: TLSContext, _ ticket: Ticket, sending reply: [UInt8]
  ) -> Outcome {
    do throws(GateError) {
      let stream = try TLSStream.open(over: socket, context: context, serverName: nil, until: soon)
      let raw = try DataConnection.attach(ticket, over: stream, until: soon)
      do {
        try write(reply, to: raw)
        Glibc.shutdown(raw.rawValue, CInt(SHUT_WR))
        return .success(try readToEnd(raw))
      } catch {
        throw .closed
      }
    } catch {
      return .failure(error)
    }
  }

  /// The peer: handshake, ticket, then all the rest in pieces.
  private func play(
    _ socket: borrowing OwnedDescriptor, _ watched: borrowing OwnedDescriptor, _ context: TLSContext, _ stray: Stray,
    _ cuts: (Int, Int) -> [Int], _ client: Client
  ) throws {
    var peer = try MemoryPeer(context)
    try peer.handshake(socket)
    let request = try ControlEnvelope(.attach(ticket)).encoded()
    #expect(try peer.receive(socket) { $0.count >= request.count } == request)
    var tail: [UInt8]
    switch stray {
    case .none: tail = try peer.seal(ControlEnvelope(.attached).encoded(), thenClose: true)
    case .behindTheMessage: tail = try peer.seal(ControlEnvelope(.attached).encoded() + [0], thenClose: true)
    case .inARecordOfItsOwn:
      tail = try peer.seal(ControlEnvelope(.attached).encoded(), thenClose: false)
      tail += try peer.seal([0], thenClose: true)
    }
    let sealed = tail.count
    tail += early
    var start = 0
    for end in cuts(sealed, tail.count) + [tail.count] where end > start && end <= tail.count {
      try write(Array(tail[start..<end]), to: socket)
      start = end
      guard waitUntilRead(watched, rest: max(0, end - sealed), client) else { return }
    }
    // Nothing but close_notify follows in TLS, and nothing but the reply follows that.
    #expect(try peer.receive(socket) { _ in false } == [])
    var raw = peer.connection.surplus()
    try write(late, to: socket)
    Glibc.shutdown(socket.rawValue, CInt(SHUT_WR))
    raw += try readToEnd(socket)
    #expect(raw == reply)
  }

  /// Waits until no more than `rest` bytes lie unread; `false` if the client has ended instead.
  private func waitUntilRead(_ socket: borrowing OwnedDescriptor, rest: Int, _ client: Client) -> Bool {
    var buffer = [UInt8](repeating: 0, count: 4096)
    let flags = CInt(MSG_PEEK) | CInt(MSG_DONTWAIT)
    let deadline = soon
    while Clock.now < deadline {
      let unread = unsafe recv(socket.rawValue, &buffer, buffer.count, flags)
      if unread <= rest { return true }
      if client.outcome.withLock({ $0 != nil }) { return false }
      usleep(20)
    }
    Issue.record("the client has stopped reading")
    return false
  }

  private static func socketPair() throws -> (near: CInt, far: CInt) {
    var pair: [CInt] = [0, 0]
    guard unsafe socketpair(AF_UNIX, CInt(SOCK_STREAM.rawValue), 0, &pair) == 0 else {
      throw SystemError.last("socketpair")
    }
    return (pair[0], pair[1])
  }

  // MARK: Tests

  @Test(arguments: [TLSContext.Version.tls12, .tls13])
  func losesNothingAtAnySplit(_ version: TLSContext.Version) throws {
    var count = Int.max
    var cut = 0
    while cut < count {
      let outcome = try run(version) { _, all in
        count = all
        return [cut]
      }
      #expect(outcome == .success(early + late), "cut at \(cut)")
      cut += 1
    }
    #expect(count > 60 + early.count)
  }

  @Test(arguments: [TLSContext.Version.tls12, .tls13])
  func losesNothingByteByByte(_ version: TLSContext.Version) throws {
    #expect(try run(version) { _, all in Array(1..<all) } == .success(early + late))
    // And with the raw bytes in one piece with close_notify's last byte.
    #expect(try run(version) { sealed, _ in Array(1..<sealed) } == .success(early + late))
  }

  /// Data that crosses a close_notify would be lost: an error, wherever it is cut.
  @Test(arguments: [TLSContext.Version.tls12, .tls13], [true, false])
  func refusesStrayDataAtAnySplit(_ version: TLSContext.Version, _ isBehindTheMessage: Bool) throws {
    var count = Int.max
    var cut = 0
    while cut < count {
      let outcome = try run(version, isBehindTheMessage ? .behindTheMessage : .inARecordOfItsOwn) { sealed, _ in
        count = sealed
        return [cut]
      }
      #expect(outcome == .failure(.strayData), "cut at \(cut)")
      cut += 1
    }
  }
}
