import Control
import Crypto
import Glibc
import Kernel
import Primitives
import Testing

@testable import GateManager

/// A data connection's client over memory, so that it decides what shares a segment.
struct RawClient: ~Copyable {
  private let socket: OwnedDescriptor
  private var tls: TLSConnection
  private var surplus: [UInt8] = []

  static func open(
    _ endpoint: Endpoint, _ credentials: TLSContext.Credentials, _ version: TLSContext.Version
  ) throws -> RawClient {
    let context = try TLSContext(
      .client, credentials: credentials, peer: .required, alpn: [ControlProtocol.dataALPN],
      versions: version...version)
    let socket = try Socket.connect(to: endpoint)
    try socket.setNonblocking(false)
    try Socket.setNoDelay(socket)
    let tls = try TLSConnection(context)
    var client = RawClient(socket, tls)
    try client.handshake()
    return client
  }

  private mutating func handshake() throws {
    while try tls.handshake() != .done {
      try socket.writeAll(tls.takeOutput())
      try fill()
    }
    try socket.writeAll(tls.takeOutput())
  }

  private init(_ socket: consuming OwnedDescriptor, _ tls: consuming TLSConnection) {
    self.socket = socket
    self.tls = tls
  }

  private mutating func fill() throws {
    var buffer = [UInt8](repeating: 0, count: 16384)
    var span = buffer.mutableSpan
    guard case .moved(let count) = try socket.read(into: &span) else { throw TLSError.truncated }
    try tls.receive(buffer.span.extracting(0..<count))
  }

  /// Writes in pieces that are read apart: GateManager is idle and has its turn in between.
  private func write(_ bytes: [UInt8], _ cuts: [Int]) throws {
    var start = 0
    for end in cuts + [bytes.count] where end > start && end <= bytes.count {
      if start > 0 { usleep(1000) }
      try socket.writeAll(Array(bytes[start..<end]))
      start = end
    }
  }

  /// - Parameters:
  ///   - stray: data behind the ticket's message, in a record of its own or in the same one.
  ///   - cuts: where it is cut, by the number of its bytes.
  /// - Returns: that number.
  @discardableResult
  mutating func attach(
    _ ticket: Ticket, followedBy stray: [UInt8] = [], isApart: Bool = false, _ cuts: (Int) -> [Int] = { _ in [] }
  ) throws -> Int {
    let message = try ControlEnvelope(.attach(ticket)).encoded()
    _ = try tls.write((isApart ? message : message + stray).span)
    if isApart { _ = try tls.write(stray.span) }
    let bytes = tls.takeOutput()
    try write(bytes, cuts(bytes.count))
    return bytes.count
  }

  /// Waits for `attached` and the GateManager's close_notify, then sends its own with `bytes` behind it.
  ///
  /// - Parameter cuts: where that is cut, by the number of its bytes.
  /// - Returns: that number.
  @discardableResult
  mutating func leave(sending bytes: [UInt8], _ cuts: (Int) -> [Int] = { _ in [] }) throws -> Int {
    var decoder = MessageDecoder()
    var isAttached = false
    var buffer = [UInt8](repeating: 0, count: 16384)
    loop: while true {
      var span = buffer.mutableSpan
      switch try tls.read(into: &span) {
      case .bytes(let count):
        try decoder.receive(buffer.span.extracting(0..<count))
        isAttached = try decoder.next()?.message == .attached
      case .closedByPeer: break loop
      case .wantsRead, .wantsWrite: try fill()
      }
    }
    #expect(isAttached)
    surplus = tls.surplus()
    _ = try tls.shutdown()
    let all = tls.takeOutput() + bytes
    try write(all, cuts(all.count))
    return all.count
  }

  /// Sends the last raw bytes.
  func finish(sending bytes: [UInt8]) throws {
    try socket.writeAll(bytes)
    shutdown(socket.rawValue, CInt(SHUT_WR))
  }

  /// Waits until GateManager has ended the connection; the raw bytes that came behind its close_notify.
  mutating func waitForEnd() -> [UInt8] {
    var buffer = [UInt8](repeating: 0, count: 16384)
    do {
      while true {
        var span = buffer.mutableSpan
        switch try tls.read(into: &span) {
        case .bytes: break
        case .closedByPeer:
          surplus = tls.surplus()
          return try receiveToEnd()
        case .wantsRead, .wantsWrite: try fill()
        }
      }
    } catch {
      return surplus
    }
  }

  /// Reads that many raw bytes, or all up to the end.
  mutating func receive(_ count: Int) throws -> [UInt8] {
    while surplus.count < count {
      var buffer = [UInt8](repeating: 0, count: 16384)
      var span = buffer.mutableSpan
      guard case .moved(let got) = try socket.read(into: &span) else { break }
      surplus += buffer[..<got]
    }
    return surplus
  }

  /// Reads all raw bytes that there are.
  mutating func receiveToEnd() throws -> [UInt8] { try receive(.max) }
}
