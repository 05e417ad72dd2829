public import ArgumentParser
internal import Crypto
internal import Glibc
internal import Kernel
public import Logging

/// How much a service insists on being confined.
public enum ConfinementDemand: String, CaseIterable, ExpressibleByArgument, Sendable {
  /// Without all of it, the service doesn't start.
  case required
  /// What the kernel has; what is missing is logged by name.
  case available
  /// Not at all: to look into it with a debugger.
  case off
}

/// The options and steps by which a service gives up what it doesn't need, for good, before it has threads and before
/// anything of a peer is read.
public struct Confinement: ParsableArguments {
  @Option(
    name: .customLong("confinement"),
    help: ArgumentHelp(
      "What if the kernel can't keep the service from all that it doesn't need: required (it doesn't start), available "
        + "(it is kept from what it can), off (not even that).", valueName: "demand"))
  public var demand = ConfinementDemand.available

  public init() {}

  /// First of all, before keys are read: no core dumps, no look into the process by its user's other programs, and a
  /// place for keys that is never written to disk.
  public func hide(_ log: Logger) throws(CommandFailure) {
    guard demand != .off else { return }
    do throws(SystemError) {
      try Privileges.hide()
    } catch {
      try miss("hidden memory", "\(error)", log)
    }
    switch SecretMemory.reserve() {
    case .locked: break
    case .unlocked: try miss("locked memory", "RLIMIT_MEMLOCK is too low: LimitMEMLOCK=, ulimit -l", log)
    case .none: try miss("locked memory", "there is none", log)
    }
  }

  /// What was given up stays so until the process ends.
  ///
  /// - Throws: if something is missing and the demand is `required`, or if there are threads already.
  public func enter(_ profile: ConfinementProfile, _ log: Logger) throws(CommandFailure) {
    guard demand != .off else {
      log.warning("not confined: what takes this service over may do all that its user may")
      return
    }
    let threads = Self.threads
    guard threads == 1 else {
      throw CommandFailure(.software, "confinement: there are \(threads) threads already, and it would hold for one")
    }
    do throws(SystemError) {
      _ = try Privileges.renounce(keeping: profile.capabilities)
    } catch {
      throw CommandFailure(error)
    }
    if let version = FileRestriction.availableVersion {
      do throws(SystemError) {
        try FileRestriction.enforce(profile.files, connects: profile.connects, listens: profile.listens)
        ConfinementReport.state.withLock { $0.landlock = version }
      } catch {
        try miss("Landlock", "\(error) (version \(version))", log)
      }
    } else {
      try miss("Landlock", "the kernel has none, or it isn't among those switched on (lsm=)", log)
    }
    do throws(SystemError) {
      try profile.systemCalls.install()
    } catch {
      try miss("seccomp", "\(error)", log)
    }
    if let report = ConfinementReport.current { log.info("confined", metadata: report.metadata) }
  }

  private func miss(_ what: String, _ reason: String, _ log: Logger) throws(CommandFailure) {
    guard demand != .required else {
      throw CommandFailure(.system, "--confinement required: no \(what): \(reason)")
    }
    ConfinementReport.state.withLock { $0.missing.append(what) }
    log.warning("confined in part", metadata: ["missing": "\(what)", "reason": "\(reason)"])
  }

  private static var threads: Int {
    guard let directory = unsafe opendir("/proc/self/task") else { return 1 }
    defer { unsafe closedir(directory) }
    var count = 0
    while let entry = unsafe readdir(directory) {
      if unsafe entry.pointee.d_name.0 != CChar(UInt8(ascii: ".")) { count += 1 }
    }
    return count
  }
}
