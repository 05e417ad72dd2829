import Control
import Crypto
import Kernel
import Logging
import Primitives
import Service

/// Logins and enrolments, on a thread of their own: scrypt and the disk would hold up everybody else.
///
/// It also watches the directory, so that what the command line changes takes effect without a restart.
final class AccessWorker: Sendable {
  enum Job: Sendable {
    case login(ControlMessage.Login, connection: SlotID, request: UInt64?)
    case enroll(ControlMessage.Enroll, connection: SlotID, request: UInt64?)
    case stop
  }

  enum Outcome: Sendable {
    /// The answer and the key that is registered now.
    case granted(ControlMessage, KeyHash, PeerIdentity)
    case refused(Refusal, ControlMessage.Failure)
  }

  enum Event: Sendable {
    case answered(Outcome, connection: SlotID, request: UInt64?)
    case membership(Membership)
    /// Records that can't be read now; none of them if all can.
    case storeProblems([String])
  }

  /// How often the directory is looked at.
  static let watchInterval = Interval.seconds(1)

  private let mailbox: Mailbox<Job>
  private let thread: Kernel.Thread

  /// - Parameter report: called on the worker's thread.
  init(
    directory: GateDirectory, keys: GateDirectory.Keys, known: Membership, logger: Logger,
    report: @escaping @Sendable (Event) -> Void
  ) throws(SystemError) {
    let mailbox = try Mailbox<Job>()
    self.mailbox = mailbox
    let office = AccessOffice(directory: directory, keys: keys)
    thread = try Kernel.Thread(name: "access") {
      Self.run(office, known, mailbox, logger, report)
    }
  }

  func send(_ job: Job) { mailbox.send(job) }

  func stop() {
    mailbox.send(.stop)
    thread.join()
  }

  private static func run(
    _ office: AccessOffice, _ known: Membership, _ mailbox: Mailbox<Job>, _ logger: Logger,
    _ report: (Event) -> Void
  ) {
    guard let poller = try? Poller(),
      (try? poller.add(mailbox.descriptor, token: 0, for: .readable)) != nil
    else { return }
    var known = known
    // The first look comes always: something may have changed since the service read it.
    var stamps: [[Int]] = []
    var reported: [String] = []
    while true {
      _ = try? poller.wait(timeout: watchInterval)
      for job in mailbox.receive() {
        switch job {
        case .stop: return
        case .login(let body, let connection, let request):
          report(.answered(office.login(body), connection: connection, request: request))
        case .enroll(let body, let connection, let request):
          report(.answered(office.enroll(body), connection: connection, request: request))
        }
      }
      let current = [office.directory.users.stamp, office.directory.sites.stamp]
      guard current != stamps else { continue }
      // The kernel's time stamps are some milliseconds coarse: a change right behind this look could have the same. One
      // far in the future is of before the clock was set back, and no later change has it.
      let now = Clock.unixSeconds
      let isFresh = current.compactMap(\.first).contains { abs(Int64($0) - now) <= 1 }
      stamps = isFresh ? [] : current
      let (membership, problems) = office.directory.loadMembership(keeping: known)
      let unreadable = problems.map { "\($0)" }
      for problem in unreadable where !reported.contains(problem) {
        logger.error("a record can't be read", metadata: ["error": "\(problem)"])
      }
      if unreadable != reported {
        reported = unreadable
        report(.storeProblems(unreadable))
      }
      guard membership != known else { continue }
      known = membership
      report(.membership(membership))
    }
  }
}

/// Decides about logins and enrolments. Blocks for some 100 ms.
struct AccessOffice: Sendable {
  let directory: GateDirectory
  let keys: GateDirectory.Keys

