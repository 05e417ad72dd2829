import Access
import Control
import Crypto
import Service

/// What is kept under a name, in a file of its own.
protocol Record: Codable, Sendable {
  /// The directory's name, and the word for messages.
  static var folder: String { get }
  static var word: String { get }
  var name: String { get }
  /// What is wrong with its fields beyond their form; `nil` if nothing is.
  var problem: StateFileError? { get }
}

/// `users/NAME.json`.
struct UserRecord: Record, Hashable {
  static let folder = "users"
  static let word = "user"

  /// A LinkManager that the user has logged in from.
  struct PC: Codable, Hashable, Sendable {
    var key: KeyHash
    var name: String
    /// Seconds since 1970.
    var since: Int64
  }

  var name: String
  /// The text form of `PasswordHash`.
  var password: String
  /// Seconds since 1970.
  var created: Int64
  var pcs: [PC] = []

  var problem: StateFileError? {
    PasswordHash(password) == nil ? StateFileError(field: ["password"], reason: "is no hash of a password") : nil
  }
}

/// `sites/NAME.json`.
struct SiteRecord: Record, Hashable {
  static let folder = "sites"
  static let word = "site"

  /// A code that is out. Gone once it was used.
  struct Enrolment: Codable, Hashable, Sendable {
    /// Hexadecimal digits of `EnrolmentCode.hash`.
    var secretHash: String
    /// Seconds since 1970.
    var expires: Int64
  }

  var name: String
  /// Seconds since 1970.
  var created: Int64
  var enrolment: Enrolment?
  /// `nil` until a SiteManager has enrolled.
  var key: KeyHash?
  var enrolled: Int64?

  var problem: StateFileError? {
    guard let enrolment, Hex.decode(enrolment.secretHash)?.count != SHA256.Digest.size else { return nil }
    return StateFileError(field: ["enrolment", "secretHash"], reason: "is no hash of a code")
  }
}

extension UserRecord {
  /// The same in the store: in ROOT, with the one role that there was.
  var account: Account {
    Account(
      name: name, password: password, created: created,
      pcs: pcs.map { Account.PC(key: $0.key, name: $0.name, since: $0.since) })
  }
}

extension SiteRecord {
  var site: AccessSite {
    AccessSite(
      name: name, domain: .root, created: created,
      enrolment: enrolment.map { AccessSite.Enrolment(secretHash: $0.secretHash.lowercased(), expires: $0.expires) },
      key: key, enrolled: enrolled)
  }
}
