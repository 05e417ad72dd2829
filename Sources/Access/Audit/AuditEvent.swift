internal import Control

/// Something that happened, as it is told of later. Who did it is an account, not a machine.
public struct AuditEvent: Hashable, Sendable, Codable {
  public enum Kind: String, Hashable, Sendable, Codable, CaseIterable {
    /// The service, and its store.
    case started, stopped, created, imported, restored
    /// Somebody proved to be who they are, or didn't.
    case login, enrolment, refusal
    /// A site came to a domain, or left it.
    case attachment
    /// Something was changed by an operation: of rules, and of anything else.
    case ruleChange, change
    case connect, disconnect

    /// Severity of RFC 5424 section 6.2.1: 4 warning, 5 notice, 6 informational.
    var severity: Int {
      switch self {
      case .refusal: 4
      case .started, .stopped: 6
      default: 5
      }
    }
  }

  public var kind: Kind
  /// Who did it: an account's name, or `host` for who works on GateManager's host.
  public var account: String?
  public var pc: String?
  public var key: String?
  public var address: String?
  public var site: String?
  public var agents: [String]?
  public var session: String?
  /// What a user gave as the purpose, or why something was refused or ended.
  public var reason: String?
  /// The operation, and what it was done to.
  public var operation: String?
  public var object: String?
  /// The rules that allowed it.
  public var rules: [AccessRule.ID]?
  /// Ciphertext from the LinkManager, and from the SiteManager.
  public var bytesFromLink, bytesFromSite: UInt64?
  public var milliseconds: Int64?

  public init(_ kind: Kind, account: String? = nil) {
    self.kind = kind
    self.account = account
  }

  /// Each text within its bound: what peers say is among them.
  func bounded() -> AuditEvent {
    var event = self
    for path in [
      \AuditEvent.account, \.pc, \.key, \.address, \.site, \.session, \.reason, \.operation, \.object,
    ] as [WritableKeyPath<AuditEvent, String?>] {
      event[keyPath: path] = event[keyPath: path].map { $0.prefix(bytes: AccessLimits.textBytes) }
    }
    event.agents = event.agents.map { agents in
      agents.prefix(AccessLimits.ruleAgents).map { $0.prefix(bytes: AccessLimits.domainNameBytes * 2) }
    }
    event.rules = event.rules.map { Array($0.prefix(AccessLimits.ruleAgents)) }
    return event
  }
}

/// An event and when it happened, before it has its place.
public struct AuditLine: Hashable, Sendable {
  public var event: AuditEvent
  /// Microseconds since 1970.
  public var time: Int64

  public init(event: AuditEvent, time: Int64) {
    self.event = event
    self.time = time
  }
}

/// An event with its place in the audit.
public struct AuditEntry: Hashable, Sendable, Codable {
  /// From 1, without a gap.
  public var number: Int64
  /// Microseconds since 1970.
  public var time: Int64
  public var event: AuditEvent

  public init(number: Int64, time: Int64, event: AuditEvent) {
    self.number = number
    self.time = time
    self.event = event
  }
}
