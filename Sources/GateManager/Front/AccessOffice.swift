import Access
import Control
import Crypto
import Kernel
import Logging
import Service

/// Decides about logins and enrolments. Blocks for some 100 ms.
struct AccessOffice: Sendable {
  let store: AccessStore
  let keys: GateDirectory.Keys

  func login(_ body: ControlMessage.Login, address: String = "") -> AccessWorker.Outcome {
    var event = AuditEvent(.login, account: body.user)
    event.address = address
    do {
      // An unknown user costs the same time as a known one, so that the time doesn't tell which there are.
      guard AccessName.isValid(body.user), let account = store.state.accounts[body.user] else {
        try PasswordHash.verifyNobody(body.password)
        return refuse(event, "unknown account", Self.badCredentials)
      }
      guard let hash = PasswordHash(account.password) else {
        throw AccessStoreError.malformed("the password's hash of account \(account.name)")
      }
      guard try hash.verify(body.password) else { return refuse(event, "wrong password", Self.badCredentials) }
      let needsCode = account.oneTimeCode != nil || store.state.requiresOneTimeCode(account)
      if needsCode, account.oneTimeCode == nil { return refuse(event, "no one-time codes enrolled", Self.notEnrolled) }
      if needsCode, body.code == nil { return refuse(event, "no one-time code", Self.codeRequired) }
      guard let request = try? CertificateRequest(pem: body.csr) else {
        return refuse(event, "a bad certificate request", Self.badRequest)
      }
      let pc = EscapedText(body.pc, limit: 64).description.prefix(bytes: 64)
      let key = request.publicKey.keyHash
      event.pc = pc
      event.key = "\(key)"
      let certificate = try issue(account.name, "LinkManager", request.publicKey)
      let granted = event
      let result = try store.transaction(time: Clock.unixMicroseconds) { (state) throws(LoginRefusal) in
        // Once more, by what is true now.
        guard var account = state.accounts[account.name], account.password == "\(hash)" else {
          throw LoginRefusal(reason: "the account has changed meanwhile")
        }
        guard account.isValid(at: Clock.unixSeconds) else { throw LoginRefusal(reason: "the account isn't in use") }
        if case .account(account.name, _)? = state.keys[key] {
        } else if state.keys[key] != nil {
          // One key is one identity: nobody may take over a key that is registered for somebody else.
          throw LoginRefusal(reason: "the key is somebody else's", Self.badRequest)
        }
        // Used up with the login that it is for, in one transaction: two at once can't both have it.
        if account.oneTimeCode != nil || state.requiresOneTimeCode(account) {
          let used = try Self.step(of: body.code, account.oneTimeCode)
          account.oneTimeCode?.used = used
        }
        account.pcs.removeAll { $0.key == key }
        account.pcs.append(.init(key: key, name: pc, since: Clock.unixSeconds))
        account.pcs.removeFirst(max(0, account.pcs.count - AccessLimits.pcsPerAccount))
        return ([.putAccount(account)], [granted], ())
      }
      if case .failure(let refusal) = result {
        return refuse(event, refusal.reason, refusal.outcome)
      }
      let answer = ControlMessage.LoggedIn(
        certificate: certificate.pem, caCertificate: keys.authority.certificate.pem, user: account.name)
      return .granted(.loggedIn(answer), key, .user(account.name, pc: pc))
    } catch {
      return Self.broken(error)
    }
  }

  /// The step that a code uses up.
  private static func step(of code: String?, _ enrolled: Account.OneTimeCode?) throws(LoginRefusal) -> Int64 {
    guard let enrolled else { throw LoginRefusal(reason: "no one-time codes enrolled", notEnrolled) }
    guard let code else { throw LoginRefusal(reason: "no one-time code", codeRequired) }
    let verdict: OneTimeSecret.Verdict
    do throws(CryptoError) {
      verdict = try enrolled.secret.judge(code, at: Clock.unixSeconds, used: enrolled.used)
    } catch {
      throw LoginRefusal(reason: "\(error)", badOneTimeCode)
    }
    switch verdict {
    case .valid(let step): return step
    case .used: throw LoginRefusal(reason: "a used one-time code", badOneTimeCode)
    case .wrong: throw LoginRefusal(reason: "a wrong one-time code", badOneTimeCode)
    }
  }

