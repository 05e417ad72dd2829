import Access
import Control
import Crypto
import Glibc
import Kernel
import Logging
import Primitives
import Proxy
import Service
import Synchronization
import Testing

@testable import GateManager

/// A GateManager in this process, on a free port, in a directory that goes with it.
final class GateFixture: Sendable {
  let directory: GateDirectory
  let service: GateService
  let pin: KeyHash
  let address: HostPort
  let log = LogRecorder()

  /// - Parameter configure: sets what is to differ from the defaults.
  init(grantHours: Int = 8, _ configure: (inout FrontOptions) -> Void = { _ in }) throws {
    SignalDescriptor.ignoreBrokenPipes()
    var template = Array("/tmp/gate-XXXXXX".utf8CString)
    let made = unsafe template.withUnsafeMutableBufferPointer { unsafe $0.baseAddress.flatMap { unsafe mkdtemp($0) } }
    directory = GateDirectory(try unsafe String(cString: #require(made)))
    pin = try directory.create(name: "gm.test")
    let log = log
    var logger = Logger(label: "gate") { _ in log.handler }
    logger.logLevel = .info
    var options = FrontOptions(listen: Endpoint(IPAddress(127, 0, 0, 1), 0), grantHours: grantHours, relayThreads: 1)
    configure(&options)
    service = try GateService(directory: directory, options: options, logger: logger)
    address = HostPort(service.endpoint)
  }

  deinit {
    service.stop()
    for file in entries(of: directory.path) { unsafe unlink("\(directory.path)/\(file)") }
    unsafe rmdir(directory.path)
  }

  private func entries(of folder: String) -> [String] {
    guard let open = unsafe opendir(folder) else { return [] }
    defer { unsafe closedir(open) }
    var names: [String] = []
    while let entry = unsafe readdir(open) {
      names.append(
        unsafe withUnsafePointer(to: entry.pointee.d_name) {
          unsafe String(cString: UnsafeRawPointer($0).assumingMemoryBound(to: CChar.self))
        })
    }
    return names
  }

  var server: GateServer { GateServer(address, pin: .key(pin)) }

  static let password = "Correct-Horse-7"

  var state: AccessState { service.operations.store.state }

  /// What a command would do.
  @discardableResult func perform(_ operation: Access.Operation) throws -> OperationAnswer {
    try service.operations.perform(operation, by: .host, time: Clock.unixMicroseconds)
  }

  /// Changes the store past all operations. The front hears of it with the next change.
  func change(_ change: AccessChange) throws {
    _ = try service.operations.store.transaction(time: 0) { _ throws(Never) in ([change], [], ()) }
  }

  func audit() throws -> [AuditEntry] {
    try service.operations.store.audit(after: 0, limit: 1000)
  }

  func addUser(_ name: String) throws {
    try perform(.addAccount(.init(name: name, domain: .root, password: Self.password, reachesAll: true)))
  }

  /// Makes a site's code.
  func addSite(_ name: String, expires: Int64 = Clock.unixSeconds + 60) throws -> EnrolmentCode {
    let code = try EnrolmentCode(gateKey: pin)
    let enrolment = AccessSite.Enrolment(
      secretHash: Hex.encode(try EnrolmentCode.hash(secret: code.secret).bytes), expires: expires)
    try change(.putSite(AccessSite(name: name, domain: .root, created: 0, enrolment: enrolment)))
    return code
  }

  func request(
    _ message: ControlMessage, as role: Role, _ credentials: TLSContext.Credentials? = nil
  ) throws(GateError) -> ControlMessage {
    try ControlExchange.request(
      message, of: server, hello: .init(role: role, name: "test", software: "test"), credentials: credentials,
      until: Clock.now + .seconds(20))
  }

  func login(
    _ user: String, password: String = GateFixture.password, code: String? = nil
  ) throws -> TLSContext.Credentials {
    let key = try PrivateKey.generate()
    let csr = try CertificateRequest(key: key, commonName: "anything")
    let answer = try request(
      .login(.init(user: user, password: password, csr: csr.pem, pc: "pc-1", code: code)), as: .linkManager)
    guard case .loggedIn(let body) = answer else { throw Unexpected(message: answer) }
    return TLSContext.Credentials(try Certificate(pem: body.certificate), key: key)
  }

  func enroll(_ code: EnrolmentCode, name: String) throws -> (TLSContext.Credentials, ControlMessage.Enrolled) {
    let key = try PrivateKey.generate()
    let csr = try CertificateRequest(key: key, commonName: name)
    let answer = try request(.enroll(.init(secret: code.secret, csr: csr.pem, name: name)), as: .siteManager)
    guard case .enrolled(let body) = answer else { throw Unexpected(message: answer) }
    return (TLSContext.Credentials(try Certificate(pem: body.certificate), key: key), body)
  }

  /// Waits for something to become true in the status.
  func eventually(_ condition: (StatusReport) -> Bool) -> Bool {
    for _ in 0..<200 {
      if let report = service.status(), condition(report) { return true }
      usleep(25_000)
    }
    return false
  }
}

/// Keeps the lines of a log, each as its level, message and metadata.
final class LogRecorder: Sendable {
  private let kept = Mutex<[String]>([])

  private struct Handler: LogHandler {
    let recorder: LogRecorder
    var logLevel = Logger.Level.info
    var metadata: Logger.Metadata = [:]

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
      get { metadata[key] }
      set { metadata[key] = newValue }
    }

    func log(event: LogEvent) {
      let all = metadata.merging(event.metadata ?? [:]) { $1 }.sorted { $0.key < $1.key }
      let line = "\(event.level) \(event.message) " + all.map { "\($0.key)=\($0.value)" }.joined(separator: " ")
      recorder.kept.withLock { $0.append(line) }
    }
  }

  var handler: any LogHandler { Handler(recorder: self) }

  /// The lines that hold all of these.
  func lines(_ parts: String...) -> [String] {
    kept.withLock { $0.filter { line in parts.allSatisfy { line.contains($0) } } }
  }

  /// Waits for such a line.
  func told(_ parts: String...) -> Bool {
    for _ in 0..<400 {
      if kept.withLock({ $0.contains { line in parts.allSatisfy { line.contains($0) } } }) { return true }
      usleep(25_000)
    }
    return false
  }

  var all: String { kept.withLock { $0.joined(separator: "\n") } }
}

struct Unexpected: Error {
  let message: ControlMessage
}

/// A control connection whose messages can be waited for.
final class TestPeer: Sendable {
  private let client: ControlClient
  private let inbox: Inbox

