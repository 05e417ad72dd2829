import Control
import Crypto
import Glibc
import Kernel
import Primitives
import Testing

@testable import Proxy

/// GateManagers of later versions, and such as never come to an end, as a LinkManager or SiteManager meets them.
@Suite(.timeLimit(.minutes(1))) struct LaterGateTests {
  private let site: TestIdentity
  private let events: EventLog
  private let hello = ControlMessage.Hello(role: .siteManager, name: "plant", software: "test")

  init() throws {
    site = try TestIdentity("site")
    events = try EventLog()
  }

  private func start(_ gate: GateServer, connect: Interval = .seconds(20)) throws -> ControlClient {
    var timing = ControlTiming()
    timing.connect = connect
    timing.backoff = Backoff(shortest: .seconds(600), longest: .seconds(600))
    let events = events
    return try ControlClient(to: gate, credentials: site.credentials, hello: hello, timing: timing) {
      events.append($0)
    }
  }

  private func send(_ text: String, _ stream: inout TLSStream) throws {
    let size = UInt32(text.utf8.count)
    let bytes = [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: size >> $0) } + Array(text.utf8)
    try stream.write(bytes.span, until: soon)
  }

  @Test func anotherProtocol() throws {
    for (offered, alpn) in [("relayvpn-control/2", ControlProtocol.alpn), ("h2", ControlProtocol.alpn)] {
      let gate = try ScriptedGate(alpn: offered) { _, _, _ in Issue.record("greeted") }
      let client = try start(gate.gate)
      guard case .disconnected(let error, _) = try events.next() else { return }
      #expect(error == .noCommonProtocol(alpn))
      #expect("\(error)".contains("doesn't speak \(alpn)") && "\(error)".contains("has to be updated"))
      client.stop()
      gate.server.join()
    }
    let data = try ScriptedGate(alpn: "relayvpn-data/2") { _, _, _ in Issue.record("greeted") }
    #expect(throws: GateError.noCommonProtocol(ControlProtocol.dataALPN)) {
      _ = try DataConnection.open(to: data.gate, ticket: .random(), credentials: site.credentials, until: soon)
    }
    data.server.join()
  }

  @Test func whatItAddsIsPassedOver() throws {
    let gate = try ScriptedGate { _, stream, reader in
      _ = try reader.receive(from: &stream, until: soon)
      try send(#"{"type":"motd","text":"hello"}"#, &stream)
      try send(
        #"{"type":"welcome","gate":"gm","heartbeatSeconds":20,"serverTime":1800000000,"region":{"id":7},"x":[]}"#,
        &stream)
      try send(#"{"type":"quota","left":3}"#, &stream)
      try send(
        #"{"type":"failure","code":"quotaExceeded","message":"ask in an hour","level":9,"request":4}"#, &stream)
      try send(
        #"{"type":"sessionEnded","id":"000102030405060708090a0b0c0d0e0f","reason":"over","cause":"quota","bytes":1}"#,
        &stream)
      _ = try reader.receive(from: &stream, until: soon)
    }
    let client = try start(gate.gate)
    guard case .connected(let welcome) = try events.next() else { return }
    #expect(welcome.gate == "gm")
    guard case .message(let failure) = try events.next() else { return }
    #expect(failure == ControlEnvelope(.failure(.init(.other("quotaExceeded"), "ask in an hour")), request: 4))
    guard case .message(let ended) = try events.next(), case .sessionEnded(let ending) = ended.message else { return }
    #expect(ending.reason == "over")
    client.stop()
    gate.server.join()
  }

  @Test func aRefusalOfThisVersionSaysWhatItIs() throws {
    let text = "test speaks version 1 of the protocol, and this GateManager 2: test is too old, and has to be updated"
    let gate = try ScriptedGate { _, stream, reader in
      _ = try reader.receive(from: &stream, until: soon)
      try stream.send(.failure(.init(.versionIncompatible, text, retryAfter: 900)), until: soon)
    }
    let client = try start(gate.gate)
    guard case .disconnected(.refused(let failure), let retry) = try events.next() else {
      Issue.record("not refused")
      return
    }
    #expect(failure.code == .versionIncompatible && failure.message == text && retry >= .seconds(900))
    #expect("\(GateError.refused(failure))" == "the GateManager refused: \(text)")
    client.stop()
    gate.server.join()
  }

  @Test(
    arguments: [
      (Array("HTTP/1.1 400 Bad Request\r\n".utf8), "the GateManager sent a message of 1213486160 bytes"),
      ([0, 4, 0, 1], "the GateManager sent a message of 262145 bytes, more than 262144"),
      ([0, 0, 0, 1, 0x7B], "the GateManager sent a malformed message"),
      ([0, 0, 0, 15] + Array(#"{"type":"list"}"#.utf8), "the GateManager sent \"list\" where that has no place"),
    ] as [([UInt8], String)])
  func garbageInsteadOfAWelcome(bytes: [UInt8], expected: String) throws {
    let gate = try ScriptedGate { _, stream, reader in
      _ = try reader.receive(from: &stream, until: soon)
      try stream.write(bytes.span, until: soon)
      _ = try? reader.receive(from: &stream, until: soon)
    }
    let client = try start(gate.gate)
    guard case .disconnected(let error, _) = try events.next() else { return }
    #expect("\(error)".hasPrefix(expected), "\(error)")
    client.stop()
    gate.server.join()
  }

  @Test func aWelcomeThatDribbles() throws {
    let gate = try ScriptedGate { _, stream, reader in
      _ = try reader.receive(from: &stream, until: soon)
      for byte in [0, 3, 0, 0] + [UInt8](repeating: 0x20, count: 100) {
        try stream.write([byte].span, until: soon)
        usleep(50_000)
      }
    }
    let client = try start(gate.gate, connect: .seconds(1))
    let began = Clock.now
    guard case .disconnected(.timedOut, _) = try events.next() else {
      Issue.record("no end")
      return
    }
    #expect(Clock.now - began < .seconds(4))
    client.stop()
    gate.server.join()
  }

  /// A GateManager that never stops talking doesn't keep this end from being heard, nor from stopping.
  @Test func messagesWithoutEnd() throws {
    let gate = try ScriptedGate { _, stream, reader in
      try ScriptedGate.welcome(&stream, &reader)
      var sent = 0
      while sent < 1_000_000 {
        try send(#"{"type":"failure","code":"busy","message":"\#(sent)"}"#, &stream)
        sent += 1
        if try reader.fill(from: &stream), let envelope = try reader.next(), case .list = envelope.message {
          try stream.send(.sites([]), request: envelope.request, until: soon)
        }
      }
    }
    let isAnswered = try Cancellation()
    let client = try ControlClient(to: gate.gate, credentials: site.credentials, hello: hello) { event in
      guard case .message(let envelope) = event, case .sites = envelope.message else { return }
      isAnswered.cancel()
    }
    let deadline = soon
    while (try? client.send(.list)) == nil, Clock.now < deadline { usleep(2000) }
    while !isAnswered.isCancelled, Clock.now < deadline { usleep(2000) }
    #expect(isAnswered.isCancelled)
    let began = Clock.now
    client.stop()
    #expect(Clock.now - began < .seconds(2))
    gate.server.join()
  }
}
