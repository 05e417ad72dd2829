/// Exit statuses of the hosts, as in sysexits.h, so that a script can tell what went wrong.
public enum ExitCode: Int32, Sendable {
  case success = 0
  /// The answer is no: what was asked is not so, such as a packet that is not permitted.
  case no = 1
  /// The command line is wrong.
  case usage = 64
  /// Input data are wrong.
  case data = 65
  /// A service that is needed isn't running or can't be reached.
  case unavailable = 69
  /// A defect of the program.
  case software = 70
  /// The operating system refused.
  case system = 71
  /// A file can't be written.
  case cannotCreate = 73
  /// It may work later.
  case temporaryFailure = 75
  /// The caller isn't allowed to.
  case notPermitted = 77
  /// A configuration file is wrong.
  case configuration = 78
}
