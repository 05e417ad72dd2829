import Kernel
import Primitives
import Stack
import Testing
import Tun

@testable import Adapter
@testable import Proxy

/// FTP from an application to a device and back: what is said on a control connection, and what follows from it.
@Suite(.serialized, .timeLimit(.minutes(2))) struct AdapterFTPTests {
  /// A device that sends `content` on each data connection, whoever opens it.
  private static func device() throws -> DeviceServer {
    try DeviceServer { socket in
      try say("220-ready, once 227 (127,0,0,1,4,4) was said", socket)
      try say("220 now", socket)
      while let line = try readLine(socket) {
        let words = line.split(separator: " ")
        switch words.first {
        case "PASV":
          let listener = try Socket.listen(on: Endpoint(IPAddress(127, 0, 0, 1), 0))
          try say("227 Entering (\(FTPAddress.portArgument(Socket.localEndpoint(listener)!))).", socket)
          try listener.wait(for: .readable, until: soon)
          guard let data = try Socket.accept(from: listener) else { return }
          try data.write(all: content.span, until: soon)
        case "PORT":
          guard words.count == 2, let target = FTPAddress.parsePort(Array(words[1].utf8)[...]), target.port > 0 else {
            try say("501 no", socket)
            continue
          }
          let data = try Socket.connect(to: target)
          try data.wait(for: .writable, until: soon)
          try data.write(all: content.span, until: soon)
        default:
          try say("200 \(line)", socket)
          continue
        }
        try say("226 done", socket)
      }
    }
  }

  private static let content = (0..<300_000).map { UInt8(truncatingIfNeeded: $0 &* 31 ^ $0 >> 8) }
  private static var soon: Instant { Clock.now + .seconds(10) }

  private static func say(_ line: String, _ socket: borrowing OwnedDescriptor) throws {
    try socket.write(all: Array((line + "\r\n").utf8).span, until: soon)
  }

  private static func readLine(_ socket: borrowing OwnedDescriptor) throws -> String? {
    var line: [UInt8] = []
    var buffer: [UInt8] = [0]
    while line.last != 10 {
      var span = buffer.mutableSpan
      guard try socket.read(some: &span, until: soon) != nil else { return nil }
      line.append(buffer[0])
    }
    return String(decoding: line.dropLast(2), as: UTF8.self)
  }

  /// A control connection that is open.
  private struct Bench {
    let adapter: Adapter
    let client: ClientHost
    let site: TestSite
    let device: DeviceServer
    let alias: IPAddress
    let control: FlowID

    init() async throws {
      let memory = try MemoryDevice(capacity: 16 << 20, packetLimit: 8192)
      client = ClientHost(memory.peer())
      adapter = try Adapter(device: memory, configuration: AdapterConfiguration())
      device = try AdapterFTPTests.device()
      site = try await TestSite(adapter, tcp: [device.port], ftp: [device.port])
      let agents = await adapter.agents
      alias = try #require(agents.first?.v4?.address)
      control = try client.connect(to: Endpoint(alias, device.port))
      #expect(try awaitReply("220 now"))
    }

    /// What the device has said by now.
    var said: String { String(decoding: client.applications[control]?.inbox ?? [], as: UTF8.self) }

    func say(_ line: String) { client.applications[control]?.outbox += Array((line + "\r\n").utf8) }

    func awaitReply(_ text: String) throws -> Bool {
      try client.run { String(decoding: $0.applications[control]?.inbox ?? [], as: UTF8.self).contains(text) }
    }

    func end() {
      device.stop()
      withExtendedLifetime(site) { adapter.stop() }
    }
  }

  @Test func passiveDataConnectionsAreAtTheAliasAndOpenOnce() async throws {
    let bench = try await Bench()
    bench.say("PASV")
    #expect(try bench.awaitReply(").\r\n"))
    let line = try #require(bench.said.split(separator: "\r\n").last { $0.hasPrefix("227 Entering") })
    let numbers = Array(line.utf8.drop { $0 != UInt8(ascii: "(") }.dropFirst().dropLast(2))
    let announced = try #require(FTPAddress.parsePort(numbers[...]))
    #expect(announced.address == bench.alias)
    let data = try bench.client.connect(to: announced, finishes: true)
    #expect(try bench.client.run { $0.applications[data]?.peerFinished == true })
    #expect(bench.client.applications[data]?.inbox == Self.content)
    #expect(try bench.awaitReply("226 done"))
    _ = try bench.client.connect(to: announced)
    #expect(try bench.client.run { $0.unreachable == [13] })
    // What stands within a reply of several lines announces nothing.
    _ = try bench.client.connect(to: Endpoint(bench.alias, 4 * 256 + 4))
    #expect(try bench.client.run { $0.unreachable == [13, 13] })
    bench.end()
  }

  @Test func activeDataConnectionsComeFromTheAlias() async throws {
    let bench = try await Bench()
    bench.client.accepts = true
    for (count, port) in [UInt16(50_001), 50_002].enumerated() {
      // In one piece with what follows, which has to wait for the site.
      bench.say("PORT \(FTPAddress.portArgument(Endpoint(ClientHost.address, port)))\r\nNOOP \(port)")
      #expect(try bench.client.run { $0.accepted.count == count + 1 })
      let (data, source) = try #require(bench.client.accepted.last)
      #expect(source == Endpoint(bench.alias, bench.device.port - 1))
      #expect(try bench.client.run { $0.applications[data]?.peerFinished == true })
      #expect(bench.client.applications[data]?.inbox == Self.content)
      #expect(try bench.awaitReply("200 NOOP \(port)"))
    }
    #expect(bench.said.contains("226 done\r\n200 NOOP 50001\r\n226 done\r\n200 NOOP 50002"))
    bench.end()
  }

  @Test func noDeviceIsLedElsewhere() async throws {
    let bench = try await Bench()
    bench.client.accepts = true
    for endpoint in [Endpoint(IPAddress(10, 20, 30, 41), 50_001), Endpoint(ClientHost.address, 80)] {
      let before = bench.said.count
      bench.say("PORT \(FTPAddress.portArgument(endpoint))")
      #expect(try bench.client.run { _ in bench.said.count > before && bench.said.hasSuffix("501 no\r\n") })
    }
    #expect(bench.client.accepted.isEmpty)
    let status = await bench.adapter.status
    #expect(status.refusals.values.reduce(0, +) == 2, "\(status.refusals)")
    bench.end()
  }

  @Test func manyCommandsPassAndTheEndToo() async throws {
    let bench = try await Bench()
    // More than is held ahead of the site.
    for number in 0..<5000 { bench.say("NOOP \(number)") }
    #expect(try bench.awaitReply("200 NOOP 4999\r\n"))
    bench.client.applications[bench.control]?.finishes = true
    #expect(try bench.client.run { $0.applications[bench.control]?.isClosed == true })
    #expect(bench.client.applications[bench.control]?.reset == nil)
    bench.end()
  }
}
