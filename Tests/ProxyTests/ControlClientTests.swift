import Control
import Crypto
import Glibc
import Kernel
import Primitives
import Testing

@testable import Proxy

@Suite struct ControlClientTests {
  private let site: TestIdentity
  private let hello = ControlMessage.Hello(role: .siteManager, name: "plant", software: "test")
  private let events: EventLog

  init() throws {
    site = try TestIdentity("site")
    events = try EventLog()
  }

  private func start(_ gate: GateServer, heartbeat: Interval = .milliseconds(100)) throws -> ControlClient {
    var timing = ControlTiming()
    timing.backoff = Backoff(shortest: .milliseconds(20), longest: .milliseconds(80))
    timing.heartbeat = heartbeat...heartbeat
    let events = events
    return try ControlClient(to: gate, credentials: site.credentials, hello: hello, timing: timing) {
      events.append($0)
    }
  }

  private func expectConnected(_ event: ControlClientEvent) {
    guard case .connected(let welcome) = event else {
      Issue.record("\(event)")
      return
    }
    #expect(welcome.gate == "gm")
  }

  @Test func carriesMessagesBothWays() throws {
    let expected = site.keyHash
    let gate = try ScriptedGate { _, stream, reader in
      guard stream.peerKeyHash == expected else { return }
      try ScriptedGate.welcome(&stream, &reader)
      while true {
        let envelope = try reader.receive(from: &stream, until: soon)
        switch envelope.message {
        case .list: try stream.send(.sites([]), request: envelope.request, until: soon)
        case .ping(let id): try stream.send(.pong(id), until: soon)
        default: return
        }
      }
    }
    let client = try start(gate.gate)
    expectConnected(try events.next())
    try client.send(.list, request: 7)
    guard case .message(let answer) = try events.next() else { return }
    #expect(answer == ControlEnvelope(.sites([]), request: 7))
    client.stop()
    #expect(throws: ControlSendError.self) {
      try client.send(.list)
    }
    gate.server.join()
  }

  @Test func boundsWhatASlowGateLeavesWaiting() throws {
    let reason = String(repeating: "x", count: 200_000)
    let isFull = try Cancellation()
    let received = ConnectionCounter()
    let gate = try ScriptedGate { _, stream, reader in
      try ScriptedGate.welcome(&stream, &reader)
      let deadline = soon
      while !isFull.isCancelled, Clock.now < deadline { usleep(5_000) }
      while true {
        let envelope = try reader.receive(from: &stream, until: soon)
        guard envelope.message == .connect(.init(site: "s", reason: reason)) else { break }
        guard envelope.request == UInt64(received.next()) else { return }
      }
      try stream.send(.sites([]), until: soon)
      _ = try reader.receive(from: &stream, until: soon)
    }
    let client = try start(gate.gate, heartbeat: .seconds(20))
    expectConnected(try events.next())
    var sent = 0
    var full = false
    // The kernel holds some megabytes; what goes beyond waits here, and not without end.
    while !full, sent < 400 {
      do throws(ControlSendError) {
        try client.send(.connect(.init(site: "s", reason: reason)), request: UInt64(sent))
        sent += 1
        usleep(1_000)
      } catch {
        #expect(error == .queueFull)
        full = true
      }
    }
    #expect(full)
    isFull.cancel()
    let deadline = soon
    while Clock.now < deadline {
      if (try? client.send(.list)) != nil { break }
      usleep(2_000)
    }
    guard case .message(ControlEnvelope(.sites([]))) = try events.next() else {
      Issue.record("not all of it arrived")
      return
    }
    #expect(received.next() == sent)
    client.stop()
    gate.server.join()
  }

  @Test func answersPingsAndSendsItsOwn() throws {
    let seen = ConnectionCounter()
    let gate = try ScriptedGate { _, stream, reader in
      try ScriptedGate.welcome(&stream, &reader)
      try stream.send(.ping(42), until: soon)
      var own = 0
      while own < 5 {
        switch try reader.receive(from: &stream, until: soon).message {
        case .pong(42): _ = seen.next()
        case .ping(let id):
          own += 1
          try stream.send(.pong(id), until: soon)
        default: return
        }
      }
      try stream.send(.list, until: soon)
      _ = try reader.receive(from: &stream, until: soon)
    }
    let client = try start(gate.gate)
    expectConnected(try events.next())
    // Five heartbeats later it is still the same connection.
    guard case .message(ControlEnvelope(.list)) = try events.next() else {
      Issue.record("lost")
      return
    }
    #expect(seen.next() == 1)
    client.stop()
    #expect(events.count == 2)
    gate.server.join()
  }

  @Test func noticesASilentGate() throws {
    let gate = try ScriptedGate { _, stream, reader in
      try ScriptedGate.welcome(&stream, &reader)
      while true { _ = try reader.receive(from: &stream, until: soon) }
    }
    let client = try start(gate.gate)
    expectConnected(try events.next())
    let start = Clock.now
    guard case .disconnected(.silent(let interval), _) = try events.next() else {
      Issue.record("not noticed")
      return
    }
    #expect(interval >= .milliseconds(250))
    #expect(Clock.now - start < .seconds(3))
    client.stop()
  }

  @Test func aProbeFindsOutWithinSeconds() throws {
    let isMute = try Cancellation()
    let gate = try ScriptedGate(connections: 2) { number, stream, reader in
      try ScriptedGate.welcome(&stream, &reader)
      while true {
        guard case .ping(let id) = try reader.receive(from: &stream, until: soon).message else { return }
        if !isMute.isCancelled { try stream.send(.pong(id), until: soon) }
        if number == 1 { return }
      }
    }
    // Without a probe nobody would ask for a minute.
    let client = try start(gate.gate, heartbeat: .seconds(60))
    expectConnected(try events.next())
    client.probe()
    usleep(200_000)
    isMute.cancel()
    client.probe()
    guard case .disconnected(.silent, _) = try events.next() else {
      Issue.record("not noticed")
      return
    }
    expectConnected(try events.next())
    client.stop()
  }

  @Test func aChangeOfTheNetworkEndsTheWaitForTheNextAttempt() throws {
    let server = try LocalServer { _ in }
    let nobody = server.address
    _ = try Outbound.connect(to: nobody, until: soon)
    server.join()
    var timing = ControlTiming()
    timing.backoff = Backoff(shortest: .seconds(600), longest: .seconds(600))
    let events = events
    let client = try ControlClient(
      to: GateServer(nobody, pin: .key(site.keyHash)), credentials: site.credentials, hello: hello, timing: timing
    ) { events.append($0) }
    for attempt in 1...3 {
      guard case .disconnected(.dial(.refused), let wait) = try events.next() else {
        Issue.record("another reason")
        return
      }
      #expect(wait == .seconds(600))
      client.probe()
      usleep(100_000)
      #expect(events.count == attempt)
      client.networkChanged()
    }
    client.stop()
  }

  @Test func comesBackAfterTheConnectionIsLost() throws {
    let gate = try ScriptedGate(connections: 3) { number, stream, reader in
      if number == 1 {
        _ = try reader.receive(from: &stream, until: soon)
        try stream.send(.failure(.init(.busy, "later")), until: soon)
        return
      }
      try ScriptedGate.welcome(&stream, &reader)
      if number == 0 {
        stream.close()
        return
      }
      _ = try reader.receive(from: &stream, until: soon)
    }
    let client = try start(gate.gate)
    expectConnected(try events.next())
    guard case .disconnected(.closed, let wait) = try events.next() else {
      Issue.record("not closed")
      return
    }
    #expect(wait >= .milliseconds(20) && wait <= .milliseconds(80))
    guard case .disconnected(.refused(let failure), _) = try events.next() else {
      Issue.record("not refused")
      return
    }
    #expect(failure.code == .busy)
    expectConnected(try events.next())
    client.stop()
    gate.server.join()
  }

  @Test func goesOnWhereNobodyListens() throws {
    let server = try LocalServer { _ in }
    let nobody = server.address
    _ = try Outbound.connect(to: nobody, until: soon)
    server.join()
    let client = try start(GateServer(nobody, pin: .key(site.keyHash)))
    for _ in 0..<4 {
      guard case .disconnected(.dial(.refused), _) = try events.next() else {
        Issue.record("another reason")
        return
      }
    }
    #expect(throws: ControlSendError.notConnected) { try client.send(.list) }
    client.stop()
  }

  @Test func tellsNothingToAnotherKey() throws {
    let gate = try ScriptedGate { _, stream, reader in
      _ = try reader.receive(from: &stream, until: soon)
      Issue.record("a stranger was greeted")
    }
    let client = try start(GateServer(gate.server.address, pin: .key(site.keyHash)))
    guard case .disconnected(.wrongKey(_, let found), _) = try events.next() else {
      Issue.record("not noticed")
      return
    }
    #expect(found == gate.identity.keyHash)
    client.stop()
  }

  @Test func boundsWhatWaits() throws {
    let outbox = try ControlOutbox()
    #expect(throws: ControlSendError.notConnected) { try outbox.append(ControlEnvelope(.list)) }
    outbox.setOpen(true)
    for _ in 0..<ControlOutbox.messageLimit { try outbox.append(ControlEnvelope(.list)) }
    #expect(throws: ControlSendError.queueFull) { try outbox.append(ControlEnvelope(.list)) }
    #expect(!outbox.take().isEmpty)
    try outbox.append(ControlEnvelope(.list))
    outbox.setOpen(false)
    #expect(outbox.take().isEmpty, "messages don't outlive their connection")
  }

  @Test func saysAgainWhichSessionsWereLeft() throws {
    let outbox = try ControlOutbox()
    let start = Instant(nanoseconds: 1_000_000_000)
    func waiting() throws -> [SessionID] {
      var decoder = MessageDecoder()
      try decoder.receive(outbox.take().span)
      var left: [SessionID] = []
      while let envelope = try decoder.next() {
        guard case .cancel(let ending) = envelope.message else { continue }
        left.append(ending.id)
      }
      return left
    }
    let ids = try (0..<100).map { _ in try SessionID.random() }
    // One that goes out, and may be lost with its connection, and many without a connection.
    outbox.setOpen(true)
    outbox.leave(.init(id: ids[0], reason: ""), now: start)
    #expect(try waiting() == [ids[0]])
    outbox.setOpen(false)
    outbox.setOpen(true)
    outbox.repeatDepartures(now: start + .seconds(20))
    #expect(try waiting() == [ids[0]])
    outbox.setOpen(false)
    for id in ids { outbox.leave(.init(id: id, reason: ""), now: start + .seconds(30)) }
    outbox.setOpen(true)
    outbox.repeatDepartures(now: start + .seconds(60))
    #expect(try waiting() == ids.suffix(ControlOutbox.departureLimit))
    outbox.repeatDepartures(now: start + .seconds(150))
    #expect(try waiting().isEmpty)
  }

  @Test func aGateCanAskForAnHourAtMost() throws {
    let gate = try ScriptedGate { _, stream, reader in
      _ = try reader.receive(from: &stream, until: soon)
      try stream.send(.failure(.init(.busy, "later", retryAfter: .max)), until: soon)
    }
    let client = try start(gate.gate)
    guard case .disconnected(.refused(let failure), let wait) = try events.next() else {
      Issue.record("not refused")
      return
    }
    #expect(failure.code == .busy && wait == .seconds(3600))
    // And whoever waits can be stopped, or hear that the network has changed.
    client.stop()
    gate.server.join()
  }

  @Test func stopsWhileItConnects() throws {
    // Takes the connection and never says a word.
    let server = try LocalServer { socket in _ = try? readToEnd(socket) }
    let client = try start(GateServer(server.address, pin: .key(site.keyHash)))
    usleep(30_000)
    let start = Clock.now
    client.stop()
    #expect(Clock.now - start < .seconds(2))
    #expect(events.count == 0)
    server.join()
  }
}
