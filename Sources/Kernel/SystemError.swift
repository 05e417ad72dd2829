import CLinux
import Glibc

/// A system call that failed: which one, on what, and why.
public struct SystemError: Error, Hashable, Sendable, CustomStringConvertible {
  /// The call's name, as in its manual page.
  public let call: String
  /// What it was called on: a path, an address, a device; empty if that says nothing.
  public let subject: String
  /// The value of `errno`.
  public let code: Int32

  public init(call: String, subject: String = "", code: Int32) {
    self.call = call
    self.subject = subject
    self.code = code
  }

  /// Takes `errno` of the call that has just failed.
  package static func last(_ call: String, _ subject: String = "") -> SystemError {
    SystemError(call: call, subject: subject, code: clinux_errno())
  }

  public var description: String {
    let message = unsafe String(cString: strerror(code))
    return subject.isEmpty ? "\(call): \(message)" : "\(call) \(subject): \(message)"
  }

  public var wouldBlock: Bool { code == EAGAIN || code == EWOULDBLOCK }
  public var isInterrupted: Bool { code == EINTR }
  public var isNotPermitted: Bool { code == EPERM || code == EACCES }
}

extension SystemError {
  public var isMessageTooLong: Bool { code == EMSGSIZE }
  /// Nobody reads any more what was written.
  public var isBrokenPipe: Bool { code == EPIPE || code == ECONNRESET }

  public static let connectionRefused = ECONNREFUSED
  public static let connectionReset = ECONNRESET
  public static let hostUnreachable = EHOSTUNREACH
  public static let networkUnreachable = ENETUNREACH
  public static let connectionTimedOut = ETIMEDOUT
}
