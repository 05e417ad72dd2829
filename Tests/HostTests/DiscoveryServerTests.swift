import Control
import Framing
import Kernel
import Logging
import Primitives
import Proxy
import Synchronization
import Testing

@testable import SiteManager

/// The site's end of discovery streams, as far as no frame has to leave.
@Suite struct DiscoveryServerTests {
  private static let quiet = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

  private static func rule(_ access: InterfaceAccess) -> SiteRule {
    SiteRule(agent: "cell", interface: SiteInterface("rvt-none", access))
  }

  private static func open(
    _ access: InterfaceAccess, at server: DiscoveryServer = DiscoveryServer(log: Self.quiet)
  ) throws -> OwnedDescriptor {
    let socket = try server.answer(rule(access), session: try SessionID.random(), user: "technician", pc: "pc") {
      rule(access).interface
    }
    try UnixSocket.setBlocking(socket, timeoutSeconds: 10)
    return socket
  }

  private static func ask(
    _ message: DiscoveryMessage, _ access: InterfaceAccess = InterfaceAccess(discovery: ["dcp"], assignment: true)
  ) throws -> ControlMessage.Failure? {
    let socket = try open(access)
    try socket.writeAll(try message.encoded())
    guard case .failure(let failure) = try answer(socket) else { return nil }
    return failure
  }

  private static func answer(_ socket: borrowing OwnedDescriptor) throws -> DiscoveryMessage? {
    var decoder = DiscoveryDecoder()
    var chunk = [UInt8](repeating: 0, count: 4096)
    while true {
      if let message = try decoder.next() { return message }
      var span = chunk.mutableSpan
      guard case .moved(let count) = try socket.read(into: &span) else { return nil }
      decoder.receive(chunk[..<count])
    }
  }

  @Test func whatTheAgentDoesNotPermitIsRefused() throws {
    let looks = InterfaceAccess(discovery: ["dcp", "lldp"])
    let assign = DiscoveryMessage.assign(.init(mac: "00:0e:8c:00:00:01", name: "plc-1", permanent: true))
    let refused = try Self.ask(assign, looks)
    #expect(refused?.code == .notPermitted && refused?.message.contains("assignment: true") == true)
    let method = try Self.ask(.discover(.init(methods: ["dcp", "ssdp"], seconds: 1)), looks)
    #expect(method?.code == .notPermitted && method?.message.contains("doesn't permit ssdp") == true)
    let none = try Self.ask(.discover(.init(seconds: 1)), InterfaceAccess(assignment: true))
    #expect(none?.code == .notPermitted && none?.message.contains("discovery:") == true)
  }

  @Test func permissionsAreThoseOfTheMoment() throws {
    let access = Mutex(InterfaceAccess(discovery: ["dcp"]))
    let server = DiscoveryServer(log: Self.quiet)
    let socket = try server.answer(
      Self.rule(access.withLock { $0 }), session: try SessionID.random(), user: "technician", pc: "pc"
    ) {
      SiteInterface("rvt-none", access.withLock { $0 })
    }
    try UnixSocket.setBlocking(socket, timeoutSeconds: 10)
    let assign = try DiscoveryMessage.assign(.init(mac: "00:0e:8c:00:00:01", permanent: true)).encoded()
    for (permitted, code) in [(false, FailureCode.notPermitted), (true, .malformed), (false, .notPermitted)] {
      access.withLock { $0.assignment = permitted }
      try socket.writeAll(assign)
      guard case .failure(let failure) = try Self.answer(socket) else {
        Issue.record("no failure")
        return
      }
      #expect(failure.code == code)
    }
  }

  @Test func questionsAreBounded() throws {
    for wanted in [
      DiscoveryMessage.Discover(seconds: 0), .init(seconds: 61), .init(seconds: -1), .init(methods: [], seconds: 1),
      .init(seconds: 1, ranges: [String](repeating: "10.0.0.0/24", count: 17)),
      .init(seconds: 1, ranges: ["fd00::/64"]),
      .init(seconds: 1, ranges: ["all"]),
    ] {
      #expect(try Self.ask(.discover(wanted))?.code == .malformed, "\(wanted)")
    }
    for wanted in [
      DiscoveryMessage.Assign(mac: "ff:ff:ff:ff:ff:ff", name: "plc-1", permanent: true),
      .init(mac: "00:0e:8c:00:00:01", permanent: true), .init(mac: "00:0e:8c:00:00:01", name: "PLC", permanent: true),
      .init(mac: "00:0e:8c:00:00:01", name: "a", address: "10.0.0.1/8", permanent: true),
      .init(mac: "00:0e:8c:00:00:01", address: "10.0.0.1", permanent: true),
      .init(mac: "00:0e:8c:00:00:01", address: "10.0.0.1/8", gateway: "x", permanent: true),
      .init(mac: "00:0e:8c:00:00:01", address: "10.0.0.1/8", gateway: "11.0.0.1", permanent: true),
    ] {
      #expect(try Self.ask(.assign(wanted))?.code == .malformed, "\(wanted)")
    }
    #expect(try Self.ask(.done(.init(devices: 0, unasked: 0)))?.code == .malformed)
  }

  @Test func anInterfaceThatIsNotThereIsNamed() throws {
    let failure = try Self.ask(.discover(.init(seconds: 1)))
    // Without privileges it doesn't come that far.
    #expect(failure?.code == .other("noInterface") || failure?.code == .internalError)
    #expect(failure?.message.contains("interface") == true, "\(String(describing: failure))")
  }

  @Test func aMessageThatIsTooLongEndsTheStream() throws {
    let socket = try Self.open(InterfaceAccess(discovery: ["dcp"]))
    try socket.writeAll([0xFF, 0xFF, 0xFF, 0xFF])
    guard case .failure(let failure) = try Self.answer(socket) else {
      Issue.record("no answer")
      return
    }
    #expect(failure.code == .malformed)
    #expect(try Self.answer(socket) == nil)
  }

  @Test func conversationsAreBounded() throws {
    let server = DiscoveryServer(log: Self.quiet)
    let rule = Self.rule(InterfaceAccess(discovery: ["dcp"]))
    let session = try SessionID.random()
    do {
      let first = try server.answer(rule, session: session, user: "a", pc: "pc") { nil }
      let second = try server.answer(rule, session: session, user: "b", pc: "pc") { nil }
      let third = try server.answer(rule, session: session, user: "c", pc: "pc") { nil }
      let fourth = try server.answer(rule, session: session, user: "d", pc: "pc") { nil }
      do throws(Refusal) {
        _ = try server.answer(rule, session: session, user: "e", pc: "pc") { nil }
        Issue.record("a fifth one")
      } catch {
        #expect(error.reason == .tooMany)
      }
      let all = [first.rawValue, second.rawValue, third.rawValue, fourth.rawValue]
      #expect(Set(all).count == 4)
    }
    // Their places are free once they have ended.
    let deadline = Clock.now + .seconds(10)
    while Clock.now < deadline {
      if (try? server.answer(rule, session: session, user: "f", pc: "pc") { nil }) != nil { return }
      Thread.sleep(.milliseconds(20))
    }
    Issue.record("no place became free")
  }
}
