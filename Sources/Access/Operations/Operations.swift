internal import Control
public import Crypto

/// Carries operations out: permission, change and audit in one transaction. The one way to all of it.
public final class Operations: Sendable {
  public let store: AccessStore
  private let gateKey: KeyHash
  private let issuer: String
  private let announced: @Sendable (String) -> SiteAnnouncement?
  private let changed: @Sendable () -> Void

  /// - Parameters:
  ///   - gateKey: stands in enrolment codes.
  ///   - issuer: GateManager's name, which authenticator apps show.
  ///   - announced: what a site that is connected has said; `nil` for one that isn't.
  ///   - changed: is called when the store has a new state, on the thread of whoever has changed it.
  public init(
    store: AccessStore, gateKey: KeyHash, issuer: String = "RelayVPN",
    announced: @escaping @Sendable (String) -> SiteAnnouncement? = { _ in nil },
    changed: @escaping @Sendable () -> Void = {}
  ) {
    self.store = store
    self.gateKey = gateKey
    self.issuer = issuer
    self.announced = announced
    self.changed = changed
  }

  /// Blocks: for the disk, and some 100 ms where a password is hashed.
  /// - Parameter time: microseconds since 1970.
  public func perform(
    _ operation: Operation, by actor: Actor, time: Int64
  ) throws(OperationError) -> OperationAnswer {
    let now = floorDiv(time, 1_000_000)
    do throws(AccessStoreError) {
      if try store.refresh() { changed() }
    } catch {
      throw .store("\(error)")
    }
    do throws(OperationError) {
      let state = store.state
      try OperationPermission.check(operation, by: actor, state, now: now)
      if let answer = OperationLists.answer(operation, by: actor, state, announced: announced, now: now) {
        return answer
      }
      if let answer = try readStore(operation, by: actor, state, time) { return answer }
      return try change(operation, by: actor, try prepare(operation), time, now)
    } catch {
      refused(operation, by: actor, error, time)
      throw error
    }
  }

  private func change(
    _ operation: Operation, by actor: Actor, _ prepared: OperationPlan.Preparation, _ time: Int64, _ now: Int64
  ) throws(OperationError) -> OperationAnswer {
    let result: Result<OperationAnswer, OperationError>
    do throws(AccessStoreError) {
      result = try store.transaction(time: time) { (state) throws(OperationError) in
        // Once more, by the state that is changed.
        try OperationPermission.check(operation, by: actor, state, now: now)
        guard let plan = try OperationPlan.make(operation, prepared, state, now: now) else { return ([], [], .done) }
        var event = AuditEvent(operation.auditKind, account: actor.text)
        event.operation = operation.kind.rawValue
        event.object = operation.object
        let rules = plan.changes.compactMap { change -> AccessRule.ID? in
          if case .putRule(let rule) = change { rule.id } else { nil }
        }
        if !rules.isEmpty { event.rules = rules }
        return (plan.changes, [event], plan.answer)
      }
    } catch {
      throw .store("\(error)")
    }
    let answer = try result.get()
    changed()
    return answer
  }

  private func prepare(_ operation: Operation) throws(OperationError) -> OperationPlan.Preparation {
    var prepared = OperationPlan.Preparation()
    prepared.issuer = issuer
    do throws(CryptoError) {
      switch operation {
      case .addAccount(let account): prepared.passwordHash = try Self.hash(account.password).get()
      case .setPassword(_, let password): prepared.passwordHash = try Self.hash(password).get()
      case .addSite, .renewSite:
        let code = try EnrolmentCode(gateKey: gateKey)
        prepared.code = (code.text, Hex.encode(try EnrolmentCode.hash(secret: code.secret).bytes))
      case .enrolOneTimeCode: prepared.oneTimeSecret = try OneTimeSecret.random()
      default: break
      }
    } catch {
      throw error.kind == .misuse ? .invalid(error.reason) : .store("\(error)")
    }
    return prepared
  }

  private static func hash(_ password: String) -> Result<String, CryptoError> {
    do throws(PasswordPolicyError) {
      try PasswordPolicy.check(password)
    } catch {
      return .failure(CryptoError("password", .misuse, reason: "\(error)"))
    }
    do throws(CryptoError) { return .success("\(try PasswordHash(hashing: password))") } catch {
      return .failure(error)
    }
  }

  private func readStore(
    _ operation: Operation, by actor: Actor, _ state: AccessState, _ time: Int64
  ) throws(OperationError) -> OperationAnswer? {
    do throws(AccessStoreError) {
      switch operation {
      case .listAudit(let number, let limit):
        let entries = try store.audit(after: number, limit: limit)
        return .audit(entries.filter { OperationLists.sees($0, actor, state) })
      case .verifyAudit(let noted):
        switch try store.verifyAudit(noted: noted) {
        case .success(let head): return .verified(head)
        case .failure(let flaw): return .flawed(number: flaw.number, text: "\(flaw)")
        }
      case .backUp(let path):
        try store.backUp(to: path)
        var event = AuditEvent(operation.auditKind, account: actor.text)
        event.operation = operation.kind.rawValue
        event.object = operation.object
        try store.append([AuditLine(event: event, time: time)])
        return .done
      default: return nil
      }
    } catch {
      throw .store("\(error)")
    }
  }

  /// That somebody tried what isn't theirs is worth an entry; that a name was taken isn't.
  private func refused(_ operation: Operation, by actor: Actor, _ error: OperationError, _ time: Int64) {
    switch error {
    case .notPermitted, .noAccount, .unknown: break
    default: return
    }
    guard actor != .host else { return }
    var event = AuditEvent(.refusal, account: actor.text)
    event.operation = operation.kind.rawValue
    event.object = operation.object
    event.reason = "\(error)"
    try? store.append([AuditLine(event: event, time: time)])
  }
}
