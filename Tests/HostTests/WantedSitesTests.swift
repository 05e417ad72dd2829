import Crypto
import Kernel
import Primitives
import Proxy
import Service
import Testing

@testable import LinkManager

@Suite struct WantedSitesTests {
  private static let window = Interval.seconds(600)

  /// An account as a login leaves it, at the GateManager that has `authority`.
  private func account(_ user: String, _ authority: PrivateKey) throws -> Account {
    let now = Clock.unixSeconds
    let issuer = try Certificate.selfSigned(
      CertificateProfile(commonName: "authority", usage: .authority, now: now), key: authority)
    let key = try PrivateKey.generate()
    let certificate = try issuer.issue(
      CertificateProfile(commonName: user, usage: .peer, now: now), for: key.publicKey, key: authority)
    let server = GateServer(HostPort("gm.example:443")!, pin: .key(authority.keyHash))
    return Account(
      user: user, pc: "bench",
      gate: try GateBinding(
        to: server, proxy: nil, certificate: certificate.pem, caCertificate: issuer.pem, key: key))
  }

  @Test func theyAreTakenUpByTheirUserOnly() throws {
    let authority = try PrivateKey.generate()
    let ann = try account("ann", authority)
    var wanted = WantedSites(user: "ann", gate: "\(authority.keyHash)")
    wanted.sites["plant-7"] = WantedSites.Site(agents: ["plc"], reason: "drive 3 trips")
    #expect(wanted.areCurrent(for: ann, now: 5_000, window: Self.window))
    #expect(try !wanted.areCurrent(for: account("bob", authority), now: 5_000, window: Self.window))
    #expect(try !wanted.areCurrent(for: account("ann", .generate()), now: 5_000, window: Self.window))
  }

  @Test func afterACrashAlwaysAndAfterAStopForAWhile() throws {
    let authority = try PrivateKey.generate()
    let ann = try account("ann", authority)
    var wanted = WantedSites(user: "ann", gate: "\(authority.keyHash)")
    #expect(wanted.areCurrent(for: ann, now: 5_000, window: .zero))
    wanted.stopped = 4_400
    #expect(wanted.areCurrent(for: ann, now: 5_000, window: Self.window))
    #expect(!wanted.areCurrent(for: ann, now: 5_001, window: Self.window))
    #expect(!wanted.areCurrent(for: ann, now: 4_400, window: .zero))
    // The clock was set back meanwhile.
    #expect(wanted.areCurrent(for: ann, now: 100, window: Self.window))
  }

  @Test func nothingWantedLeavesNoFile() throws {
    let directory = try TemporaryDirectory()
    try directory.state.create()
    var wanted = try WantedSites.load(from: directory.state)
    #expect(wanted == WantedSites())
    wanted.sites["plant-7"] = WantedSites.Site(agents: nil, reason: "")
    wanted.stopped = 7
    try wanted.save(to: directory.state)
    #expect(try WantedSites.load(from: directory.state) == wanted)
    #expect(directory.mode(of: WantedSites.fileName) == 0o600)
    try WantedSites().save(to: directory.state)
    #expect(!directory.state.contains(WantedSites.fileName))
  }
}
