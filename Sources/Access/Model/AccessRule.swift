public import Control

/// Lets an account or a group reach agents. What no rule allows is denied.
public struct AccessRule: Hashable, Sendable, Codable {
  public typealias ID = Int64

  public enum Subject: Hashable, Sendable, Codable {
    case account(String), group(String)

    public var text: String {
      switch self {
      case .account(let name): "account \(name)"
      case .group(let name): "group \(name)"
      }
    }
  }

  /// Given by the store; counts up, and is never given again.
  public var id: ID
  public var subject: Subject
  /// All sites in it and below.
  public var domain: DomainPath
  /// One of these sites only.
  public var site: String?
  /// `nil` for all agents, also such as the site adds later.
  public var agents: [String]?
  /// `nil` for whatever the agents have.
  public var ports: PortLimits?
  /// `nil` for always.
  public var slots: WeeklySlots?
  public var requiresReason: Bool
  public var isEnabled: Bool
  /// Seconds since 1970.
  public var created: Int64

  public init(
    id: ID = 0, subject: Subject, domain: DomainPath, site: String? = nil, agents: [String]? = nil,
    ports: PortLimits? = nil, slots: WeeklySlots? = nil, requiresReason: Bool = false, isEnabled: Bool = true,
    created: Int64
  ) {
    self.id = id
    self.subject = subject
    self.domain = domain
    self.site = site
    self.agents = agents
    self.ports = ports
    self.slots = slots
    self.requiresReason = requiresReason
    self.isEnabled = isEnabled
    self.created = created
  }

  public func covers(agent name: String) -> Bool { agents?.contains(name) ?? true }
}
