internal import Control
public import Crypto
internal import Glibc
public import Kernel
public import Proxy

/// Why a command of a host failed, as its user is told: one text, which names the way out where there is one.
public struct CommandFailure: Error, Hashable, Sendable, CustomStringConvertible {
  public let exitCode: ExitCode
  /// Without what peers could have put into it to fool a terminal.
  public let description: String

  public init(_ exitCode: ExitCode, _ message: String) {
    self.exitCode = exitCode
    description = EscapedText(message).description
  }

  public init(_ error: SystemError) {
    self.init(error.isNotPermitted ? .notPermitted : .system, error.description)
  }

  public init(_ error: CryptoError) {
    if case .system(let code) = error.kind {
      let failure = SystemError(call: error.operation, subject: error.reason, code: code)
      // What reads files says the reason itself.
      let said = unsafe error.reason.hasSuffix(String(cString: strerror(code)))
      self.init(
        failure.isNotPermitted ? .notPermitted : .system, said ? "\(error.operation) \(error.reason)" : "\(failure)")
    } else {
      self.init(error.kind == .malformed ? .data : .software, error.description)
    }
  }

  public init(_ error: GateError) {
    switch error {
    case .refused(let failure):
      let retry = failure.retryAfter.map { ". Try again in \($0) s" } ?? ""
      self.init(Self.exitCode(for: failure.code), error.description + retry)
    case .wrongKey: self.init(.notPermitted, error.description)
    case .dial(.system(let error)): self.init(error)
    case .system(let error): self.init(error)
    case .tls(.local), .unexpected, .malformed, .strayData, .wrongProtocol, .noCommonProtocol:
      self.init(.software, error.description)
    case .dial, .tls, .timedOut, .cancelled, .closed, .silent: self.init(.unavailable, error.description)
    }
  }

  static func exitCode(for code: FailureCode) -> ExitCode {
    switch code {
    case .notPermitted, .badCredentials, .oneTimeCodeRequired, .badOneTimeCode, .codeUnknown, .codeExpired:
      .notPermitted
    case .siteOffline, .busy, .tooManyAttempts: .temporaryFailure
    case .unknownSite: .data
    case .versionIncompatible, .malformed, .internalError, .other: .software
    }
  }
}

extension CommandFailure {
  /// Tells the user and ends the process.
  public func exit(of program: String) -> Never {
    Terminal.write("\(program): \(description)\n")
    Glibc.exit(exitCode.rawValue)
  }
}
