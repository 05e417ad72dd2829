import Control
import Service

/// What the operator on site has switched off, as it is kept over restarts in `remote.json`.
///
/// ```json
/// {"off": {"reason": "maintenance"}, "agents": {"plc": {"reason": "press 4 is being set up", "since": 1800000000}}}
/// ```
struct RemoteAccess: Hashable, Sendable, Codable {
  struct Off: Hashable, Sendable, Codable {
    /// For the users who wonder. 1 to 256 bytes.
    var reason: String?
    /// Seconds since 1970.
    var since: Int64?
  }

  static let fileName = "remote.json"
  static let reasonLimit = 256

  /// Remote access as a whole; `nil` if it is on.
  var off: Off?
  /// Agents, by name. One that the site doesn't have may be among them: it is off as soon as there is one.
  var agents: [String: Off]?

  /// Why an agent is off, as its users are told; `nil` if it is on.
  func veto(of agent: String) -> String? {
    if let off { return Self.text("remote access is switched off on site", off) }
    return agents?[agent].map { Self.text("switched off on site", $0) }
  }

  /// Why no session is accepted; `nil` if some may be.
  var veto: String? { off.map { Self.text("remote access is switched off on site", $0) } }

  private static func text(_ what: String, _ off: Off) -> String {
    off.reason.map { "\(what): \($0)" } ?? what
  }

  /// - Parameter agent: `nil` for all remote access.
  mutating func set(_ off: Off?, agent: String?) {
    guard let agent else { return self.off = off }
    var all = agents ?? [:]
    all[agent] = off
    agents = all.isEmpty ? nil : all
  }

  // MARK: The file

  /// Everything is on where there is no file.
  static func load(from directory: StateDirectory) throws(CommandFailure) -> RemoteAccess {
    try directory.load(
      RemoteAccess.self, from: fileName, mending: "correct it, or remove it to switch remote access on",
      check: \.problem
    ) ?? RemoteAccess()
  }

  func save(to directory: StateDirectory) throws(CommandFailure) {
    try directory.save(self, as: Self.fileName)
  }

  private var problem: StateFileError? {
    guard agents?.count ?? 0 <= ControlProtocol.agentLimit else {
      return StateFileError(field: ["agents"], reason: "has more than \(ControlProtocol.agentLimit) agents")
    }
    for (name, off) in agents ?? [:] {
      guard AgentDescription.isValidName(name) else {
        return StateFileError(field: ["agents", name], reason: "is no agent's name")
      }
      guard Self.isValid(off.reason) else { return Self.badReason(["agents", name, "reason"]) }
    }
    return Self.isValid(off?.reason) ? nil : Self.badReason(["off", "reason"])
  }

  static func isValid(_ reason: String?) -> Bool { reason.map { (1...reasonLimit).contains($0.utf8.count) } ?? true }

  private static func badReason(_ field: [String]) -> StateFileError {
    StateFileError(field: field, reason: "has not 1 to \(reasonLimit) bytes")
  }
}
