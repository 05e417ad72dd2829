import Kernel

extension WireError {
  /// What a system call would say.
  var systemError: SystemError {
    switch self {
    case .reset: SystemError(call: "wire", code: SystemError.connectionReset)
    case .timedOut: SystemError(call: "wire", code: SystemError.connectionTimedOut)
    }
  }
}
