public import Crypto

/// A message of the control connection, without its envelope.
public enum ControlMessage: Hashable, Sendable {
  /// First from the peer.
  case hello(Hello)
  /// GateManager's answer to `hello`.
  case welcome(Welcome)
  /// The answer to a request that was refused.
  case failure(Failure)
  case enroll(Enroll)
  case enrolled(Enrolled)
  case login(Login)
  case loggedIn(LoggedIn)
  /// SiteManager → GateManager: all of its agents, whenever one has changed, and what else it can do, which older ones
  /// don't say.
  case agents([AgentDescription], features: SiteFeatures? = nil)
  /// SiteManager → GateManager: for the audit.
  case report(SiteReport)
  /// LinkManager → GateManager: which sites may I see?
  case list
  case sites([SiteSummary])
  /// LinkManager → GateManager: could I reach this now?
  case explain(Explain)
  case explained(Explained)
  case connect(Connect)
  /// GateManager → LinkManager: the answer to `connect`.
  case session(Session)
  /// GateManager → SiteManager: come and meet a LinkManager.
  case dial(Dial)
  /// LinkManager or SiteManager → GateManager: I won't come, or have left.
  case cancel(Ending)
  /// GateManager → both: cut the session at once.
  case revoke(Ending)
  /// GateManager → LinkManager: agents of a session are in another state now.
  case agentStates(AgentStates)
  /// GateManager → both: the session is over.
  case sessionEnded(Ending)
  /// On a data connection: let me meet the other holder of this session.
  case attach(Ticket)
  /// GateManager's answer to `attach`, once the other one is there.
  case attached
  case ping(UInt64)
  /// The number of the ping.
  case pong(UInt64)
  /// A type that a later version has added; to be ignored, or refused with `malformed` if it is a request.
  case unknown(String)
}

extension ControlMessage {
  public struct Hello: Hashable, Sendable, Codable {
    /// `ControlProtocol.version` of the sender.
    public var version: Int
    public var role: Role
    public var name: String
    /// Name and version of the sender's software.
    public var software: String

    public init(role: Role, name: String, software: String, version: Int = ControlProtocol.version) {
      self.version = version
      self.role = role
      self.name = name
      self.software = software
    }
  }

  public struct Welcome: Hashable, Sendable, Codable {
    /// The GateManager's name.
    public var gate: String
    /// How often both sides ping.
    public var heartbeatSeconds: Int
    /// Seconds since 1970, so that a peer can warn about its clock.
    public var serverTime: Int64

    public init(gate: String, heartbeatSeconds: Int, serverTime: Int64) {
      self.gate = gate
      self.heartbeatSeconds = heartbeatSeconds
      self.serverTime = serverTime
    }
  }

  public struct Failure: Hashable, Sendable, Codable, Error {
    public var code: FailureCode
    public var message: String
    /// Seconds.
    public var retryAfter: Int?

    public init(_ code: FailureCode, _ message: String, retryAfter: Int? = nil) {
      self.code = code
      self.message = message
      self.retryAfter = retryAfter
    }
  }

  public struct Enroll: Hashable, Sendable {
    /// `EnrolmentCode.secret`.
    public var secret: [UInt8]
    /// A certificate request in PEM.
    public var csr: String
    /// What the site would like to be called.
    public var name: String

    public init(secret: [UInt8], csr: String, name: String) {
      self.secret = secret
      self.csr = csr
      self.name = name
    }
  }

  public struct Enrolled: Hashable, Sendable, Codable {
    /// PEM.
    public var certificate, caCertificate: String
    /// What grants are to be verified with.
    public var grantKey: PublicKey
    /// What the site is called from now on.
    public var name: String

    public init(certificate: String, caCertificate: String, grantKey: PublicKey, name: String) {
      self.certificate = certificate
      self.caCertificate = caCertificate
      self.grantKey = grantKey
      self.name = name
    }
  }

  public struct Login: Hashable, Sendable, Codable {
    public var user, password: String
    /// A certificate request in PEM.
    public var csr: String
    /// The PC's name.
    public var pc: String
    /// A one-time code, where GateManager asks for one.
    public var code: String?

    public init(user: String, password: String, csr: String, pc: String, code: String? = nil) {
      self.code = code
      self.user = user
      self.password = password
      self.csr = csr
      self.pc = pc
    }
  }

