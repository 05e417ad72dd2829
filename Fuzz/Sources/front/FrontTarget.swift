import Control
import Crypto
import FuzzDriver
import Primitives

@testable import GateManager

/// GateManager's open port: bytes instead of a handshake, a handshake that is changed on its way, and anything said
/// behind one. A peer that isn't who it must be gets nothing done, after the end nothing is done, and what is sent back
/// before a handshake is TLS's own.
@main enum FrontTarget: FuzzTarget {
  static func run(_ bytes: UnsafeBufferPointer<UInt8>) {
    var script = Script(bytes)
    switch script.choice(4) {
    case 0: strange(&script)
    case 1: change(&script)
    case 2: speak(&script)
    default: decide(&script)
    }
  }

  // MARK: Keys

  private static let server: TLSContext = context(.server, alpn: [ControlProtocol.alpn, ControlProtocol.dataALPN])
  private static let clients: [TLSContext] = [
    context(.client, alpn: [ControlProtocol.alpn]), context(.client, alpn: [ControlProtocol.dataALPN]),
    context(.client, alpn: [ControlProtocol.alpn], versions: .tls12 ... .tls12),
    context(.client, alpn: ["relayvpn-control/9", "h2"]), context(.client, alpn: []),
  ]

  private static func context(
    _ role: TLSContext.Role, alpn: [String], versions: ClosedRange<TLSContext.Version> = .tls12 ... .tls13
  ) -> TLSContext {
    do {
      let key = try PrivateKey.generate()
      let certificate = try Certificate.selfSigned(
        CertificateProfile(commonName: "fuzz", usage: .peer, now: 1_800_000_000), key: key)
      return try TLSContext(
        role, credentials: .init(certificate, key: key), peer: role == .server ? .requested : .required, alpn: alpn,
        versions: versions)
    } catch {
      fatalError("\(error)")
    }
  }

  private static func connection(_ context: TLSContext) -> TLSConnection {
    do { return try TLSConnection(context) } catch { fatalError("\(error)") }
  }

  // MARK: Before a handshake

  /// Whatever comes, an answer is records of TLS: alerts or a server's hello.
  private static func strange(_ script: inout Script) {
    var connection = connection(server)
    while !script.isAtEnd {
      let piece = script.take(1 + Int(script.byte()) * 4)
      guard receive(piece, &connection).goesOn else { return }
    }
  }

  /// - Returns: what is answered, and whether the connection goes on.
  private static func receive(
    _ piece: UnsafeBufferPointer<UInt8>, _ connection: inout TLSConnection
  ) -> (answer: [UInt8], goesOn: Bool) {
    do {
      try connection.receive(piece.span)
    } catch {
      check(false, "memory takes bytes: \(error)")
    }
    do throws(TLSError) {
      let progress = try connection.handshake()
      let answer = connection.takeOutput()
      checkRecords(answer)
      return (answer, progress != .done)
    } catch {
      check(!error.description.isEmpty, "an error says why")
      if case .system = error { check(false, "no system call over memory") }
      let answer = connection.takeOutput()
      checkRecords(answer)
      let isDone = connection.isHandshakeDone
      check(!isDone, "a handshake that failed isn't done")
      let hash = connection.peerKeyHash
      check(hash == nil, "no key before it was proven")
      for name in connection.refusedProtocols { check(name.utf8.count <= 3 * 256, "names within their bound") }
      return (answer, false)
    }
  }

  private static func checkRecords(_ bytes: [UInt8]) {
    var start = 0
    while start < bytes.count {
      check(bytes.count - start >= 5 && (20...23).contains(bytes[start]), "records of TLS")
      // An alert about a hello repeats the version that the hello has claimed.
      check(bytes[start + 1] == 3 || bytes[start] == 21, "records of this version")
      start += 5 + (Int(bytes[start + 3]) << 8 | Int(bytes[start + 4]))
    }
    check(start == bytes.count, "whole records")
  }

  // MARK: During it

  /// A client's handshake, of which the input changes some bytes, takes some out or puts some in.
  private static func change(_ script: inout Script) {
    var client = connection(clients[script.choice(clients.count)])
    var gate = connection(server)
    for _ in 0..<6 {
      _ = try? client.handshake()
      var bytes = client.takeOutput()
      for _ in 0..<script.choice(4) where !bytes.isEmpty {
        let place = Int(script.word()) % bytes.count
        switch script.choice(5) {
        case 0: bytes[place] ^= script.byte()
        case 1: bytes[place] = script.byte()
        case 2: bytes.remove(at: place)
        case 3: bytes.insert(script.byte(), at: place)
        default: bytes.removeLast(bytes.count - place)
        }
      }
      let (answer, goesOn) = bytes.withUnsafeBufferPointer { receive($0, &gate) }
      try? client.receive(answer.span)
      guard goesOn else { break }
    }
  }

  // MARK: Behind it

  private struct Pair: ~Copyable {
    var client: TLSConnection
    var gate: TLSConnection
  }

