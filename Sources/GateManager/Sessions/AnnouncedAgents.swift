import Access
import Synchronization

/// What the sites that are connected have said, for threads other than the front's.
final class AnnouncedAgents: Sendable {
  private let sites = Mutex<[String: SiteAnnouncement]>([:])

  /// `nil` when the site isn't connected, or hasn't announced any agents yet.
  subscript(site: String) -> SiteAnnouncement? { sites.withLock { $0[site] } }

  func set(_ site: String, _ announcement: SiteAnnouncement?) { sites.withLock { $0[site] = announcement } }
}
