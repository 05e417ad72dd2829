import Primitives
import Service

/// The sites that this PC's user is connected to, on disk: what a LinkManager takes up again when it comes back.
struct WantedSites: Codable, Hashable, Sendable {
  static let fileName = "wanted-sites.json"

  struct Site: Codable, Hashable, Sendable {
    /// `nil` for all that the user may reach.
    var agents: [String]?
    var reason: String
  }

  /// Whose they are, at which GateManager: another user's login takes up nothing.
  var user = ""
  var gate = ""
  /// By name.
  var sites: [String: Site] = [:]
  /// When the service was stopped in order, in seconds since 1970; `nil` while it runs and so after a crash.
  var stopped: Int64?

  static func load(from directory: StateDirectory) throws(CommandFailure) -> WantedSites {
    try directory.load(WantedSites.self, from: fileName, mending: "connect the sites again") ?? WantedSites()
  }

  /// Writes what is wanted; nothing wanted leaves no file.
  func save(to directory: StateDirectory) throws(CommandFailure) {
    if sites.isEmpty { directory.remove(Self.fileName) } else { try directory.save(self, as: Self.fileName) }
  }

  /// Whether `account` still waits for them: a service that crashed, or was stopped a moment ago, is to be as it was. One
  /// that was stopped yesterday isn't, for nobody has asked for a connection today.
  ///
  /// - Parameters:
  ///   - now: seconds since 1970. A clock that was set back doesn't make anything old.
  ///   - window: how long ago an orderly stop may be.
  func areCurrent(for account: Account, now: Int64, window: Interval) -> Bool {
    guard user == account.user, gate == account.gate.key.description else { return false }
    guard let stopped else { return true }
    return window > .zero && (now - stopped) <= window.milliseconds / 1000
  }
}
