import Crypto
import Service

/// What a login left: who the user is at which GateManager, and how each knows the other.
///
/// Kept in one file, so that one is logged in or not, and never half. The private key is in a file of its own.
struct Account: Codable, Hashable, Sendable {
  static let fileName = "account.json"

  var user: String
  /// What the GateManager calls this PC.
  var pc: String
  var gate: GateBinding
  /// Seconds since 1970 until which the login holds; `nil` until it is withdrawn.
  var expires: Int64?

  /// `nil` if nobody is logged in.
  static func load(from directory: StateDirectory) throws(CommandFailure) -> Account? {
    try directory.load(Account.self, from: fileName, mending: mending) { $0.gate.problem(at: "gate") }
  }

  /// Moving it away is somebody's own act, since the GateManager's key is pinned in it.
  private static let mending = "restore it from a backup, or move it away and run `linkmanager login` again"

  /// What this PC shows of itself.
  func credentials(in directory: StateDirectory) throws(CommandFailure) -> TLSContext.Credentials {
    let again = "restore both from one backup, or run `linkmanager login` again"
    let key = try directory.key(
      mending: "restore it from a backup, or move it away and run `linkmanager login` again")
    guard let found = try? Certificate(pem: gate.certificate), found.keyHash == key.keyHash else {
      throw CommandFailure(
        .configuration,
        "\(directory.path(of: Self.fileName)): field \"gate.certificate\" is for another key than "
          + "\(StateDirectory.keyName): \(again)")
    }
    return try gate.credentials(with: key)
  }

  func save(in directory: StateDirectory) throws(CommandFailure) {
    try directory.save(self, as: Self.fileName)
  }
}
