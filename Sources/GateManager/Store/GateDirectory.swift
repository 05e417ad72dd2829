import Control
import Crypto
import FoundationEssentials
import Glibc
import Kernel

/// The state of a GateManager on disk.
///
///     gate.json                 its name
///     ca.key ca.pem             issues the certificates below and those of sites and users
///     server.key server.pem     outer TLS: the key that sites and users pin
///     grant.key                 signs grants; sites get the public half at enrolment
///     users/NAME.json sites/NAME.json
struct GateDirectory: Sendable {
  let path: String
  let users: RecordFolder<UserRecord>
  let sites: RecordFolder<SiteRecord>

  init(_ path: String) {
    self.path = path.count > 1 && path.hasSuffix("/") ? String(path.dropLast()) : path
    users = RecordFolder(directory: self.path)
    sites = RecordFolder(directory: self.path)
  }

  private struct Settings: Codable {
    var name: String
  }

  /// What the service works with.
  struct Keys: Sendable {
    let gate: String
    let authority: Identity
    let server: Identity
    let grantKey: PrivateKey
  }

  /// Makes keys and certificates. Nothing that is there already is replaced.
  func create(name: String) throws(StoreError) -> KeyHash {
    guard AgentDescription.isValidName(name) else { throw .invalidName(name) }
    var parent = path.hasPrefix("/") ? "" : "."
    for part in path.split(separator: "/").dropLast() {
      parent += "/\(part)"
      try Self.makeDirectory(parent, 0o755)
    }
    for folder in [path, users.path, sites.path] { try Self.makeDirectory(folder, 0o700) }
    guard unsafe access(file("ca.key"), F_OK) != 0 else { throw .alreadyInitialized(path) }
    do throws(CryptoError) {
      let now = Clock.unixSeconds
      let authority = try Identity.create(
        CertificateProfile(commonName: "\(name.prefix(50)) CA", usage: .authority, now: now),
        keyPath: file("ca.key"), certificatePath: file("ca.pem"))
      let key = try PrivateKey.generate()
      let profile = CertificateProfile(
        commonName: name, organizationalUnit: "GateManager", usage: .server([.dns(name)]), now: now)
      let certificate = try authority.certificate.issue(profile, for: key.publicKey, key: authority.key)
      try Identity(key: key, certificate: certificate).write(
        keyPath: file("server.key"), certificatePath: file("server.pem"))
      try PrivateKey.generate().write(to: file("grant.key"))
      // Last: its being there says that all else is.
      let settings = try? JSONEncoder().encode(Settings(name: name))
      try AtomicFile.write(
        Array(settings ?? Data()) + [0x0A], to: file("gate.json"), permissions: 0o600, replacing: true)
      return key.keyHash
    } catch {
      throw .failed(error)
    }
  }

  func loadKeys() throws(StoreError) -> Keys {
    let settings: [UInt8]
    do throws(CryptoError) {
      settings = try AtomicFile.read(file("gate.json"), limit: 64 << 10)
    } catch {
      throw error.kind == .system(ENOENT) ? .notInitialized(path) : .failed(error)
    }
    guard let parsed = try? JSONDecoder().decode(Settings.self, from: Data(settings)) else {
      throw .malformed(path: file("gate.json"), reason: "is no JSON object with a member `name`")
    }
    do throws(CryptoError) {
      let authority = try Identity.load(keyPath: file("ca.key"), certificatePath: file("ca.pem"))
      let server = try Identity.load(keyPath: file("server.key"), certificatePath: file("server.pem"))
      return Keys(
        gate: parsed.name, authority: authority,
        server: try Identity(key: server.key, certificate: server.certificate, chain: [authority.certificate]),
        grantKey: try PrivateKey(contentsOf: file("grant.key")))
    } catch {
      throw .failed(error)
    }
  }

  /// Removes what a killed process has left half-written. To be called when the service starts.
  func tidy() {
    for folder in [path, users.path, sites.path] { AtomicFile.removeAbandoned(in: folder) }
  }

  func loadMembership() -> (Membership, problems: [StoreError]) {
    let (users, sites) = (users.loadAll(), sites.loadAll())
    return (Membership(users: users.entries, sites: sites.entries), users.problems + sites.problems)
  }

  /// One that is there already is left as it is.
  private static func makeDirectory(_ path: String, _ permissions: mode_t) throws(StoreError) {
    guard unsafe mkdir(path, permissions) != 0, errno != EEXIST else { return }
    let code = errno
    throw .failed(CryptoError("mkdir", .system(code), reason: unsafe "\(path): \(String(cString: strerror(code)))"))
  }

  private func file(_ name: String) -> String { "\(path)/\(name)" }
}
