public import Control

/// What a site that is connected has said of itself.
public struct SiteAnnouncement: Hashable, Sendable {
  public var agents: [AgentDescription]
  /// Whether it understands grants that limit the ports of an agent.
  public var grantedPorts: Bool

  public init(_ agents: [AgentDescription], features: SiteFeatures?) {
    self.agents = agents
    grantedPorts = features?.contains(SiteFeatures.grantedPorts) ?? false
  }
}
