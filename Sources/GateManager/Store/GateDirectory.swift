import Access
import Control
import Crypto
import Glibc
import Kernel
import Service

/// The state of a GateManager on disk.
///
///     gate.json                 its name
///     ca.key ca.pem             issues the certificates below and those of sites and users
///     server.key server.pem     outer TLS: the key that sites and users pin
///     grant.key                 signs grants; sites get the public half at enrolment
///     access.sqlite             people, sites, rules and the audit; and its -wal and -shm
struct GateDirectory: Sendable {
  let path: String
  /// Of versions before 0.2.
  private let users: RecordFolder<UserRecord>
  private let sites: RecordFolder<SiteRecord>

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
    try Self.makeDirectory(path, 0o700)
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
      try AtomicFile.write(
        StateFile.encode(Settings(name: name)) ?? [], to: file("gate.json"), permissions: 0o600, replacing: true)
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
    let parsed: Settings
    do throws(StateFileError) {
      parsed = try StateFile.decode(Settings.self, from: settings) { settings in
        AgentDescription.isValidName(settings.name)
          ? nil : StateFileError(field: ["name"], reason: "is no name, such as gm.example.org")
      }
    } catch {
      throw .unreadable(path: file("gate.json"), error, mending: "restore it from a backup")
    }
    var server = try loadIdentity("server")
    let authority = try loadIdentity("ca")
    server.chain = [authority.certificate]
    return Keys(gate: parsed.name, authority: authority, server: server, grantKey: try loadKey("grant.key"))
  }

  private func loadIdentity(_ name: String) throws(StoreError) -> Identity {
    let key = try loadKey("\(name).key")
    let certificate: Certificate
    do throws(CryptoError) {
      certificate = try Certificate(contentsOf: file("\(name).pem"))
    } catch {
      throw unusable("\(name).pem", "holds no certificate in PEM", error)
    }
    do throws(CryptoError) {
      return try Identity(key: key, certificate: certificate)
    } catch {
      throw unusable("\(name).pem", "is for another key than \(name).key", error)
    }
  }

  private func loadKey(_ name: String) throws(StoreError) -> PrivateKey {
    do throws(CryptoError) {
      return try PrivateKey(contentsOf: file(name))
    } catch {
      throw unusable(name, "holds no private key in PEM", error)
    }
  }

  private func unusable(_ name: String, _ reason: String, _ error: CryptoError) -> StoreError {
    if case .system = error.kind { return .failed(error) }
    return .malformed(
      path: file(name),
      reason: "\(reason): restore it from a backup. With another key all would have to be enrolled again")
  }

  /// Removes what a killed process has left half-written. To be called when the service starts.
  func tidy() {
    AtomicFile.removeAbandoned(in: path)
  }

  var storePath: String { file("access.sqlite") }

  /// Opens the store. A new one gets what `users` and `sites` hold, in a directory of before; these are kept as they were
  /// under another name. Nothing is taken from them while one of their files can't be read: it would be lost to its owner.
  func openStore(_ keys: Keys) throws(StoreError) -> AccessStore {
    let store: AccessStore
    do throws(AccessStoreError) {
      store = try AccessStore(path: storePath, key: keys.grantKey)
    } catch {
      throw .store(error)
    }
    if store.state.domains.isEmpty {
      let (users, sites, problems) = records()
      if let problem = problems.first { throw problem }
      do throws(AccessStoreError) {
        _ = try store.setUp(accounts: users.map(\.account), sites: sites.map(\.site), time: Clock.unixMicroseconds)
      } catch {
        throw .store(error)
      }
    }
    if users.exists { users.retire() }
    if sites.exists { sites.retire() }
    return store
  }

  /// What a version before 0.2 has left here, and what can't be read of it.
  func records() -> (users: [UserRecord], sites: [SiteRecord], problems: [StoreError]) {
    let (users, sites) = (users.loadAll(), sites.loadAll())
    return (users.entries, sites.entries, users.problems + sites.problems)
  }

  /// One that is there already is left as it is.
  private static func makeDirectory(_ path: String, _ permissions: mode_t) throws(StoreError) {
    guard unsafe mkdir(path, permissions) != 0, errno != EEXIST else { return }
    let code = errno
    throw .failed(CryptoError("mkdir", .system(code), reason: unsafe "\(path): \(String(cString: strerror(code)))"))
  }

  private func file(_ name: String) -> String { "\(path)/\(name)" }
}