  func login(_ body: ControlMessage.Login) -> AccessWorker.Outcome {
    do {
      // An unknown user costs the same time as a known one, so that the time doesn't tell which there are.
      guard RecordName.isValid(body.user), var record = try directory.users.load(body.user) else {
        try PasswordHash.verifyNobody(body.password)
        return Self.badCredentials
      }
      guard let hash = PasswordHash(record.password) else {
        throw StoreError.malformed(path: "users/\(record.name).json", reason: "the password's hash is malformed")
      }
      guard try hash.verify(body.password) else { return Self.badCredentials }
      guard let request = try? CertificateRequest(pem: body.csr) else { return Self.badRequest }
      let pc = EscapedText(body.pc, limit: 64).description.prefix(bytes: 64)
      guard isFree(request.publicKey.keyHash, for: .user(record.name, pc: pc)) else { return Self.badRequest }
      let certificate = try issue(record.name, "LinkManager", request.publicKey)
      record.pcs.removeAll { $0.key == request.publicKey.keyHash }
      record.pcs.append(.init(key: request.publicKey.keyHash, name: pc, since: Clock.unixSeconds))
      record.pcs.removeFirst(max(0, record.pcs.count - GateLimits.pcsPerUser))
      try directory.users.save(record, replacing: true)
      let answer = ControlMessage.LoggedIn(
        certificate: certificate.pem, caCertificate: keys.authority.certificate.pem, user: record.name)
      return .granted(.loggedIn(answer), request.publicKey.keyHash, .user(record.name, pc: pc))
    } catch {
      return Self.broken(error)
    }
  }

  func enroll(_ body: ControlMessage.Enroll) -> AccessWorker.Outcome {
    do {
      let hash = try EnrolmentCode.hash(secret: body.secret)
      let match = directory.sites.loadAll().entries.first { site in
        guard let stored = site.enrolment.flatMap({ Hex.decode($0.secretHash) }) else { return false }
        return constantTimeEquals(stored.span, hash.bytes.span)
      }
      guard var record = match, let enrolment = record.enrolment else {
        return .refused(
          .badCode,
          ControlMessage.Failure(.codeUnknown, "the code is unknown or was used: make one with `gatemanager site add`"))
      }
      let now = Clock.unixSeconds
      guard now < enrolment.expires else {
        return .refused(
          .badCode,
          ControlMessage.Failure(.codeExpired, "the code has expired: make one with `gatemanager site add --renew`"))
      }
      guard let request = try? CertificateRequest(pem: body.csr) else { return Self.badRequest }
      guard isFree(request.publicKey.keyHash, for: .site(record.name)) else { return Self.badRequest }
      let certificate = try issue(record.name, "SiteManager", request.publicKey)
      record.enrolment = nil
      record.key = request.publicKey.keyHash
      record.enrolled = now
      try directory.sites.save(record, replacing: true)
      let answer = ControlMessage.Enrolled(
        certificate: certificate.pem, caCertificate: keys.authority.certificate.pem,
        grantKey: keys.grantKey.publicKey, name: record.name)
      return .granted(.enrolled(answer), request.publicKey.keyHash, .site(record.name))
    } catch {
      return Self.broken(error)
    }
  }

  /// One key is one identity: nobody may take over a key that is registered for somebody else.
  private func isFree(_ key: KeyHash, for identity: PeerIdentity) -> Bool {
    guard let holder = directory.loadMembership().0.identities[key] else { return true }
    return holder.role == identity.role && holder.name == identity.name
  }

  private func issue(_ name: String, _ unit: String, _ key: PublicKey) throws(CryptoError) -> Certificate {
    // A site's and a LinkManager's key also serves end to end, where one of the two is the TLS server.
    try keys.authority.certificate.issue(
      CertificateProfile(commonName: name, organizationalUnit: unit, usage: .peer, now: Clock.unixSeconds),
      for: key, key: keys.authority.key)
  }

  private static let badCredentials = AccessWorker.Outcome.refused(
    .badCredentials, ControlMessage.Failure(.badCredentials, "wrong user name or password"))
  private static let badRequest = AccessWorker.Outcome.refused(
    .malformed, ControlMessage.Failure(.malformed, "the certificate request can't be honoured"))

  private static func broken(_ error: any Error) -> AccessWorker.Outcome {
    Logger(label: "access").error("a request failed", metadata: ["error": "\(error)"])
    return .refused(.busy, ControlMessage.Failure(.internalError, "the GateManager can't do it now: see its log"))
  }
}
