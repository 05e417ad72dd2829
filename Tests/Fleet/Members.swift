import Control
import Crypto
import Kernel
import Primitives
import Proxy
import Synchronization

/// Where the fleet is at home: the GateManager that all its members know.
struct Home: Sendable {
  /// The same one, by each of its addresses.
  private let servers: [GateServer]

  var server: GateServer { servers[0] }

  /// Trusts the key that answers at the address: a test's own GateManager.
  init(_ addresses: [HostPort]) throws {
    let key = try GateServer.keyHash(at: addresses[0], until: Clock.now + .seconds(20))
    self.init(addresses, key: key)
  }

  /// - Parameter key: GateManager's.
  init(_ addresses: [HostPort], key: KeyHash) {
    servers = addresses.map { GateServer($0, pin: .key(key)) }
  }

  /// Where a member connects to: one after the other has another address.
  func server(of member: Int) -> GateServer { servers[member % servers.count] }

  /// A site as `sitemanager enroll` makes it, without its files.
  func enroll(_ name: String, code: String) throws -> SiteIdentity {
    let key = try PrivateKey.generate()
    let request = try CertificateRequest(key: key, commonName: name)
    let answer = try ask(
      .enroll(.init(secret: try EnrolmentCode(code).secret, csr: request.pem, name: name)), role: .siteManager, name)
    guard case .enrolled(let enrolled) = answer else { throw GateError.unexpected("another answer") }
    return SiteIdentity(
      server: server, credentials: try credentials(enrolled.certificate, key),
      keyHash: key.keyHash, grantKey: enrolled.grantKey)
  }

  /// A user's PC as `linkmanager login` makes it.
  func login(_ user: String, password: String, pc: String) throws -> TLSContext.Credentials {
    let key = try PrivateKey.generate()
    let request = try CertificateRequest(key: key, commonName: user)
    let answer = try ask(
      .login(.init(user: user, password: password, csr: request.pem, pc: pc)), role: .linkManager, pc)
    guard case .loggedIn(let login) = answer else { throw GateError.unexpected("another answer") }
    return try credentials(login.certificate, key)
  }

  /// Asks until GateManager has the time for it, as it says itself when many ask at once.
  private func ask(_ message: ControlMessage, role: Role, _ name: String) throws -> ControlMessage {
    let hello = ControlMessage.Hello(role: role, name: name, software: "fleet/1")
    while true {
      do throws(GateError) {
        return try ControlExchange.request(message, of: server, hello: hello, until: Clock.now + .seconds(60))
      } catch {
        guard case .refused(let failure) = error, failure.code == .busy else { throw error }
        Thread.sleep(.milliseconds(500))
      }
    }
  }

  /// Without issuers, as the hosts show themselves.
  private func credentials(_ own: String, _ key: PrivateKey) throws -> TLSContext.Credentials {
    TLSContext.Credentials(try Certificate(pem: own), key: key)
  }
}

/// A user at a PC.
struct Login: Sendable {
  let user: String
  let credentials: TLSContext.Credentials
}

/// One site: its control connection, and sessions as a SiteManager has them.
final class FleetSite: Sendable {
  /// The only agent of a site: an echo service beside the fleet.
  static let agent = "echo"

  private let identity: SiteIdentity
  private let rule: SiteRule
  private let client = Mutex<ControlClient?>(nil)
  private let tally: Tally

  /// - Parameter echo: the device.
  init(_ identity: SiteIdentity, echo: Endpoint, tally: Tally) {
    self.identity = identity
    self.tally = tally
    let ports = [PortRange(echo.port)].compactMap { $0 }
    rule = SiteRule(
      agent: Self.agent, device: IPPrefix(echo.address, length: echo.address.bitWidth)!, tcp: ports, udp: [],
      echo: false)
  }

  func start(_ number: Int, name: String) throws {
    let made = try ControlClient(
      to: identity.server, credentials: identity.credentials,
      hello: .init(role: .siteManager, name: name, software: "fleet/1")
    ) { [self] event in
      switch event {
      case .connected:
        tally.connected(number)
        let description = AgentDescription(
          name: rule.agent, target: .device(rule.device?.address.family ?? .v4), tcp: rule.tcp, icmp: false)
        try? client.withLock { $0 }?.send(.agents([description]))
      case .disconnected(let error, _): tally.disconnected(number, error.kind)
      case .message(let envelope):
        if case .dial(let dial) = envelope.message { meet(dial) }
      }
    }
    client.withLock { $0 = made }
  }

  private func meet(_ dial: ControlMessage.Dial) {
    _ = try? Thread(name: "meet") { [self] in
      do {
        _ = try identity.meet(dial, rules: [rule], onFlow: { _ in }, onEnd: { _ in })
      } catch {
        tally.failed("meeting: \(error)")
      }
    }
  }

  func stop() {
    client.withLock { $0.take() }?.stop()
  }
}

extension GateError {
  /// What went wrong, without what differs from case to case.
  var kind: String {
    "\(self)".split(separator: ":").prefix(2).joined(separator: ":").filter { !$0.isNumber }
  }
}
