import Control
import Synchronization

/// The agents of the sites that are connected, for threads other than the front's.
final class AnnouncedAgents: Sendable {
  private let sites = Mutex<[String: [AgentDescription]]>([:])

  /// `nil` when the site isn't connected, or hasn't announced any yet.
  subscript(site: String) -> [AgentDescription]? { sites.withLock { $0[site] } }

  func set(_ site: String, _ agents: [AgentDescription]?) { sites.withLock { $0[site] = agents } }
}
