import Control
import Crypto
import Kernel
import Primitives
import Proxy
import Service
import Testing

@testable import LinkManager

@Suite struct LoginTests {
  private static let welcoming: FakeGate.Answer = { issuer, message in
    guard case .login(let login) = message else { return .failure(.init(.malformed, "expected login")) }
    guard login.user == "ann", login.password == "correct Horse 7" else {
      return .failure(.init(.badCredentials, "wrong user or password", retryAfter: 2))
    }
    return .loggedIn(
      .init(
        certificate: try issuer.certificate(for: login.csr, named: login.user), caCertificate: issuer.authority.pem,
        user: login.user, expires: 2_000_000_000))
  }

  private func login(
    _ directory: borrowing TemporaryDirectory, at address: String, password: String = "correct Horse 7\n",
    _ more: String...
  ) throws {
    let password = try directory.write(password, to: "password")
    var arguments = ["--directory", directory.state.path, "--gate", address, "--user", "ann", "--pc", "bench"]
    if !more.contains("--password-file") { arguments += ["--password-file", password] }
    let command = try Login.parse(arguments + more)
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

  @Test func trustsOnFirstUseAndThenOnlyThatKey() throws {
    let gate = try FakeGate(Self.welcoming)
    let directory = try TemporaryDirectory()
    try login(directory, at: gate.address, "--yes")
    let account = try #require(try Account.load(from: directory.state))
    #expect(account.user == "ann" && account.pc == "bench" && account.expires == 2_000_000_000)
    #expect(account.gate.key == gate.identity.keyHash)
    let key = try directory.state.key()
    #expect(try account.gate.credentials(with: key).key.keyHash == key.keyHash)
    #expect(directory.mode(of: Account.fileName) == 0o600)
    // No question any more.
    try login(directory, at: gate.address)
    gate.end()

    let other = try FakeGate(at: gate.endpoint, Self.welcoming)
    defer { other.end() }
    let changed = failure { try login(directory, at: other.address, "--yes") }
    #expect(changed?.exitCode == .notPermitted)
    #expect(try Account.load(from: directory.state)?.gate.key == gate.identity.keyHash)
    try login(directory, at: other.address, "--gate-key", other.identity.keyHash.description)
    #expect(try Account.load(from: directory.state)?.gate.key == other.identity.keyHash)
  }

  @Test func comparesTheKeyThatItIsGiven() throws {
    let gate = try FakeGate { _, _ in
      Issue.record("a password was told")
      return .failure(.init(.internalError, ""))
    }
    defer { gate.end() }
    let directory = try TemporaryDirectory()
    let stranger = try PrivateKey.generate().keyHash
    let refused = failure { try login(directory, at: gate.address, "--gate-key", stranger.description, "--yes") }
    #expect(refused?.exitCode == .notPermitted)
    #expect(!directory.state.contains(Account.fileName))
  }

  @Test func reportsAWrongPassword() throws {
    let gate = try FakeGate(Self.welcoming)
    defer { gate.end() }
    let directory = try TemporaryDirectory()
    let refused = failure { try login(directory, at: gate.address, password: "something else", "--yes") }
    #expect(refused?.exitCode == .notPermitted)
    #expect(refused?.description.hasSuffix("wrong user or password. Try again in 2 s") == true)
    #expect(!directory.state.contains(Account.fileName))
  }

  /// From a file, where nobody can be asked: it stands in no process list.
  @Test func tellsAOneTimeCode() throws {
    let gate = try FakeGate { issuer, message in
      guard case .login(let login) = message else { return .failure(.init(.malformed, "expected login")) }
      guard let code = login.code else { return .failure(.init(.oneTimeCodeRequired, "a one-time code is asked for")) }
      guard code == "123456" else { return .failure(.init(.badOneTimeCode, "the one-time code is wrong")) }
      return try Self.welcoming(issuer, message)
    }
    defer { gate.end() }
    let directory = try TemporaryDirectory()
    let missing = failure { try login(directory, at: gate.address, "--yes") }
    #expect(missing?.exitCode == .notPermitted && missing?.description.contains("one-time code") == true)
    for (text, outcome) in [("999999\n", ExitCode.notPermitted), ("\n", .usage), ("123456\r\n", nil)] {
      let file = try directory.write(text, to: "code")
      #expect(failure { try login(directory, at: gate.address, "--yes", "--code-file", file) }?.exitCode == outcome)
    }
    let message = ControlMessage.login(.init(user: "u", password: "geheim", csr: "", pc: "", code: "123456"))
    #expect(!"\(message)".contains("123456"))
  }

  @Test func saysWhichSideIsOlder() throws {
    let directory = try TemporaryDirectory()
    let later = try FakeGate(alpn: "relayvpn-control/2") { _, _ in .attached }
    let alert = failure { try login(directory, at: later.address, "--yes") }
    #expect(alert?.exitCode == .software)
    #expect(alert?.description.contains("this program is too old and has to be updated") == true)
    later.end()
    let text = "linkmanager/0.1.0 speaks version 1 of the protocol, and this GateManager 2: it is too old"
    let refusing = try FakeGate { _, _ in .failure(.init(.versionIncompatible, text)) }
    let refused = failure { try login(directory, at: refusing.address, "--yes") }
    #expect(refused?.exitCode == .software && refused?.description == "the GateManager refused: \(text)")
    #expect(!directory.state.contains(Account.fileName))
    refusing.end()
  }

  /// The account in which the GateManager's key is pinned can't be read: nothing is trusted anew unasked.
  @Test func anAccountThatIsBrokenIsNotPassedOver() throws {
    let directory = try TemporaryDirectory()
    try directory.state.create()
    try AtomicFile.write(
      Array("{".utf8), to: directory.state.path(of: Account.fileName), permissions: 0o600, replacing: true)
    let gate = try FakeGate { _, _ in
      Issue.record("a password was told")
      return .failure(.init(.internalError, ""))
    }
    defer { gate.end() }
    let refused = failure { try login(directory, at: gate.address, "--yes") }
    #expect(refused?.exitCode == .configuration)
    #expect(refused?.description.contains("move it away and run `linkmanager login` again") == true)
  }

  @Test func namesWhatIsWrongWithTheArguments() throws {
    let directory = try TemporaryDirectory()
    let key = failure { try login(directory, at: "gm.example", "--gate-key", "sha256:12") }
    #expect(key?.exitCode == .usage && key?.description.hasPrefix("--gate-key: ") == true)
    let gate = try FakeGate(Self.welcoming)
    defer { gate.end() }
    let file = failure { try login(directory, at: gate.address, "--yes", "--password-file", "/nowhere/at/all") }
    #expect(file?.exitCode == .system)
    #expect(file?.description.contains("/nowhere/at/all") == true)
  }

  @Test func namesThisPC() {
    #expect(!Login.hostName.isEmpty)
    #expect(Login.hostName.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7F })
  }
}
