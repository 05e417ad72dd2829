import Control
import Crypto
import Kernel
import Primitives
import Proxy
import Service
import Testing

@testable import SiteManager

@Suite struct EnrollTests {
  private static let enrolling: FakeGate.Answer = { issuer, message in
    guard case .enroll(let request) = message else { return .failure(.init(.malformed, "expected enroll")) }
    guard request.secret.count == EnrolmentCode.secretSize else { return .failure(.init(.codeUnknown, "unknown")) }
    return .enrolled(
      .init(
        certificate: try issuer.certificate(for: request.csr, named: request.name),
        caCertificate: issuer.authority.pem, grantKey: issuer.grantKey.publicKey, name: request.name))
  }

  private func enroll(
    _ directory: borrowing TemporaryDirectory, at address: String, code: String, _ more: String...
  ) throws {
    let arguments = ["--directory", directory.state.path, "--gate", address, "--name", "plant", "--code", code]
    let command = try Enroll.parse(arguments + more)
    try command.run()
  }

  private func failure(_ body: () throws -> Void) -> CommandFailure? {
    do {
      try body()
      return nil
    } catch {
      return error as? CommandFailure
    }
  }

  @Test func bindsTheSite() throws {
    let gate = try FakeGate(Self.enrolling)
    defer { gate.end() }
    let directory = try TemporaryDirectory()
    let code = try EnrolmentCode(gateKey: gate.identity.keyHash)
    try enroll(directory, at: gate.address, code: code.text.lowercased())

    let binding = try #require(try SiteBinding.load(from: directory.state))
    #expect(binding.name == "plant")
    #expect(binding.grantKey == gate.grantKey.publicKey)
    #expect(try binding.gate.server() == GateServer(HostPort(gate.endpoint), pin: .key(gate.identity.keyHash)))
    let key = try directory.state.key()
    #expect(try binding.gate.credentials(with: key).certificate.isIssued(by: gate.authority))
    #expect(directory.mode(of: StateDirectory.keyName) == 0o600)
    #expect(directory.mode(of: SiteBinding.fileName) == 0o600)

    // Bound is bound, until somebody says otherwise; the key stays.
    let again = failure { try enroll(directory, at: gate.address, code: code.text) }
    #expect(again?.exitCode == .usage)
    try enroll(directory, at: gate.address, code: code.text, "--replace")
    #expect(try directory.state.key().keyHash == key.keyHash)
  }

  /// The way out that the error names.
  @Test func replacesABindingThatCantBeRead() throws {
    let gate = try FakeGate(Self.enrolling)
    defer { gate.end() }
    let directory = try TemporaryDirectory()
    try directory.state.create()
    let path = directory.state.path(of: SiteBinding.fileName)
    try AtomicFile.write(Array("{\n".utf8), to: path, permissions: 0o600, replacing: true)
    let code = try EnrolmentCode(gateKey: gate.identity.keyHash)
    let broken = failure { try enroll(directory, at: gate.address, code: code.text) }
    #expect(broken?.exitCode == .configuration && broken?.description.hasPrefix("\(path):2: ends where") == true)
    #expect(broken?.description.contains("run `sitemanager enroll --replace` with a new code") == true)
    try enroll(directory, at: gate.address, code: code.text, "--replace")
    #expect(try SiteBinding.load(from: directory.state)?.name == "plant")
  }

  @Test func tellsAnotherServerNothing() throws {
    let gate = try FakeGate { _, _ in
      Issue.record("a secret was told")
      return .failure(.init(.internalError, ""))
    }
    defer { gate.end() }
    let directory = try TemporaryDirectory()
    let code = try EnrolmentCode(gateKey: PrivateKey.generate().keyHash)
    let refused = failure { try enroll(directory, at: gate.address, code: code.text) }
    #expect(refused?.exitCode == .notPermitted)
    #expect(!directory.state.contains(StateDirectory.keyName))
  }

  @Test func reportsARefusedCode() throws {
    let gate = try FakeGate { _, _ in .failure(.init(.codeExpired, "the code has expired")) }
    defer { gate.end() }
    let directory = try TemporaryDirectory()
    let code = try EnrolmentCode(gateKey: gate.identity.keyHash)
    let refused = failure { try enroll(directory, at: gate.address, code: code.text) }
    #expect(refused?.exitCode == .notPermitted)
    #expect(refused?.description.contains("the code has expired") == true)
    #expect(!directory.state.contains(SiteBinding.fileName))
  }

  @Test func refusesACertificateForAnotherKey() throws {
    let gate = try FakeGate { issuer, _ in
      let other = try CertificateRequest(key: PrivateKey.generate(), commonName: "other")
      return .enrolled(
        .init(
          certificate: try issuer.certificate(for: other.pem, named: "other"), caCertificate: issuer.authority.pem,
          grantKey: issuer.grantKey.publicKey, name: "plant"))
    }
    defer { gate.end() }
    let directory = try TemporaryDirectory()
    let code = try EnrolmentCode(gateKey: gate.identity.keyHash)
    let refused = failure { try enroll(directory, at: gate.address, code: code.text) }
    #expect(refused?.exitCode == .data)
    #expect(!directory.state.contains(SiteBinding.fileName))
  }

  @Test func namesWhatIsWrongWithTheArguments() throws {
    let directory = try TemporaryDirectory()
    let code = try EnrolmentCode(gateKey: PrivateKey.generate().keyHash).text
    let typo = failure { try enroll(directory, at: "gm.example", code: String(code.dropLast()) + "!") }
    #expect(typo?.exitCode == .usage && typo?.description.hasPrefix("--code: ") == true)
    let place = failure { try enroll(directory, at: "gm example", code: code) }
    #expect(place?.exitCode == .usage && place?.description.hasPrefix("--gate: ") == true)
    let proxy = failure { try enroll(directory, at: "gm.example", code: code, "--proxy", "socks://x") }
    #expect(proxy?.exitCode == .usage && proxy?.description.hasPrefix("--proxy: ") == true)
    let gate = try FakeGate(Self.enrolling)
    gate.end()
    let nobody = failure { try enroll(directory, at: gate.address, code: code) }
    #expect(nobody?.exitCode == .unavailable)
  }
}
