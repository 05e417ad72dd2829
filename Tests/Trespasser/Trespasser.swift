import Glibc
import Kernel
import Service
import Trespass

/// What came of trying something.
public enum Attempt: Equatable, Sendable, CustomStringConvertible {
  case done
  case refused(Int32)
  /// The process was ended by this signal.
  case ended(Int32)
  /// It couldn't be confined, or there is no such attempt.
  case spoilt(Int32)

  public var description: String {
    switch self {
    case .done: "done"
    case .refused(let code): unsafe "refused: \(String(cString: strerror(code)))"
    case .ended(let signal): "ended by signal \(signal)"
    case .spoilt(let status): "spoilt: \(status)"
    }
  }
}

/// Tries in a process of its own, confined like a host, what somebody would who has taken the host over.
public struct Trespasser: Sendable {
  let profile: ConfinementProfile

  public init(_ profile: ConfinementProfile) {
    self.profile = profile
  }

  /// - Parameter argument: what `trespass_attempt` wants to know besides.
  public func attempt(_ name: String, _ argument: String = "") -> Attempt {
    // A child may find a lock of the runtime held by a thread that it doesn't have, and wait for ever: then it is tried
    // again.
    for _ in 0..<8 {
      if let outcome = attemptOnce(name, argument) { return outcome }
    }
    return .spoilt(-1)
  }

  /// `nil` if the child didn't come to an end.
  private func attemptOnce(_ name: String, _ argument: String) -> Attempt? {
    let child = trespass_fork()
    if child == 0 { run(name, argument) }
    guard child > 0 else { return .spoilt(errno) }
    var status: CInt = 0
    for _ in 0..<300 {
      let ended = unsafe waitpid(child, &status, WNOHANG)
      if ended == child {
        let signal = status & 0x7F
        guard signal == 0 else { return .ended(signal) }
        let code = (status >> 8) & 0xFF
        return code == 0 ? .done : code >= 250 ? .spoilt(code) : .refused(code)
      }
      usleep(10_000)
    }
    kill(child, SIGKILL)
    _ = unsafe waitpid(child, &status, 0)
    return nil
  }

  private func run(_ name: String, _ argument: String) -> Never {
    do throws(SystemError) {
      try Privileges.hide()
      _ = try Privileges.renounce(keeping: profile.capabilities)
      try FileRestriction.enforce(profile.files, connects: profile.connects, listens: profile.listens)
      try profile.systemCalls.install()
    } catch {
      _exit(251)
    }
    let code = unsafe trespass_attempt(name, argument)
    _exit(code < 0 ? 252 : code)
  }
}
