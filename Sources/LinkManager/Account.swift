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
    try directory.load(Account.self, from: fileName)
  }

  func save(in directory: StateDirectory) throws(CommandFailure) {
    try directory.save(self, as: Self.fileName)
  }
}
