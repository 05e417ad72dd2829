import Access
import Control
import Crypto
import Kernel
import Proxy
import Service
import Synchronization
import Testing

@testable import GateManager

/// The second factor of a login, through the open port.
@Suite(.serialized, .timeLimit(.minutes(2))) struct OneTimeCodeTests {
  private final class Wins: Sendable {
    let won = Atomic(0)
    let lost = Atomic(0)
  }

  private func failure(_ body: () throws -> Void) -> ControlMessage.Failure? {
    do {
      try body()
    } catch GateError.refused(let failure) {
      return failure
    } catch {
      Issue.record("\(error)")
    }
    return nil
  }

  private func secret(of name: String, _ fixture: GateFixture) throws -> OneTimeSecret {
    try #require(fixture.state.accounts[name]?.oneTimeCode?.secret)
  }

  /// The code of the present step, or one so many later.
  private func code(_ secret: OneTimeSecret, _ later: Int64 = 0) throws -> String {
    try secret.code(step: OneTimeSecret.step(at: Clock.unixSeconds) + later)
  }

  @Test func aCodeIsNeededAndUsedUp() throws {
    let fixture = try GateFixture()
    try fixture.addUser("ann")
    guard case .oneTimeSecret(let uri) = try fixture.perform(.enrolOneTimeCode("ann")) else {
      Issue.record("no secret")
      return
    }
    let secret = try secret(of: "ann", fixture)
    #expect(uri == secret.uri(issuer: "gm.test", account: "ann"))
    let missing = failure { _ = try fixture.login("ann") }
    #expect(missing?.code == .oneTimeCodeRequired && missing?.message.contains("--code-file") == true)
    // Nobody learns by it whether a password is right, but who knows it.
    #expect(failure { _ = try fixture.login("ann", password: "wrong") }?.code == .badCredentials)
    let valid = try code(secret)
    #expect(failure { _ = try fixture.login("ann", password: "wrong", code: valid) }?.code == .badCredentials)
    _ = try fixture.login("ann", code: valid)
    // Once: not here again, and not after a restart.
    let used = failure { _ = try fixture.login("ann", code: valid) }
    #expect(used?.code == .badOneTimeCode)
    let keys = try fixture.directory.loadKeys()
    let restarted = AccessOffice(store: try fixture.directory.openStore(keys), keys: keys)
    let request = try CertificateRequest(key: PrivateKey.generate(), commonName: "x")
    let again = restarted.login(
      .init(user: "ann", password: GateFixture.password, csr: request.pem, pc: "pc", code: valid))
    guard case .refused(.badOneTimeCode, _) = again else {
      Issue.record("\(again)")
      return
    }
    // The next one is good, and none before it from then on.
    _ = try fixture.login("ann", code: try code(secret, 1))
    #expect(failure { _ = try fixture.login("ann", code: valid) }?.code == .badOneTimeCode)
    // Without one, the password is enough again; another secret has other codes.
    try fixture.perform(.removeOneTimeCode("ann"))
    _ = try fixture.login("ann")
    try fixture.perform(.enrolOneTimeCode("ann"))
    #expect(try self.secret(of: "ann", fixture) != secret)
    #expect(throws: OperationError.unknown("account", "bob")) { try fixture.perform(.enrolOneTimeCode("bob")) }
    fixture.service.stop()
    let events = try fixture.audit().map(\.event)
    let reasons = events.filter { $0.kind == .refusal && $0.operation == "login" }.compactMap(\.reason)
    #expect(
      reasons == [
        "no one-time code", "wrong password", "wrong password", "a used one-time code", "a used one-time code",
        "a used one-time code",
      ])
    let text = "\(try fixture.audit())"
    #expect(events.contains { $0.operation == "enrolOneTimeCode" && $0.object == "account ann" })
    #expect(!text.contains("otpauth") && !text.contains(Base32.encode(secret.bytes)))
    #expect(!fixture.log.all.contains(valid))
  }

  /// By role, in a domain and below: who has none can't log in.
  @Test func aDomainRequiresThem() throws {
    let fixture = try GateFixture()
    let (acme, line) = (DomainPath("ROOT.Acme")!, DomainPath("ROOT.Acme.Line1")!)
    for path in [acme, line] { try fixture.perform(.addDomain(path)) }
    for (name, role) in [("ann", AccountRole.linkUser), ("bob", .domainAdministrator)] {
      try fixture.perform(.addAccount(.init(name: name, domain: line, role: role, password: GateFixture.password)))
    }
    try fixture.perform(.requireOneTimeCode(acme, .domainAdministrator, true))
    guard case .domains(let domains) = try fixture.perform(.listDomains),
      case .accounts(let accounts) = try fixture.perform(.listAccounts)
    else { return }
    #expect(domains.map(\.codeRoles) == [[], [.domainAdministrator], [.domainAdministrator]])
    #expect(accounts.map(\.requiresOneTimeCode) == [false, true] && accounts.allSatisfy { !$0.hasOneTimeCode })
    _ = try fixture.login("ann")
    let none = failure { _ = try fixture.login("bob") }
    #expect(none?.code == .notPermitted && none?.message.contains("gatemanager account totp") == true)
    // A code of one's own making is none.
    #expect(failure { _ = try fixture.login("bob", code: "123456") }?.code == .notPermitted)
    try fixture.perform(.enrolOneTimeCode("bob"))
    #expect(failure { _ = try fixture.login("bob") }?.code == .oneTimeCodeRequired)
    _ = try fixture.login("bob", code: code(secret(of: "bob", fixture)))
    // Whoever's secret is taken away can't log in by that.
    try fixture.perform(.removeOneTimeCode("bob"))
    #expect(failure { _ = try fixture.login("bob") }?.code == .notPermitted)
    try fixture.perform(.requireOneTimeCode(acme, .domainAdministrator, false))
    _ = try fixture.login("bob")
  }

  /// Six digits can be guessed by whoever knows the password: by account, from wherever it comes, it gets slower.
  @Test func guessingCodesGetsSlower() throws {
    let fixture = try GateFixture()
    try fixture.addUser("ann")
    try fixture.perform(.enrolOneTimeCode("ann"))
    let secret = try secret(of: "ann", fixture)
    let valid = try (-1...1).map { try code(secret, $0) }
    // A wrong password says nothing about the code: only address and name count.
    #expect(failure { _ = try fixture.login("ann", password: "wrong", code: "000000") }?.code == .badCredentials)
    #expect(fixture.service.status()?.throttled == 2)
    let wrong = (0..<9).map { "00000\($0)" }.filter { !valid.contains($0) }
    for code in wrong.prefix(4) {
      #expect(failure { _ = try fixture.login("ann", code: code) }?.code == .badOneTimeCode)
    }
    #expect(fixture.service.status()?.throttled == 3)
    let slowed = failure { _ = try fixture.login("ann", code: try code(secret)) }
    #expect(slowed?.code == .tooManyAttempts && slowed?.retryAfter != nil)
    let refusals = try #require(fixture.service.status()).refusals
    #expect(refusals["badOneTimeCode"] == 4 && refusals["throttled"] == 1)
  }

  /// Many logins with one code at once, by several processes: one wins.
  @Test func aCodeHasOneWinner() throws {
    let fixture = try GateFixture()
    try fixture.addUser("ann")
    try fixture.perform(.enrolOneTimeCode("ann"))
    let valid = try code(secret(of: "ann", fixture))
    let keys = try fixture.directory.loadKeys()
    let wins = Wins()
    let threads = try (0..<6).map { _ in
      let office = AccessOffice(store: try fixture.directory.openStore(keys), keys: keys)
      return try Kernel.Thread(name: "login") {
        for _ in 0..<3 {
          guard let request = try? CertificateRequest(key: PrivateKey.generate(), commonName: "x") else { return }
          let outcome = office.login(
            .init(user: "ann", password: GateFixture.password, csr: request.pem, pc: "pc", code: valid))
          switch outcome {
          case .granted: wins.won.add(1, ordering: .relaxed)
          case .refused(.badOneTimeCode, _): wins.lost.add(1, ordering: .relaxed)
          case .refused(let reason, _): Issue.record("\(reason)")
          }
        }
      }
    }
    for thread in threads { thread.join() }
    #expect(wins.won.load(ordering: .relaxed) == 1 && wins.lost.load(ordering: .relaxed) == 17)
  }
}
