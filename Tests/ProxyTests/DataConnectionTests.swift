import Control
import Crypto
import Glibc
import Kernel
import Primitives
import Testing

@testable import Proxy

@Suite struct DataConnectionTests {
  private let link: TestIdentity
  private let ticket: Ticket

  init() throws {
    link = try TestIdentity("link")
    ticket = try Ticket.random()
  }

  @Test func presentsItsTicketAndBecomesRaw() throws {
    let (expected, key) = (ticket, link.keyHash)
    let gate = try ScriptedGate(alpn: ControlProtocol.dataALPN) { _, stream, reader in
      guard case .attach(expected) = try reader.receive(from: &stream, until: soon).message,
        stream.peerKeyHash == key
      else { return }
      try stream.send(.attached, until: soon)
      // The relay's end: close_notify, then the peer's, then raw.
      let copy = try stream.socket.duplicate()
      var buffer: [UInt8] = [0]
      var bytes = buffer.mutableSpan
      stream.close()
      guard try stream.read(into: &bytes, until: soon) == nil else { return }
      try write(try readExactly(3, from: copy).reversed(), to: copy)
    }
    let socket = try DataConnection.open(to: gate.gate, ticket: ticket, credentials: link.credentials, until: soon)
    try write([1, 2, 3], to: socket)
    #expect(try readExactly(3, from: socket) == [3, 2, 1])
    _ = consume socket
    gate.server.join()
  }

  @Test func reportsARefusedTicket() throws {
    let failure = ControlMessage.Failure(.notPermitted, "no such ticket")
    let gate = try ScriptedGate(alpn: ControlProtocol.dataALPN) { _, stream, reader in
      _ = try reader.receive(from: &stream, until: soon)
      try stream.send(.failure(failure), until: soon)
    }
    #expect(throws: GateError.refused(failure)) {
      _ = try DataConnection.open(to: gate.gate, ticket: ticket, credentials: link.credentials, until: soon)
    }
    gate.server.join()
  }

  @Test(arguments: [true, false])
  func refusesDataBehindTheAnswer(_ inOneRecord: Bool) throws {
    let gate = try ScriptedGate(alpn: ControlProtocol.dataALPN) { _, stream, reader in
      _ = try reader.receive(from: &stream, until: soon)
      let answer = try ControlEnvelope(.attached).encoded() + (inOneRecord ? [0] : [])
      try stream.write(answer.span, until: soon)
      if !inOneRecord { try stream.write([0].span, until: soon) }
      stream.close()
      _ = try readToEnd(stream.socket)
    }
    #expect(throws: GateError.strayData) {
      _ = try DataConnection.open(to: gate.gate, ticket: ticket, credentials: link.credentials, until: soon)
    }
    gate.server.join()
  }

  @Test func isCancelledWhileItWaitsForTheOtherEnd() throws {
    let gate = try ScriptedGate(alpn: ControlProtocol.dataALPN) { _, stream, reader in
      _ = try reader.receive(from: &stream, until: soon)
      _ = try reader.receive(from: &stream, until: soon)
    }
    let cancel = try Cancellation()
    let canceller = try Thread(name: "cancel") {
      usleep(100_000)
      cancel.cancel()
    }
    #expect(throws: GateError.cancelled) {
      _ = try DataConnection.open(
        to: gate.gate, ticket: ticket, credentials: link.credentials, until: soon, cancel: cancel)
    }
    canceller.join()
    gate.server.join()
  }

  @Test func asksOnceAndTakesTheAnswer() throws {
    let answer = ControlMessage.LoggedIn(certificate: "c", caCertificate: "ca", user: "ann")
    let gate = try ScriptedGate(connections: 2) { number, stream, reader in
      try ScriptedGate.welcome(&stream, &reader)
      let envelope = try reader.receive(from: &stream, until: soon)
      guard case .login(let login) = envelope.message, login.user == "ann", stream.peerKeyHash == nil else { return }
      try stream.send(.ping(1), until: soon)
      guard case .pong(1) = try reader.receive(from: &stream, until: soon).message else { return }
      if number == 0 {
        try stream.send(.loggedIn(answer), request: envelope.request, until: soon)
      } else {
        try stream.send(.failure(.init(.badCredentials, "no")), request: envelope.request, until: soon)
      }
    }
    let login = ControlMessage.login(.init(user: "ann", password: "x", csr: "y", pc: "pc"))
    let hello = ControlMessage.Hello(role: .linkManager, name: "pc", software: "test")
    #expect(try ControlExchange.request(login, of: gate.gate, hello: hello, until: soon) == .loggedIn(answer))
    #expect(throws: GateError.refused(.init(.badCredentials, "no"))) {
      _ = try ControlExchange.request(login, of: gate.gate, hello: hello, until: soon)
    }
    gate.server.join()
  }

  @Test func learnsTheKeyOfAGate() throws {
    let gate = try ScriptedGate { _, stream, reader in _ = try reader.receive(from: &stream, until: soon) }
    #expect(try GateServer.keyHash(at: gate.server.address, until: soon) == gate.identity.keyHash)
    gate.server.join()
  }
}
