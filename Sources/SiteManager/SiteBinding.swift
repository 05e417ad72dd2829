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
    try directory.load(SiteBinding.self, from: fileName)
  }

  func save(in directory: StateDirectory) throws(CommandFailure) {
    try directory.save(self, as: Self.fileName)
  }
}
