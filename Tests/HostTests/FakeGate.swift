import Control
import Crypto
import Glibc
import Kernel
import Primitives
import Proxy
import Service

/// A GateManager of a few lines on 127.0.0.1: an authority, a key, and one answer to each request.
final class FakeGate: Sendable {
  let identity: Identity
  let authority: Certificate
  let grantKey: PrivateKey
  let endpoint: Endpoint
  private let authorityKey: PrivateKey
  private let stop: Cancellation
  private let thread: Thread

  typealias Answer = @Sendable (FakeGate.Issuer, ControlMessage) throws -> ControlMessage

  /// Issues certificates as a GateManager does.
  struct Issuer: Sendable {
    let authority: Certificate
    let key: PrivateKey
    let grantKey: PrivateKey

    func certificate(for csr: String, named name: String) throws -> String {
      let request = try CertificateRequest(pem: csr)
      let profile = CertificateProfile(commonName: name, usage: .peer, now: Clock.unixSeconds)
      return try authority.issue(profile, for: request.publicKey, key: key).pem
    }
  }

  /// - Parameters:
  ///   - key: of the server; a fresh one if there is none.
  ///   - alpn: what it speaks.
  ///   - answer: to what comes after hello.
  init(
    key: PrivateKey? = nil, at endpoint: Endpoint? = nil, alpn: String = ControlProtocol.alpn,
    _ answer: @escaping Answer
  ) throws {
    SignalDescriptor.ignoreBrokenPipes()
    let now = Clock.unixSeconds
    authorityKey = try PrivateKey.generate()
    authority = try Certificate.selfSigned(
      CertificateProfile(commonName: "authority", usage: .authority, now: now), key: authorityKey)
    let serverKey = try key ?? PrivateKey.generate()
    identity = try Identity(
      key: serverKey,
      certificate: .selfSigned(CertificateProfile(commonName: "gm", usage: .peer, now: now), key: serverKey))
    grantKey = try PrivateKey.generate()
    stop = try Cancellation()
    let listener = try Socket.listen(on: endpoint ?? Endpoint(IPAddress(127, 0, 0, 1), 0))
    self.endpoint = Socket.localEndpoint(listener)!
    let context = try TLSContext(
      .server, credentials: identity.credentials, peer: .requested, alpn: [alpn])
    let issuer = Issuer(authority: authority, key: authorityKey, grantKey: grantKey)
    let fd = listener.release()
    let stop = stop
    thread = try Thread(name: "gate") {
      let listener = OwnedDescriptor(owning: fd)
      while (try? listener.wait(for: .readable, until: Clock.now + .seconds(30), cancel: stop)) != nil {
        guard let socket = try? Socket.accept(from: listener) else { continue }
        try? Self.serve(socket, context, issuer, answer)
      }
    }
  }

  var address: String { endpoint.description }

  func end() {
    stop.cancel()
    thread.join()
  }

  private static func serve(
    _ socket: borrowing OwnedDescriptor, _ context: TLSContext, _ issuer: Issuer, _ answer: Answer
  ) throws {
    try socket.setNonblocking(false)
    var tls = try TLSConnection(context, descriptor: socket.rawValue)
    guard try tls.handshake() == .done else { return }
    var decoder = MessageDecoder()
    var buffer = [UInt8](repeating: 0, count: 4096)
    while true {
      var bytes = buffer.mutableSpan
      guard case .bytes(let count) = try tls.read(into: &bytes) else { return }
      try decoder.receive(buffer.span.extracting(0..<count))
      while let envelope = try decoder.next() {
        let message: ControlMessage
        if case .hello = envelope.message {
          message = .welcome(.init(gate: "gm", heartbeatSeconds: 20, serverTime: Clock.unixSeconds))
        } else {
          message = try answer(issuer, envelope.message)
        }
        let reply = try ControlEnvelope(message, request: envelope.request).encoded()
        _ = try tls.write(reply.span)
      }
    }
  }
}

/// A directory for one test.
struct TemporaryDirectory: ~Copyable {
  let path: String

  init() throws {
    let name = "/tmp/relayvpn-test-\(Hex.encode(try Random.bytes(8)))"
    try AtomicFile.makeDirectory(name)
    path = name
  }

  /// The state directory of a host, which isn't there yet.
  var state: StateDirectory { StateDirectory("\(path)/state") }

  func write(_ text: String, to name: String) throws -> String {
    let file = "\(path)/\(name)"
    try AtomicFile.write(Array(text.utf8), to: file, permissions: 0o600, replacing: true)
    return file
  }

  func mode(of name: String) -> mode_t {
    var status = stat()
    return unsafe lstat(state.path(of: name), &status) == 0 ? status.st_mode & 0o777 : 0
  }

  deinit {
    for name in [
      "state/key.pem", "state/binding.json", "state/account.json", "state/wanted-sites.json", "password",
      "state/remote.json", "code",
    ] {
      unsafe unlink("\(path)/\(name)")
    }
    unsafe rmdir("\(path)/state")
    unsafe rmdir(path)
  }
}
