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
    /// A site says what was done there with a session: a capture, or a device that was given a name or an address.
    case siteReport
    /// A site's operator has switched agents off, or on again.
    case veto
    /// Events are missing here: there was no room for them while the audit couldn't be written.
    case omitted

    /// Severity of RFC 5424 section 6.2.1: 4 warning, 5 notice, 6 informational.
    var severity: Int {
      switch self {
      case .refusal, .omitted: 4
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
  /// How many events were left out, or packets captured.
  public var count: Int64?

  public init(_ kind: Kind, account: String? = nil) {
    self.kind = kind
    self.account = account
  }

  /// Each text and list within its bound, and all together within `AccessLimits.auditEntryBytes`: what peers say is among
  /// them.
  func bounded() -> AuditEvent {
    var event = self
    for path in [
      \AuditEvent.account, \.pc, \.key, \.address, \.site, \.session, \.reason, \.operation, \.object,
    ] as [WritableKeyPath<AuditEvent, String?>] {
      event[keyPath: path] = event[keyPath: path].map { Self.cut($0, AccessLimits.textBytes) }
    }
    event.agents = event.agents.map { Self.cut($0) }
    event.rules = event.rules.map { Array($0.prefix(AccessLimits.auditRules)) }
    return event
  }

  private static func cut(_ text: String, _ bytes: Int) -> String {
    var text = text.prefix(bytes: bytes)
    while size(text) > AccessLimits.auditTextBytes { text.removeLast() }
    return text
  }

  /// As many as there is room for; `…` stands for the others.
  private static func cut(_ agents: [String]) -> [String] {
    var kept: [String] = []
    var room = AccessLimits.auditAgentsBytes
    for agent in agents {
      let name = agent.prefix(bytes: AccessLimits.auditAgentNameBytes)
      // With quotation marks and a comma.
      room -= size(name) + 3
      guard kept.count < AccessLimits.ruleAgents, room >= 0 else { return kept + ["…"] }
      kept.append(name)
    }
    return kept
  }

  /// The most bytes that a text takes in JSON, without its quotation marks.
  private static func size(_ text: String) -> Int {
    text.utf8.reduce(0) { size, byte in
      switch byte {
      case 0..<0x20, 0x7F: size + 6
      case UInt8(ascii: "\""), UInt8(ascii: "\\"): size + 2
      default: size + 1
      }
    }
  }
}

/// An event and when it happened, before it has its place. Bounded from the beginning: it may have to wait.
public struct AuditLine: Hashable, Sendable {
  public let event: AuditEvent
  /// Microseconds since 1970.
  public let time: Int64

  public init(event: AuditEvent, time: Int64) {
    self.event = event.bounded()
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