  public struct LoggedIn: Hashable, Sendable, Codable {
    /// PEM.
    public var certificate, caCertificate: String
    public var user: String
    /// Seconds since 1970 until which the login holds; `nil` until it is withdrawn.
    public var expires: Int64?

    public init(certificate: String, caCertificate: String, user: String, expires: Int64? = nil) {
      self.certificate = certificate
      self.caCertificate = caCertificate
      self.user = user
      self.expires = expires
    }
  }

  public struct SiteSummary: Hashable, Sendable, Codable {
    public var name: String
    public var online: Bool
    public var keyHash: KeyHash
    public var agents: [AgentDescription]

    public init(name: String, online: Bool, keyHash: KeyHash, agents: [AgentDescription]) {
      self.name = name
      self.online = online
      self.keyHash = keyHash
      self.agents = agents
    }
  }

  public struct Connect: Hashable, Sendable, Codable {
    public var site: String
    /// `nil`: all that the user may reach.
    public var agents: [String]?
    /// What the user gives as the purpose.
    public var reason: String?

    public init(site: String, agents: [String]? = nil, reason: String? = nil) {
      self.site = site
      self.agents = agents
      self.reason = reason
    }
  }

  public struct Explain: Hashable, Sendable, Codable {
    public var site, agent: String
    /// As in `Connect`.
    public var reason: String?

    public init(site: String, agent: String, reason: String? = nil) {
      self.site = site
      self.agent = agent
      self.reason = reason
    }
  }

  public struct Explained: Hashable, Sendable, Codable {
    public var isAllowed: Bool
    /// For people: by which rule and until when, or why not.
    public var text: String

    public init(isAllowed: Bool, text: String) {
      self.isAllowed = isAllowed
      self.text = text
    }
  }

  public struct Session: Hashable, Sendable, Codable {
    public var id: SessionID
    public var ticket: Ticket
    public var grant: SignedGrant
    /// To be compared with the one that was pinned.
    public var siteKey: KeyHash
    public var agents: [AgentDescription]
    /// As the site has announced them, if it has.
    public var features: SiteFeatures?

    public init(
      id: SessionID, ticket: Ticket, grant: SignedGrant, siteKey: KeyHash, agents: [AgentDescription],
      features: SiteFeatures? = nil
    ) {
      self.features = features
      self.id = id
      self.ticket = ticket
      self.grant = grant
      self.siteKey = siteKey
      self.agents = agents
    }
  }

  public struct Dial: Hashable, Sendable, Codable {
    public var id: SessionID
    public var ticket: Ticket
    public var grant: SignedGrant
    /// GateManager's time, in seconds since 1970: what the grant's times are to be compared with. Older ones don't say.
    public var serverTime: Int64?

    public init(id: SessionID, ticket: Ticket, grant: SignedGrant, serverTime: Int64? = nil) {
      self.id = id
      self.ticket = ticket
      self.grant = grant
      self.serverTime = serverTime
    }
  }

  public struct Ending: Hashable, Sendable, Codable {
    public var id: SessionID
    /// For people.
    public var reason: String

    public init(id: SessionID, reason: String) {
      self.id = id
      self.reason = reason
    }
  }
}

extension ControlMessage.Enroll: Codable {
  private enum CodingKeys: String, CodingKey { case secret, csr, name }

  public init(from decoder: any Decoder) throws {
    let container = try decoder.container(keyedBy: CodingKeys.self)
    guard let secret = Base64.decode(try container.decode(String.self, forKey: .secret)) else {
      throw DecodingError.dataCorruptedError(forKey: .secret, in: container, debugDescription: "not Base64")
    }
    self.init(
      secret: secret, csr: try container.decode(String.self, forKey: .csr),
      name: try container.decode(String.self, forKey: .name))
  }

  public func encode(to encoder: any Encoder) throws {
    var container = encoder.container(keyedBy: CodingKeys.self)
    try container.encode(Base64.encode(secret), forKey: .secret)
    try container.encode(csr, forKey: .csr)
    try container.encode(name, forKey: .name)
  }
}

// Secrets must not end up in logs with the message that carries them.
extension ControlMessage.Enroll: CustomStringConvertible {
  public var description: String { "Enroll(name: \(name))" }
}

extension ControlMessage.Login: CustomStringConvertible {
  public var description: String { "Login(user: \(user), pc: \(pc))" }
}
