import Control
import Crypto
import Foundation
import Kernel
import Proxy

/// The directory of a GateManager that doesn't run yet. Members are registered there as if they had enrolled or logged
/// in: each enrolment looks at all sites, so that ten thousand of them would take longer than all that is measured.
struct GateRegister: Sendable {
  private let path: String
  private let authority: Identity
  private let grantKey: PublicKey

  /// The key that all members pin.
  let gateKey: KeyHash

  init(_ path: String) throws {
    self.path = path
    authority = try Identity.load(keyPath: "\(path)/ca.key", certificatePath: "\(path)/ca.pem")
    for folder in ["users", "sites"] { try AtomicFile.makeDirectory("\(path)/\(folder)") }
    grantKey = try PrivateKey(contentsOf: "\(path)/grant.key").publicKey
    gateKey = try Certificate(contentsOf: "\(path)/server.pem").keyHash
  }

  /// What `sites/NAME.json` and `users/NAME.json` of a version before 0.2 hold, which the service takes over; see `SiteRecord` and `UserRecord` of GateManager.
  private struct SiteRecord: Encodable {
    var version = 1
    var name: String
    var created, enrolled: Int64
    var key: KeyHash
  }

  private struct UserRecord: Encodable {
    struct PC: Encodable {
      var key: KeyHash
      var name: String
      var since: Int64
    }

    var version = 1
    var name, password: String
    var created: Int64
    var pcs: [PC]
  }

  func site(_ name: String, at server: GateServer) throws -> SiteIdentity {
    let (key, credentials) = try identity(name, unit: "SiteManager")
    let now = Clock.unixSeconds
    try write(SiteRecord(name: name, created: now, enrolled: now, key: key.keyHash), to: "sites/\(name).json")
    return SiteIdentity(server: server, credentials: credentials, keyHash: key.keyHash, grantKey: grantKey)
  }

  /// A user with so many PCs.
  func user(_ name: String, password: PasswordHash, pcs: [String]) throws -> [Login] {
    let now = Clock.unixSeconds
    let made = try pcs.map { _ in try identity(name, unit: "LinkManager") }
    let record = UserRecord(
      name: name, password: "\(password)", created: now,
      pcs: zip(pcs, made).map { .init(key: $1.0.keyHash, name: $0, since: now) })
    try write(record, to: "users/\(name).json")
    return made.map { Login(user: name, credentials: $0.1) }
  }

  private func identity(_ name: String, unit: String) throws -> (PrivateKey, TLSContext.Credentials) {
    let key = try PrivateKey.generate()
    let profile = CertificateProfile(
      commonName: name, organizationalUnit: unit, usage: .peer, now: Clock.unixSeconds)
    let certificate = try authority.certificate.issue(profile, for: key.publicKey, key: authority.key)
    return (key, TLSContext.Credentials(certificate, key: key))
  }

  private func write(_ record: some Encodable, to name: String) throws {
    try AtomicFile.write(
      Array(JSONEncoder().encode(record)), to: "\(path)/\(name)", permissions: 0o600, replacing: false)
  }
}
