internal import Framing
internal import Kernel
public import Logging
internal import Primitives
public import Proxy
import Synchronization

/// Writes what becomes of flows to a log: at most so many lines a second of each kind, and how many were left out.
///
/// A flow's end is told at `info` with all that is known by then, and a refusal at `notice`, so that the default log has
/// the story of every flow in one line; its beginning is told at `debug`. Thread-safe.
public final class FlowLog: Sendable {
  /// Lines of one kind in a second. More than a person can read, and little enough that a scan can't fill a disk: some
  /// 1 GB a day.
  public static let linesPerSecond = 20

  private let log: Logger
  private let budgets = Mutex([LogBudget](repeating: LogBudget(limit: FlowLog.linesPerSecond), count: Kind.count))

  private enum Kind: Int {
    static let count = 3
    case opened, refused, ended
  }

  /// - Parameter log: with what all flows have in common in its metadata.
  public init(_ log: Logger) {
    self.log = log
  }

  /// - Parameter metadata: what else is known, such as the session.
  public func record(_ report: FlowReport, _ metadata: Logger.Metadata = [:]) {
    let (kind, level, message): (Kind, Logger.Level, Logger.Message) =
      switch report.event {
      case .opened: (.opened, .debug, "flow opened")
      case .refused: (.refused, .notice, "flow refused")
      case .denied: (.refused, .notice, "flow denied")
      case .ended: (.ended, .info, "flow ended")
      }
    guard log.logLevel <= level, admit(kind, level) else { return }
    log.log(level: level, message, metadata: metadata.merging(Self.metadata(report)) { $1 })
  }

  private func admit(_ kind: Kind, _ level: Logger.Level) -> Bool {
    switch budgets.withLock({ $0[kind.rawValue].take(now: Clock.now) }) {
    case .write: return true
    case .omit: return false
    case .omitFirst:
      Task {
        try? await Task.sleep(for: .seconds(1))
        self.summarize(kind, level)
      }
      return false
    }
  }

  private func summarize(_ kind: Kind, _ level: Logger.Level) {
    let omitted = budgets.withLock { $0[kind.rawValue].settle() }
    guard omitted > 0 else { return }
    log.log(
      level: level, "… and \(omitted) more flows",
      metadata: ["what": "\(kind)", "omitted": "\(omitted)"])
  }

  private static func metadata(_ report: FlowReport) -> Logger.Metadata {
    var all: Logger.Metadata = ["protocol": "\(report.protocol)"]
    if [.tcp, .udp].contains(report.protocol) { all["port"] = "\(report.port)" }
    if let connection = report.connection {
      all["connection"] = "\(connection)"
      all["session"] = "\(connection.session)"
    }
    if let site = report.site { all["site"] = "\(site)" }
    if let agent = report.agent { all["agent"] = "\(agent)" }
    if let application = report.application { all["application"] = "\(application)" }
    if let destination = report.destination { all["destination"] = "\(destination)" }
    switch report.event {
    case .opened(let time): all["dialMilliseconds"] = milliseconds(time)
    case .refused(let refusal):
      all["reason"] = "\(refusal)"
      all["dialMilliseconds"] = milliseconds(report.duration)
    case .denied(let reason): all["reason"] = "\(reason)"
    case .ended(let end):
      all["end"] = "\(end)"
      all["seconds"] = "\(Double(report.duration.milliseconds) / 1000)"
      all["bytesFromDevice"] = "\(report.bytesFromDevice)"
      all["bytesToDevice"] = "\(report.bytesToDevice)"
      if let dial = report.dial { all["dialMilliseconds"] = milliseconds(dial) }
    }
    return all
  }

  private static func milliseconds(_ time: Interval) -> Logger.MetadataValue {
    "\(Double(time.nanoseconds / 10_000) / 100)"
  }
}

/// So many lines in each second; what is beyond is counted until somebody says how much it was.
struct LogBudget: Sendable {
  enum Verdict { case write, omit, omitFirst }

  let limit: Int
  private var second = Instant.zero
  private var written = 0
  private var omitted = 0

  init(limit: Int) {
    self.limit = limit
  }

  /// One line more. After `omitFirst`, `settle` is to be called a second later.
  mutating func take(now: Instant) -> Verdict {
    if now - second >= .seconds(1) {
      second = now
      written = 0
    }
    guard written >= limit else {
      written += 1
      return .write
    }
    omitted += 1
    return omitted == 1 ? .omitFirst : .omit
  }

  /// How many lines were left out since the last time.
  mutating func settle() -> Int {
    defer { omitted = 0 }
    return omitted
  }
}