  private static func pair(_ context: TLSContext) -> Pair? {
    var client = connection(context)
    var gate = connection(server)
    var isDone = false
    for _ in 0..<6 where !isDone {
      let first = try? client.handshake()
      let request = client.takeOutput()
      try? gate.receive(request.span)
      let second = try? gate.handshake()
      let output = gate.takeOutput()
      try? client.receive(output.span)
      isDone = first == .done && second == .done
    }
    return isDone ? Pair(client: client, gate: gate) : nil
  }

  /// Bytes of a peer in records of TLS, some of them not its own; through decoder and state machines.
  private static func speak(_ script: inout Script) {
    let isData = script.flag()
    guard var pair = pair(clients[isData ? 1 : script.choice(2) * 2]) else { return check(false, "a handshake") }
    let alpn = pair.gate.alpn
    check(alpn == (isData ? ControlProtocol.dataALPN : ControlProtocol.alpn), "what was agreed on")
    let hash = pair.gate.peerKeyHash
    check(hash != nil, "the key that was proven")
    var machine = Machine(isData: isData, identity: Machine.identities[script.choice(3)])
    var room = [UInt8](repeating: 0, count: 16 << 10)
    while !script.isAtEnd {
      let how = script.byte()
      let piece = script.take(1 + Int(script.byte()))
      if how & 7 == 7 {
        // Not a record of the client's.
        try? pair.gate.receive(piece.span)
      } else if how & 7 == 6 {
        _ = try? pair.client.shutdown()
      } else {
        _ = try? pair.client.write(piece.span)
      }
      let wire = pair.client.takeOutput()
      try? pair.gate.receive(wire.span)
      while true {
        var span = room.mutableSpan
        guard let result = try? pair.gate.read(into: &span) else { return }
        guard case .bytes(let count) = result else {
          if result == .closedByPeer { machine.closed() }
          break
        }
        machine.receive(room.span.extracting(0..<count))
      }
      if machine.isOver { return }
    }
  }

  /// The same without TLS: a thousand times as fast.
  private static func decide(_ script: inout Script) {
    let isData = script.flag()
    var machine = Machine(isData: isData, identity: Machine.identities[script.choice(3)])
    while !script.isAtEnd, !machine.isOver {
      switch script.byte() & 7 {
      case 0: machine.advance(.milliseconds(Int64(script.byte()) * 250))
      case 1: machine.meet()
      case 2: machine.closed()
      case 3: machine.sent()
      case 4:
        // Text with its size before it.
        let text = script.take(1 + Int(script.word() & 0x3FF))
        let bytes = [0, 0, UInt8(text.count >> 8), UInt8(text.count & 255)] + text
        machine.receive(bytes.span)
      case 5: machine.receive(hello(script.flag()).span)
      default: machine.receive(script.take(1 + Int(script.byte())).span)
      }
    }
  }

  private static func hello(_ isSite: Bool) -> [UInt8] {
    let hello = ControlMessage.Hello(role: isSite ? .siteManager : .linkManager, name: "x", software: "x")
    return (try? ControlEnvelope(.hello(hello)).encoded()) ?? []
  }

  static var seeds: [[UInt8]] {
    var seeds: [[UInt8]] = []
    for context in clients {
      var client = connection(context)
      _ = try? client.handshake()
      let hello = client.takeOutput()
      seeds.append([0, 255] + hello)
      seeds.append([0, 3] + hello.prefix(40) + [200] + hello.dropFirst(40))
    }
    seeds += [[0, 255] + Array("GET / HTTP/1.1\r\n\r\n".utf8), [0, 9, 21, 3, 1, 0, 2, 2, 40], [0, 1, 22, 3, 1]]
    for context in 0..<UInt8(clients.count) {
      seeds += [[1, context, 0], [1, context, 1, 0, 20, 1, 9], [1, context, 0, 2, 0, 6, 0, 4]]
    }
    let messages: [ControlMessage] = [
      .hello(.init(role: .siteManager, name: "x", software: "y")), .agents([.init(name: "plc", target: .device(.v4))]),
      .list,
      .connect(.init(site: "s")), .login(.init(user: "u", password: "p", csr: "c", pc: "q")),
      .enroll(.init(secret: [1], csr: "c", name: "n")), .ping(3), .attach(Ticket([UInt8](repeating: 1, count: 32))!),
      .cancel(.init(id: SessionID([UInt8](repeating: 1, count: 16))!, reason: "r")),
    ]
    let texts = messages.compactMap { try? ControlEnvelope($0, request: 1).encoded() }
    for identity in UInt8(0)..<3 {
      for isSite in UInt8(0)..<2 {
        seeds.append([3, 0, identity, 5, isSite] + texts.flatMap { [4, 0, UInt8($0.count - 5)] + $0.dropFirst(4) })
      }
      for text in texts { seeds.append([2, 0, 0, identity, 0, UInt8(min(255, text.count - 1))] + text) }
    }
    seeds.append([3, 1, 0, 4, 0, UInt8(texts[7].count - 5)] + texts[7].dropFirst(4) + [1, 3, 2])
    seeds.append([2, 1, 0, 0, UInt8(texts[7].count - 1)] + texts[7] + [6, 0, 0])
    return seeds
  }
}
