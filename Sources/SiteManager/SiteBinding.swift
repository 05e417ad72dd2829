import Crypto
import Service

/// What enrolment left: which GateManager this site belongs to, and how each knows the other.
///
/// Kept in one file, so that a site is bound or not, and never half. The private key is in a file of its own.
struct SiteBinding: Codable, Hashable, Sendable {
  static let fileName = "binding.json"

  /// What the GateManager calls this site.
  var name: String
  var gate: GateBinding
  /// What grants are verified with.
  var grantKey: PublicKey

  /// `nil` if the site isn't enrolled.
  static func load(from directory: StateDirectory) throws(CommandFailure) -> SiteBinding? {
    try directory.load(SiteBinding.self, from: fileName, mending: mending) { $0.gate.problem(at: "gate") }
  }

  private static let mending = "restore it from a backup, or run `sitemanager enroll --replace` with a new code"

  /// The key that this site shows, and its certificate.
  func credentials(
    in directory: StateDirectory
  ) throws(CommandFailure) -> (key: PrivateKey, credentials: TLSContext.Credentials) {
    let key = try directory.key(
      mending: "restore it from a backup, or move it away and run `sitemanager enroll --replace` with a new code")
    guard let found = try? Certificate(pem: gate.certificate), found.keyHash == key.keyHash else {
      throw CommandFailure(
        .configuration,
        "\(directory.path(of: Self.fileName)): field \"gate.certificate\" is for another key than "
          + "\(StateDirectory.keyName): restore both from one backup, or run `sitemanager enroll --replace` with a new "
          + "code")
    }
    return (key, try gate.credentials(with: key))
  }

  func save(in directory: StateDirectory) throws(CommandFailure) {
    try directory.save(self, as: Self.fileName)
  }
}
