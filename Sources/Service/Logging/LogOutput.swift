internal import Glibc
public import Kernel
public import Logging
import Synchronization

/// Where the lines of a log go.
public final class LogOutput: Sendable {
  private struct State {
    /// Lines that couldn't be written since the last one that could.
    var lost = 0
    var reason: SystemError?
    /// Whether the last one written is half a line.
    var isTorn = false
  }

  private let sink: @Sendable (String) -> LineEnd
  private let state = Mutex(State())

  /// What became of a line.
  public enum LineEnd: Sendable {
    case written
    /// None of it, or only its beginning.
    case lost(SystemError, isTorn: Bool)
  }

  /// - Parameter sink: gets whole lines with their line feed, one at a time.
  public init(_ sink: @escaping @Sendable (String) -> LineEnd) {
    self.sink = sink
  }

  /// A full disk doesn't stop the service.
  public static let standardError = LogOutput(descriptor: STDERR_FILENO)

  /// One write(2) a line, so that lines of several processes don't mix.
  /// - Parameter descriptor: stays open, and is the caller's.
  public convenience init(descriptor: CInt) {
    self.init { line in
      var bytes = Array(line.utf8)[...]
      while !bytes.isEmpty {
        let count = unsafe bytes.withUnsafeBytes { unsafe Glibc.write(descriptor, $0.baseAddress, $0.count) }
        if count < 0, errno == EINTR { continue }
        guard count > 0 else {
          return .lost(
            SystemError(call: "write", code: count < 0 ? errno : ENOSPC), isTorn: bytes.count < line.utf8.count)
        }
        bytes = bytes.dropFirst(count)
      }
      return .written
    }
  }

  /// - Parameter note: the line that says how many were lost before this one, and why.
  func write(_ line: String, note: (Int, SystemError) -> String) {
    state.withLock { state in
      if let reason = state.reason {
        let text = (state.isTorn ? "\n" : "") + note(state.lost, reason)
        guard put(text, &state) else { return state.lost += 1 }
        state = State()
      }
      if !put(line, &state) { state.lost += 1 }
    }
  }

  private func put(_ text: String, _ state: inout State) -> Bool {
    switch sink(text) {
    case .written: return true
    case .lost(let error, let isTorn):
      state.reason = error
      if isTorn { state.isTorn = true }
      return false
    }
  }
}

extension LogEvent {
  /// Stands in the log in place of lines that couldn't be written.
  static func lines(lost count: Int, _ reason: SystemError) -> LogEvent {
    LogEvent(
      level: .error, message: "lines of this log were lost", metadata: ["count": "\(count)", "reason": "\(reason)"],
      source: "", file: "", function: "", line: 0)
  }
}

/// How a host writes its log: the value of `--log-format`.
public enum LogFormat: String, CaseIterable, Sendable {
  case text, json

  /// Makes all loggers of the process write in this form to standard error. Once per process.
  public func install(level: Logger.Level) {
    switch self {
    case .text: LoggingSystem.bootstrap { _ in TextLogHandler(level: level) }
    case .json: LoggingSystem.bootstrap { _ in JSONLogHandler(level: level) }
    }
  }
}