  func enroll(_ body: ControlMessage.Enroll, address: String = "") -> AccessWorker.Outcome {
    var event = AuditEvent(.enrolment)
    event.address = address
    do {
      let hash = Hex.encode(try EnrolmentCode.hash(secret: body.secret).bytes)
      guard let name = store.state.codes[hash] else { return refuse(event, "unknown or used code", Self.unknownCode) }
      event.site = name
      guard let request = try? CertificateRequest(pem: body.csr) else {
        return refuse(event, "a bad certificate request", Self.badRequest)
      }
      let key = request.publicKey.keyHash
      event.key = "\(key)"
      let certificate = try issue(name, "SiteManager", request.publicKey)
      let granted = event
      let result = try store.transaction(time: Clock.unixMicroseconds) { (state) throws(EnrolmentRefusal) in
        let now = Clock.unixSeconds
        guard state.codes[hash] == name, var site = state.sites[name], let enrolment = site.enrolment else {
          throw .unknownCode
        }
        guard now < enrolment.expires else { throw .expiredCode }
        if case .site(name)? = state.keys[key] {} else if state.keys[key] != nil { throw .foreignKey }
        site.enrolment = nil
        site.key = key
        site.enrolled = now
        return ([.putSite(site)], [granted], ())
      }
      switch result {
      case .failure(.unknownCode): return refuse(event, "unknown or used code", Self.unknownCode)
      case .failure(.expiredCode): return refuse(event, "expired code", Self.expiredCode)
      case .failure(.foreignKey): return refuse(event, "the key is somebody else's", Self.badRequest)
      case .success: break
      }
      let answer = ControlMessage.Enrolled(
        certificate: certificate.pem, caCertificate: keys.authority.certificate.pem,
        grantKey: keys.grantKey.publicKey, name: name)
      return .granted(.enrolled(answer), key, .site(name))
    } catch {
      return Self.broken(error)
    }
  }

  private func issue(_ name: String, _ unit: String, _ key: PublicKey) throws(CryptoError) -> Certificate {
    // A site's and a LinkManager's key also serves end to end, where one of the two is the TLS server.
    try keys.authority.certificate.issue(
      CertificateProfile(commonName: name, organizationalUnit: unit, usage: .peer, now: Clock.unixSeconds),
      for: key, key: keys.authority.key)
  }

  /// The audit says more than the one who is refused is told.
  private func refuse(
    _ event: AuditEvent, _ reason: String, _ outcome: AccessWorker.Outcome
  ) -> AccessWorker.Outcome {
    var event = event
    event.operation = event.kind.rawValue
    event.kind = .refusal
    event.reason = reason
    do throws(AccessStoreError) {
      try store.append([AuditLine(event: event, time: Clock.unixMicroseconds)])
    } catch {
      Logger(label: "access").error("the audit can't be written", metadata: ["error": "\(error)"])
    }
    return outcome
  }

  fileprivate static let badCredentials = AccessWorker.Outcome.refused(
    .badCredentials, ControlMessage.Failure(.badCredentials, "wrong user name or password"))
  private static let codeRequired = AccessWorker.Outcome.refused(
    .codeMissing,
    ControlMessage.Failure(
      .oneTimeCodeRequired, "a one-time code is asked for: one of your authenticator app, with --code-file"))
  private static let notEnrolled = AccessWorker.Outcome.refused(
    .codeMissing,
    ControlMessage.Failure(
      .notPermitted,
      "your role needs one-time codes, and you have none: an administrator makes them with `gatemanager account totp`"))
  private static let badOneTimeCode = AccessWorker.Outcome.refused(
    .badOneTimeCode,
    ControlMessage.Failure(.badOneTimeCode, "the one-time code is wrong, or was used: wait for the next one"))
  private static let badRequest = AccessWorker.Outcome.refused(
    .malformed, ControlMessage.Failure(.malformed, "the certificate request can't be honoured"))
  private static let unknownCode = AccessWorker.Outcome.refused(
    .badCode,
    ControlMessage.Failure(.codeUnknown, "the code is unknown or was used: make one with `gatemanager site add`"))
  private static let expiredCode = AccessWorker.Outcome.refused(
    .badCode,
    ControlMessage.Failure(.codeExpired, "the code has expired: make one with `gatemanager site add --renew`"))

  private static func broken(_ error: any Error) -> AccessWorker.Outcome {
    Logger(label: "access").error("a request failed", metadata: ["error": "\(error)"])
    return .refused(.busy, ControlMessage.Failure(.internalError, "the GateManager can't do it now: see its log"))
  }
}

private struct LoginRefusal: Error {
  /// For the audit.
  let reason: String
  let outcome: AccessWorker.Outcome

  init(reason: String, _ outcome: AccessWorker.Outcome = AccessOffice.badCredentials) {
    self.reason = reason
    self.outcome = outcome
  }
}

private enum EnrolmentRefusal: Error {
  case unknownCode, expiredCode, foreignKey
}

extension Clock {
  /// Microseconds since 1970, as the audit counts.
  static var unixMicroseconds: Int64 { unixNanoseconds / 1000 }
}
