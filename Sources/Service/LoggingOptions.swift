public import ArgumentParser
public import Logging

extension LogFormat: ExpressibleByArgument {}
extension Logger.Level: @retroactive ExpressibleByArgument {}

/// How a service logs: the same options for all hosts.
public struct LoggingOptions: ParsableArguments {
  @Option(help: "The form of log lines on standard error: text, or one JSON object a line.")
  public var logFormat: LogFormat = .text

  @Option(help: "What is logged at least: trace, debug, info, notice, warning, error, critical.")
  public var logLevel: Logger.Level = .info

  public init() {}

  /// Puts the options in force and makes the service's logger. Once per process.
  public func bootstrap(_ label: String) -> Logger {
    logFormat.install(level: logLevel)
    return Logger(label: label)
  }
}
