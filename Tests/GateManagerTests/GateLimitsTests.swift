import Access
import Control
import Crypto
import Glibc
import Kernel
import Primitives
import Proxy
import Synchronization
import Testing

@testable import GateManager

/// What happens at each bound of `GateLimits`: who asks for more is refused with a reason that is counted, and those
/// who are there go on.
@Suite(.serialized, .timeLimit(.minutes(2))) struct GateLimitsTests {
  private let start = Instant(nanoseconds: 1_000_000_000)
  private let key = KeyHash([UInt8](repeating: 1, count: 32))!

  /// A stranger's connection, as far as TCP.
  private func stranger(_ fixture: GateFixture) throws -> OwnedDescriptor {
    let socket = try Socket.connect(to: fixture.service.endpoint)
    try socket.wait(for: .writable, until: Clock.now + .seconds(10))
    return socket
  }

  /// Whether the GateManager closes the connection within some seconds.
  private func isClosed(_ socket: borrowing OwnedDescriptor) -> Bool {
    var buffer = [UInt8](repeating: 0, count: 100)
    var span = buffer.mutableSpan
    do throws(WaitError) {
      return try socket.read(some: &span, until: Clock.now + .seconds(5)) == nil
    } catch {
      if case .system = error { return true }
      return false
    }
  }

  private func online(_ fixture: GateFixture) throws -> TestPeer {
    let (credentials, _) = try fixture.enroll(fixture.addSite("north"), name: "north")
    let site = try TestPeer(fixture, .siteManager, credentials)
    #expect(fixture.eventually { $0.sites.first?.online == true })
    return site
  }

  // MARK: Connections

  @Test func connectionsAreBounded() throws {
    let fixture = try GateFixture { $0.connections = 4 }
    let site = try online(fixture)
    // The enrolment's own connection goes when it likes.
    #expect(fixture.eventually { $0.connections == 1 })
    var held = try (0..<3).map { _ in try stranger(fixture).release() }
    #expect(fixture.eventually { $0.connections == 4 })
    let refused = try stranger(fixture)
    let hasClosed = isClosed(refused)
    #expect(hasClosed)
    #expect(fixture.service.status()?.refusals["tooManyConnections"] == 1)
    #expect(fixture.service.status()?.sites.first?.online == true)
    close(held.removeLast())
    #expect(fixture.eventually { $0.connections == 3 })
    let next = try stranger(fixture)
    #expect(fixture.eventually { $0.connections == 4 })
    for fd in held { close(fd) }
    site.stop()
    _ = consume next
  }

  /// What one address can hold without a word about who it is; others, and those who are known, have their own room.
  @Test func strangersOfOneAddressAreBounded() throws {
    let fixture = try GateFixture()
    let site = try online(fixture)
    #expect(fixture.eventually { $0.connections == 1 })
    var held: [CInt] = []
    defer { for fd in held { close(fd) } }
    // Who isn't a stranger any more is counted until the next look, which comes twice a second: some come too early.
    let all = GateLimits.strangersPerAddress + 1
    for _ in 0..<100 where fixture.service.status()?.connections != all {
      for _ in 0..<8 { held.append(try stranger(fixture).release()) }
      usleep(100_000)
    }
    let report = try #require(fixture.service.status())
    #expect(report.connections == all, "those who were let in, and no more")
    let refused = try stranger(fixture)
    let hasClosed = isClosed(refused)
    #expect(hasClosed)
    #expect((fixture.service.status()?.refusals["tooManyConnections"] ?? 0) >= 1)
    #expect(fixture.service.status()?.connections == all && report.sites.first?.online == true)
    try site.send(.agents([]))
    for fd in held { close(fd) }
    held = []
    #expect(fixture.eventually { $0.connections == 1 })
    // There is room again, with the next look at the latest.
    try fixture.addUser("ann")
    var isIn = false
    for _ in 0..<50 where !isIn {
      isIn = (try? fixture.login("ann")) != nil
      if !isIn { usleep(100_000) }
    }
    #expect(isIn)
    site.stop()
  }

  @Test func aHandshakeHasItsTime() throws {
    let fixture = try GateFixture { $0.handshakeTime = .milliseconds(300) }
    let silent = try stranger(fixture)
    let hasClosed = isClosed(silent)
    #expect(hasClosed)
    #expect(fixture.service.status()?.refusals["handshakeTimeout"] == 1)
    #expect(fixture.eventually { $0.connections == 0 })
  }

  @Test func descriptorsAreLeftForSessions() {
    #expect(GateLimits.reservedDescriptors(of: 256) == 64)
    #expect(GateLimits.reservedDescriptors(of: 4096) == 1024)
    #expect(GateLimits.reservedDescriptors(of: 1 << 20) == 1024)
  }

  // MARK: Peers

  /// Somebody who asks and doesn't read the answers.
  @Test func whoDoesntReadIsClosed() throws {
    let fixture = try GateFixture()
    let site = try online(fixture)
    let long = String(repeating: "x", count: 900)
    try site.send(
      .agents(
        (0..<200).map { AgentDescription(name: "a\($0)", target: .device(.v4), tcp: [PortRange(1)!], about: long) })
    )
    #expect(fixture.eventually { $0.sites.first?.agents.count == 200 })
    try fixture.addUser("ann")
    let credentials = try fixture.login("ann")
    // A TLS client by hand, with little room.
    let context = try TLSContext(.client, credentials: credentials, peer: .required, alpn: [ControlProtocol.alpn])
    let socket = try Socket.make(.v4, .stream)
    try Socket.setOption(socket, SOL_SOCKET, SO_RCVBUF, 8192)
    try? Socket.connect(socket, to: fixture.service.endpoint)
    try socket.wait(for: .writable, until: Clock.now + .seconds(10))
    try socket.setNonblocking(false)
    var tls = try TLSConnection(context, descriptor: socket.rawValue)
    #expect(try tls.handshake() == .done)
    let hello = try ControlEnvelope(.hello(.init(role: .linkManager, name: "x", software: "x"))).encoded()
    _ = try tls.write(hello.span)
    #expect(fixture.eventually { $0.users.count == 1 })
    // Fewer than the messages that a peer may send at once, and some 20 MB of answers.
    for request in 1...90 {
      let list = try ControlEnvelope(.list, request: UInt64(request)).encoded()
      _ = try tls.write(list.span)
    }
    #expect(fixture.eventually { $0.refusals["slowReader"] == 1 && $0.users.isEmpty })
    #expect(fixture.service.status()?.sites.first?.online == true)
    site.stop()
  }

  // MARK: Sessions

  @Test func sessionsAreBounded() throws {
    func session(_ user: String) throws -> GateSession {
      GateSession(
        id: try SessionID.random(), user: user, pc: "pc", site: "north", owner: SlotID(index: 0, generation: 1),
        clientKey: key, siteKey: key, agents: ["plc"], descriptions: [], reason: nil, created: 100,
        notAfter: 200, expires: start + .seconds(100), rules: [], deadline: nil)
    }
    var table = SessionTable()
    for index in 0..<GateLimits.sessions {
      let isIn = table.insert(try session("user\(index / GateLimits.sessionsPerUser)"))
      #expect(isIn)
    }
    let last = try session("ann")
    let isFull = !table.insert(last)
    #expect(isFull && table.count == GateLimits.sessions && table.count(of: "ann") == 0)
    _ = table.remove(try #require(table.all.keys.first))
    let isIn = table.insert(last)
    #expect(isIn)
  }

  /// A reason that is one character, and a long one.
  @Test func aReasonIsCut() throws {
    let fixture = try GateFixture()
    let site = try online(fixture)
    try site.send(.agents([AgentDescription(name: "plc", target: .device(.v4), tcp: [PortRange(502)!])]))
    #expect(fixture.eventually { $0.sites.first?.agents.count == 1 })
    try fixture.addUser("ann")
    let link = try TestPeer(fixture, .linkManager, try fixture.login("ann"))
    try link.send(.connect(.init(site: "north", reason: "e" + String(repeating: "\u{301}", count: 100_000))))
    let grant = try site.message { if case .dial(let dial) = $0 { dial.grant } else { nil } }
    #expect(grant.bytes.count < 2000)
    let reason = fixture.service.status()?.sessions.first?.reason
    #expect(reason?.utf8.count == 255, "cut between scalars of two bytes")
    link.stop()
    site.stop()
  }

  // MARK: Access

  /// More logins than the worker has room for: refused at once, and asked to come again.
  @Test func loginsThatWaitAreBounded() throws {
    let fixture = try GateFixture()
    try fixture.addUser("ann")
    let outcomes = Mutex<(granted: Int, busy: [Int?])>((0, []))
    let threads = try (0..<60).map { _ in
      try Kernel.Thread(name: "login") {
        do {
          _ = try fixture.login("ann")
          outcomes.withLock { $0.granted += 1 }
        } catch GateError.refused(let failure) where failure.code == .busy {
          outcomes.withLock { $0.busy.append(failure.retryAfter) }
        } catch {
          Issue.record("\(error)")
        }
      }
    }
    for thread in threads { thread.join() }
    let (granted, busy) = outcomes.withLock { $0 }
    #expect(granted >= GateLimits.pendingRequests && granted + busy.count == 60)
    #expect(!busy.isEmpty && busy.allSatisfy { $0 == 2 })
    #expect(fixture.service.status()?.refusals["busy"] == UInt64(busy.count))
    // A PC more than a user may have: the oldest is forgotten.
    #expect(fixture.state.accounts["ann"]?.pcs.count == AccessLimits.pcsPerAccount)
    _ = try fixture.login("ann")
  }

  @Test func theOldestPCIsForgotten() throws {
    let fixture = try GateFixture()
    try fixture.addUser("ann")
    let office = AccessOffice(
      store: fixture.service.operations.store, keys: try fixture.directory.loadKeys())
    var keys: [KeyHash] = []
    for index in 0..<AccessLimits.pcsPerAccount + 3 {
      let key = try PrivateKey.generate()
      let csr = try CertificateRequest(key: key, commonName: "x").pem
      let login = ControlMessage.Login(user: "ann", password: GateFixture.password, csr: csr, pc: "pc\(index)")
      guard case .granted(_, key.keyHash, .user("ann", pc: "pc\(index)")) = office.login(login) else {
        Issue.record("not granted")
        return
      }
      keys.append(key.keyHash)
    }
    #expect(fixture.state.accounts["ann"]?.pcs.map(\.key) == keys.suffix(AccessLimits.pcsPerAccount))
  }

  @Test func namesThatAreRememberedAreBounded() {
    var throttle = LoginThrottle()
    for index in 0..<3 * LoginThrottle.limit {
      let now = start + .milliseconds(Int64(index))
      throttle.failed(["host:\(index)"], now: now)
      #expect(throttle.count <= LoginThrottle.limit + 1)
      // Who keeps guessing stays known, however many others come.
      if index % 500 == 0 { for _ in 0..<LoginThrottle.free { throttle.failed(["host:guesser"], now: now) } }
    }
    let end = start + .milliseconds(Int64(3 * LoginThrottle.limit))
    #expect(throttle.wait(for: ["host:guesser"], now: end) != nil)
    #expect(throttle.count > LoginThrottle.limit / 4)
    // An hour later all is forgiven.
    throttle.failed(["host:guesser"], now: end + .seconds(3601))
    #expect(throttle.wait(for: ["host:guesser"], now: end + .seconds(3601)) == nil)
  }

  // MARK: The store

  /// What a version before had, as far as it may.
  @Test func recordsAreBounded() throws {
    let fixture = try GateFixture()
    let folder = RecordFolder<SiteRecord>(directory: fixture.directory.path, limit: 3)
    try AtomicFile.makeDirectory(folder.path)
    defer {
      for file in ["a", "b", "c", "d"] { unsafe unlink("\(folder.path)/\(file).json") }
      unsafe rmdir(folder.path)
    }
    for name in ["d", "c", "b", "a"] {
      try AtomicFile.write(
        Array("{\"name\":\"\(name)\",\"created\":0}".utf8), to: "\(folder.path)/\(name).json", permissions: 0o600,
        replacing: false)
    }
    #expect(folder.loadAll().entries.map(\.name) == ["a", "b", "c"])
  }

  @Test func aRecordsFileIsBounded() throws {
    let fixture = try GateFixture()
    let folder = RecordFolder<SiteRecord>(directory: fixture.directory.path)
    try AtomicFile.makeDirectory(folder.path)
    let path = "\(folder.path)/big.json"
    defer {
      unsafe unlink(path)
      unsafe rmdir(folder.path)
    }
    let text = #"{"name":"big","created":0,"padding":"\#(String(repeating: "x", count: GateLimits.recordBytes))"}"#
    try AtomicFile.write(Array(text.utf8), to: path, permissions: 0o600, replacing: true)
    let (entries, problems) = folder.loadAll()
    #expect(entries.isEmpty && problems.count == 1)
    guard case .failed(let error) = problems.first else {
      Issue.record("\(problems)")
      return
    }
    #expect(error.kind == .system(EFBIG))
  }
}
