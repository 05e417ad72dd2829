internal import Glibc
public import Logging
import Synchronization

/// Where the lines of a log go.
public final class LogOutput: Sendable {
  private let sink: @Sendable (String) -> Void
  private let turn = Mutex<Void>(())

  /// - Parameter sink: gets whole lines with their line feed, one at a time.
  public init(_ sink: @escaping @Sendable (String) -> Void) {
    self.sink = sink
  }

  /// One write(2) a line, so that lines of several processes don't mix. A full disk doesn't stop the service.
  public static let standardError = LogOutput { line in
    var bytes = Array(line.utf8)[...]
    while !bytes.isEmpty {
      let count = unsafe bytes.withUnsafeBytes { unsafe Glibc.write(STDERR_FILENO, $0.baseAddress, $0.count) }
      if count < 0, errno == EINTR { continue }
      guard count > 0 else { return }
      bytes = bytes.dropFirst(count)
    }
  }

  func write(_ line: String) {
    turn.withLock { _ in sink(line) }
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
