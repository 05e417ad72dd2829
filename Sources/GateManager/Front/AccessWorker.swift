import Access
import Control
import Crypto
import Kernel
import Logging
import Primitives
import Service

/// Logins, enrolments and the audit, on a thread of their own: scrypt and the disk would hold up everybody else.
///
/// It also looks whether another process has changed the store, so that it takes effect without a restart.
final class AccessWorker: Sendable {
  enum Job: Sendable {
    case login(ControlMessage.Login, address: String, connection: SlotID, request: UInt64?)
    case enroll(ControlMessage.Enroll, address: String, connection: SlotID, request: UInt64?)
    /// Microseconds since 1970.
    case audit(AuditEvent, time: Int64)
    case stop
  }

  enum Outcome: Sendable {
    /// The answer and the key that is registered now.
    case granted(ControlMessage, KeyHash, PeerIdentity)
    case refused(Refusal, ControlMessage.Failure)
  }

  enum Event: Sendable {
    case answered(Outcome, connection: SlotID, request: UInt64?)
    /// What is wrong with the store now; nothing if all is well.
    case storeProblems([String])
  }

  /// How often the store is looked at.
  static let watchInterval = Interval.seconds(1)

  private let mailbox: Mailbox<Job>
  private let thread: Kernel.Thread

  /// - Parameter report: called on the worker's thread.
  init(
    office: AccessOffice, handover: StateHandover, logger: Logger, report: @escaping @Sendable (Event) -> Void
  ) throws(SystemError) {
    let mailbox = try Mailbox<Job>()
    self.mailbox = mailbox
    thread = try Kernel.Thread(name: "access") {
      var loop = AccessLoop(office: office, handover: handover, logger: logger, report: report)
      loop.run(mailbox)
    }
  }

  func send(_ job: Job) { mailbox.send(job) }

  /// Whatever was sent before is written first.
  func stop() {
    mailbox.send(.stop)
    thread.join()
  }
}

/// The worker's thread.
private struct AccessLoop {
  let office: AccessOffice
  let handover: StateHandover
  let logger: Logger
  let report: (AccessWorker.Event) -> Void
  var backlog = AuditBacklog()
  var problem: String?

  init(
    office: AccessOffice, handover: StateHandover, logger: Logger, report: @escaping (AccessWorker.Event) -> Void
  ) {
    self.office = office
    self.handover = handover
    self.logger = logger
    self.report = report
  }

  mutating func run(_ mailbox: Mailbox<AccessWorker.Job>) {
    guard let poller = try? Poller(),
      (try? poller.add(mailbox.descriptor, token: 0, for: .readable)) != nil
    else { return }
    note(AuditEvent(.started), Clock.unixMicroseconds)
    var nextLook = Clock.now
    while true {
      write()
      _ = try? poller.wait(timeout: max(.zero, nextLook - Clock.now))
      for job in mailbox.receive() {
        switch job {
        case .stop:
          note(AuditEvent(.stopped), Clock.unixMicroseconds)
          return write()
        case .login(let body, let address, let connection, let request):
          // What came before it stands before it, and what another process has changed counts.
          write()
          look()
          answer(office.login(body, address: address), connection, request)
        case .enroll(let body, let address, let connection, let request):
          write()
          look()
          answer(office.enroll(body, address: address), connection, request)
        case .audit(let event, let time): note(event, time)
        }
      }
      guard Clock.now >= nextLook else { continue }
      nextLook = Clock.now + AccessWorker.watchInterval
      look()
    }
  }

  private mutating func answer(_ outcome: AccessWorker.Outcome, _ connection: SlotID, _ request: UInt64?) {
    handover.hand()
    report(.answered(outcome, connection: connection, request: request))
  }

  private mutating func note(_ event: AuditEvent, _ time: Int64) {
    backlog.add(AuditLine(event: event, time: time))
  }

  /// All that waits, in one transaction.
  private mutating func write() {
    guard !backlog.lines.isEmpty else { return }
    do throws(AccessStoreError) {
      let omitted = try backlog.write(at: Clock.unixMicroseconds) { lines throws(AccessStoreError) in
        try office.store.append(lines)
      }
      if omitted > 0 {
        logger.error("events are missing in the audit: it couldn't be written", metadata: ["count": "\(omitted)"])
      }
      tell(nil)
    } catch {
      tell("\(error)")
    }
  }

  private mutating func look() {
    do throws(AccessStoreError) {
      _ = try office.store.refresh()
      // Whoever has changed it.
      handover.hand()
      if backlog.lines.isEmpty { tell(nil) }
    } catch {
      tell("\(error)")
    }
  }

  private mutating func tell(_ found: String?) {
    guard found != problem else { return }
    problem = found
    if let found { logger.error("the store can't be used", metadata: ["error": "\(found)"]) }
    report(.storeProblems(found.map { [$0] } ?? []))
  }
}
