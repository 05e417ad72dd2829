import Access
import Kernel
import Logging
import Primitives
import Proxy
import Synchronization

/// Sends the audit to a receiver as it grows, in messages of RFC 5424 with their size before them (RFC 6587 section
/// 3.4.1, RFC 5425 section 4.3). While the receiver is away, the audit itself is the spool.
///
/// Syslog has no acknowledgement. So the position moves on when the receiver's host has taken all bytes and the connection
/// has then lasted a while: what a receiver that dies had in its socket is sent once more. In order, nothing left out, some
/// of it perhaps twice; each message has its number.
final class SyslogSender: Sendable {
  static let setting = "syslog.position"
  /// How long a connection has to last behind what was sent on it.
  static let settling = Interval.seconds(3)
  static let connectTime = Interval.seconds(10)
  static let writeTime = Interval.seconds(30)
  /// How often a look is taken at what is new, and whether the receiver is there.
  static let tick = Interval.milliseconds(250)
  /// Entries in one write.
  static let batch = 200

  private let cancel: Cancellation
  private let thread: Kernel.Thread

  /// - Parameters:
  ///   - host: stands in the messages.
  init(store: AccessStore, host: String, target: SyslogTarget, logger: Logger) throws(SystemError) {
    let cancel = try Cancellation()
    self.cancel = cancel
    thread = try Kernel.Thread(name: "syslog") {
      var loop = SyslogLoop(store: store, host: host, target: target, logger: logger, cancel: cancel)
      loop.run()
    }
  }

  /// What isn't sent then is sent after the next start.
  func stop() {
    cancel.cancel()
    thread.join()
  }
}

/// The sender's thread.
private struct SyslogLoop {
  let store: AccessStore
  let host: String
  let target: SyslogTarget
  let logger: Logger
  let cancel: Cancellation
  var backoff = Backoff(shortest: .milliseconds(500), brisk: .seconds(5), longest: .seconds(30))
  var random = SystemRandomNumberGenerator()
  /// What is wrong, so that it is told once.
  var problem: String?

  init(store: AccessStore, host: String, target: SyslogTarget, logger: Logger, cancel: Cancellation) {
    self.store = store
    self.host = host
    self.target = target
    self.logger = logger
    self.cancel = cancel
  }

  mutating func run() {
    while !cancel.isCancelled {
      do {
        try serve()
      } catch {
        tell("\(error)")
      }
      rest(backoff.next(using: &random))
    }
  }

  /// One connection, until it or the service ends.
  private mutating func serve() throws {
    var settled = Int64(try store.setting(SyslogSender.setting) ?? "0") ?? 0
    var connection = try SyslogConnection.open(
      to: target, until: Clock.now + SyslogSender.connectTime, cancel: cancel)
    if problem != nil { logger.notice("the audit is sent again", metadata: ["receiver": "\(target)"]) }
    problem = nil
    var sent = settled
    /// Up to which entry all was taken, and since when.
    var taken: (number: Int64, since: Instant)?
    while !cancel.isCancelled {
      let entries = try store.audit(after: sent, limit: SyslogSender.batch)
      if !entries.isEmpty {
        let bytes = entries.flatMap { entry in
          let text = Array(SyslogMessage.text(entry, host: host).utf8)
          return Array("\(text.count) ".utf8) + text
        }
        try connection.write(bytes, until: Clock.now + SyslogSender.writeTime, cancel: cancel)
        sent = entries[entries.count - 1].number
      }
      if try connection.isTaken(), taken == nil, sent > settled { taken = (sent, Clock.now) }
      if let (number, since) = taken, Clock.now - since >= SyslogSender.settling {
        try store.set(SyslogSender.setting, to: "\(number)")
        settled = number
        taken = nil
        backoff.reset()
      }
      if entries.count < SyslogSender.batch { rest(SyslogSender.tick) }
    }
  }

  private func rest(_ interval: Interval) {
    guard let poller = try? Poller(), (try? poller.add(cancel.descriptor, token: 0, for: .readable)) != nil else {
      return
    }
    _ = try? poller.wait(timeout: interval)
  }

  private mutating func tell(_ found: String) {
    guard !cancel.isCancelled else { return }
    if problem == nil {
      logger.warning("the audit can't be sent; it waits", metadata: ["receiver": "\(target)", "error": "\(found)"])
    }
    problem = found
  }
}
