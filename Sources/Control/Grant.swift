public import Crypto

/// GateManager's word that a user on a PC may reach agents of a site for a time, as SiteManager checks it.
public struct Grant: Hashable, Sendable, Codable {
  public enum Agents: Hashable, Sendable {
    /// All that the site itself allows.
    case all
    case named([String])
  }

  /// The form that this code writes and understands.
  public static let version = 1

  public var version = Grant.version
  public var session: SessionID
  /// The GateManager's name.
  public var gate: String
  public var site: String
  public var siteKey: KeyHash
  public var user: String
  public var pc: String
  /// The LinkManager's key.
  public var clientKey: KeyHash
  public var agents: Agents
  /// The ports that are given of an agent, by its name: of one that isn't named here, all that the site itself permits.
  /// An interface has none, and of its agent nothing is given then. A critical claim.
  public private(set) var ports: [String: PortLimits]?
  /// Seconds since 1970.
  public var notBefore, notAfter: Int64
  /// What the user gave as the purpose.
  public var reason: String?
  /// Names of claims that a verifier must understand or else refuse the grant, as in RFC 7515 section 4.1.11. Without
  /// it, a restriction that is added later would go unseen at a site that wasn't updated.
  public var critical: [String]?

  public init(
    session: SessionID, gate: String, site: String, siteKey: KeyHash, user: String, pc: String, clientKey: KeyHash,
    agents: Agents, ports: [String: PortLimits] = [:], notBefore: Int64, notAfter: Int64, reason: String? = nil
  ) {
    self.session = session
    self.gate = gate
    self.site = site
    self.siteKey = siteKey
    self.user = user
    self.pc = pc
    self.clientKey = clientKey
    self.agents = agents
    // Without limits it says what it has always said, which every site understands.
    self.ports = ports.isEmpty ? nil : ports
    critical = ports.isEmpty ? nil : [Self.portsClaim]
    self.notBefore = notBefore
    self.notAfter = notAfter
    self.reason = reason
  }

  /// The name of `ports` among critical claims.
  public static let portsClaim = "ports"
  /// Claims that this version understands.
  static let knownClaims: Set<String> = [portsClaim]

  /// Whether this agent of the site is granted.
  public func permits(agent name: String) -> Bool {
    switch agents {
    case .all: true
    case .named(let names): names.contains(name)
    }
  }

  /// Seconds that a grant can hold at most, whatever it says: longer than GateManager's longest.
  public static let longestTime: Int64 = 31 * 24 * 3600

  /// Seconds left at a time, in seconds since 1970: 0 if it is over, and `longestTime` at most.
  public func remaining(at time: Int64) -> Int64 {
    let (left, overflow) = notAfter.subtractingReportingOverflow(time)
    guard !overflow else { return time < 0 ? Self.longestTime : 0 }
    return min(max(0, left), Self.longestTime)
  }

  /// Claims in the form that is signed.
  public func signed(with key: PrivateKey) throws(CryptoError) -> SignedGrant {
    let bytes: [UInt8]
    do throws(JSONError) {
      bytes = try JSON.encode(self)
    } catch {
      throw CryptoError("grant", .misuse, reason: error.reason)
    }
    return SignedGrant(bytes: bytes, signature: try key.sign(bytes))
  }
}

extension Grant.Agents: Codable {
  private static let allText = "all"

  /// An array of names, or the text "all"; never nothing, so that a field that is missing grants nothing.
  public init(from decoder: any Decoder) throws {
    let container = try decoder.singleValueContainer()
    if let names = try? container.decode([String].self) {
      self = .named(names)
    } else if try container.decode(String.self) == Self.allText {
      self = .all
    } else {
      throw DecodingError.dataCorruptedError(in: container, debugDescription: "neither names nor \"all\"")
    }
  }

  public func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    switch self {
    case .all: try container.encode(Self.allText)
    case .named(let names): try container.encode(names)
    }
  }
}

/// Why a grant was refused.
public enum GrantError: Error, Hashable, Sendable, CustomStringConvertible {
  /// Not signed by the GateManager that this site is enrolled with, or changed since.
  case badSignature
  case malformed(field: String, reason: String)
  case unsupportedVersion(Int)
  /// It depends on a claim that this code doesn't know.
  case unsupportedClaim(String)
  case wrongSite
  /// It was given to another LinkManager's key.
  case wrongClient
  case wrongSession
  /// Seconds since 1970.
  case notYetValid(from: Int64)
  /// Seconds since 1970.
  case expired(at: Int64)

  public var description: String {
    switch self {
    case .badSignature: "the grant is not signed by this site's GateManager"
    case .malformed(let field, let reason): "the grant is malformed: \(field.isEmpty ? "" : field + " ")\(reason)"
    case .unsupportedVersion(let version) where version > Grant.version:
      "the grant is of version \(version), and this site knows \(Grant.version): it is too old, and has to be updated"
    case .unsupportedVersion(let version):
      "the grant is of version \(version), and this site knows \(Grant.version): the GateManager is too old, and has to be "
        + "updated"
    case .unsupportedClaim(let name):
      "the grant depends on \"\(name.prefix(64))\", which this site doesn't know: it is too old, and has to be updated"
    case .wrongSite: "the grant is for another site"
    case .wrongClient: "the grant is for another LinkManager"
    case .wrongSession: "the grant is for another session"
    case .notYetValid(let time): "the grant is not valid before \(time)"
    case .expired(let time): "the grant expired at \(time)"
    }
  }
}
