internal import Crypto
internal import Kernel
internal import Logging
import Synchronization

/// What a service is kept from, as the kernel says it (proc(5)) and, where that says nothing, as the service did it.
public struct ConfinementReport: Codable, Hashable, Sendable {
  /// In force, as in capabilities(7), in small letters.
  public var capabilities: [String]
  public var noNewPrivileges: Bool
  /// Whether a filter judges system calls.
  public var systemCalls: Bool
  /// The version of Landlock that judges files; `nil` if none does.
  public var landlock: Int?
  /// What the kernel didn't have, or couldn't do.
  public var missing: [String]

  struct State {
    var landlock: Int?
    var missing: [String] = []
  }

  static let state = Mutex(State())

  /// `nil` where there is no /proc.
  public static var current: ConfinementReport? {
    guard let bytes = try? AtomicFile.read("/proc/self/status", limit: 16 << 10) else { return nil }
    return ConfinementReport(status: String(decoding: bytes, as: UTF8.self), state.withLock { $0 })
  }

  /// Reads /proc/PID/status.
  init(status text: String, _ state: State = State()) {
    var fields: [Substring: Substring] = [:]
    for line in text.split(separator: "\n") {
      let parts = line.split(separator: ":", maxSplits: 1)
      if parts.count == 2 { fields[parts[0]] = parts[1].drop { $0 == "\t" || $0 == " " } }
    }
    let effective = fields["CapEff"].flatMap { UInt64($0, radix: 16) } ?? 0
    capabilities = Capabilities(rawValue: effective).names
    noNewPrivileges = fields["NoNewPrivs"] == "1"
    systemCalls = fields["Seccomp"] == "2"
    landlock = state.landlock
    missing = state.missing
  }

  /// One line, for people.
  public var text: String {
    guard noNewPrivileges else { return "not confined" }
    let kept = capabilities.isEmpty ? "no capabilities" : capabilities.joined(separator: ", ")
    let calls = systemCalls ? "system calls filtered" : "system calls not filtered"
    let files = landlock.map { "files by Landlock \($0)" } ?? "files not restricted"
    let rest = missing.isEmpty ? "" : "; missing: \(missing.joined(separator: ", "))"
    return "confined: \(kept); \(calls); \(files)\(rest)"
  }

  var metadata: Logger.Metadata {
    [
      "capabilities": "\(capabilities.isEmpty ? "none" : capabilities.joined(separator: ","))",
      "seccomp": "\(systemCalls ? "on" : "off")", "landlock": "\(landlock.map { "\($0)" } ?? "off")",
    ]
  }
}