  private final class Inbox: Sendable {
    let events = Mutex<[ControlClientEvent]>([])
  }

  init(_ fixture: GateFixture, _ role: Role, _ credentials: TLSContext.Credentials) throws {
    let inbox = Inbox()
    self.inbox = inbox
    client = try ControlClient(
      to: fixture.server, credentials: credentials, hello: .init(role: role, name: "test", software: "test")
    ) { event in inbox.events.withLock { $0.append(event) } }
    _ = try wait { if case .connected = $0 { true } else { nil } }
  }

  func send(_ message: ControlMessage, request: UInt64? = nil) throws { try client.send(message, request: request) }

  func stop() { client.stop() }

  /// The first event that fits, within some seconds; all before it are dropped.
  func wait<Value>(_ match: (ControlClientEvent) -> Value?) throws -> Value {
    for _ in 0..<2000 {
      let found = inbox.events.withLock { events -> Value? in
        for (index, event) in events.enumerated() {
          guard let value = match(event) else { continue }
          events.removeFirst(index + 1)
          return value
        }
        return nil
      }
      if let found { return found }
      usleep(5000)
    }
    throw SystemError(call: "wait", code: ETIMEDOUT)
  }

  func message<Value>(_ match: (ControlMessage) -> Value?) throws -> Value {
    try wait { if case .message(let envelope) = $0 { match(envelope.message) } else { nil } }
  }

  func disconnected() throws -> GateError {
    try wait { if case .disconnected(let error, _) = $0 { error } else { nil } }
  }
}
