import Control
import Crypto
import Framing
import Kernel
import Primitives

/// What a site is, for meeting LinkManagers: its identity and what it trusts.
public struct SiteIdentity: Sendable {
  public var server: GateServer
  /// What it shows of itself, to GateManager and end to end.
  public var credentials: TLSContext.Credentials
  public var keyHash: KeyHash
  /// GateManager's key for grants, known since enrolment.
  public var grantKey: PublicKey

  public init(
    server: GateServer, credentials: TLSContext.Credentials, keyHash: KeyHash, grantKey: PublicKey
  ) {
    self.server = server
    self.credentials = credentials
    self.keyHash = keyHash
    self.grantKey = grantKey
  }
}

/// Why a site didn't meet a LinkManager that GateManager had announced.
public enum ArrivalError: Error, Sendable, CustomStringConvertible {
  /// The grant isn't good; nothing was dialled.
  case grant(GrantError)
  case gate(GateError)
  case handshake(HandshakeError)
  case local(String)

  public var description: String {
    switch self {
    case .grant(let error): "the grant is refused: \(error)"
    case .gate(let error): "\(error)"
    case .handshake(let error): "the end-to-end handshake failed: \(error)"
    case .local(let reason): reason
    }
  }
}

extension SiteIdentity {
  /// Time to dial GateManager, wait for the LinkManager there and shake hands with it.
  static let meetingTime = Interval.seconds(45)

  /// Follows GateManager's call to a session: checks the grant, dials, and proves both ends to each other.
  ///
  /// Blocks for up to 45 s. The grant is judged before anything is dialled, and its key is what the
  /// LinkManager has to prove: GateManager can neither widen a grant nor take the LinkManager's place.
  ///
  /// The grant's times are compared with the time that GateManager says on its authenticated connection, not with this
  /// host's clock, which may be years off on a box without a battery. Who could lie about the time there holds the key
  /// that grants are signed with, and needs no lie.
  /// - Parameters:
  ///   - rules: the site's own agents, which alone decide what a grant can reach.
  ///   - services: what the site offers the one whom the grant names, besides flows to addresses.
  ///   - ownAddresses: of the site's interfaces: no subnet agent reaches them.
  public func meet(
    _ dial: ControlMessage.Dial, rules: [SiteRule], ownAddresses: Set<IPAddress> = [],
    limits: SiteLimits = SiteLimits(), services: @Sendable (Grant) -> SiteServices = { _ in .none },
    onFlow: @escaping @Sendable (FlowReport) -> Void,
    onEnd: @escaping @Sendable (SessionEnd) -> Void
  ) throws(ArrivalError) -> (session: SiteSession, grant: Grant) {
    let time = dial.serverTime ?? Clock.unixSeconds
    let arrival = Clock.now
    let grant: Grant
    do throws(GrantError) {
      let claims = try dial.grant.claims(signedBy: grantKey)
      grant = try dial.grant.verify(
        with: grantKey, site: keyHash, clientKey: claims.clientKey, session: dial.id, now: time)
    } catch {
      throw .grant(error)
    }
    let deadline = Clock.now + Self.meetingTime
    let socket: OwnedDescriptor
    do throws(GateError) {
      socket = try DataConnection.open(
        to: server, ticket: dial.ticket, credentials: credentials, until: deadline)
    } catch {
      throw .gate(error)
    }
    let outcome: EndToEndHandshake.Outcome
    do throws(HandshakeError) {
      let context: [UInt8]
      do { context = try dial.grant.exporterContext(session: dial.id) } catch { throw .cancelled }
      outcome = try EndToEndHandshake.run(
        on: socket, role: .site, credentials: credentials, expecting: grant.clientKey,
        exporterContext: context, until: deadline)
    } catch {
      throw .handshake(error)
    }
    let granted: Set<String>? =
      switch grant.agents {
      case .all: nil
      case .named(let names): Set(names)
      }
    // Wall-clock time counts once: later steps of a clock can't lengthen or shorten a session.
    let policy = SitePolicy(
      rules: rules, granted: granted, limits: grant.ports ?? [:],
      expires: arrival + .seconds(grant.remaining(at: time)), own: ownAddresses)
    do {
      let session = try SiteSession(
        id: dial.id, socket: socket, secrets: outcome.secrets, surplus: outcome.surplus, policy: policy, limits: limits,
        services: services(grant), onFlow: onFlow, onEnd: onEnd)
      return (session, grant)
    } catch {
      throw .local("\(error)")
    }
  }
}
