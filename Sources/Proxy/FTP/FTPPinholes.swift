import Primitives

/// Data connections that devices have announced on FTP control connections: each lets one connection through, once.
///
/// Kept at both ends, by each for itself: at the site by what the device said, at the LinkManager by what came through.
package struct FTPPinholes: Sendable {
  private struct Pinhole: Sendable {
    let control: SlotID
    let agent: String
    let endpoint: Endpoint
    let deadline: Instant
  }

  // Few at a time, so that a search in order is as good as a table.
  private var pinholes: [Pinhole] = []
  private let limits: FTPLimits

  package init(limits: FTPLimits = FTPLimits()) {
    self.limits = limits
  }

  package var count: Int { pinholes.count }

  /// Opens a pinhole for what `control` announced. The oldest one of the same control connection gives way beyond its
  /// bound, since a client opens data connections in the order in which it asked for them.
  package mutating func open(_ endpoint: Endpoint, of agent: String, by control: SlotID, now: Instant) {
    expire(now: now)
    pinholes.removeAll { $0.control == control && $0.endpoint == endpoint }
    if pinholes.count(where: { $0.control == control }) >= limits.announcements,
      let oldest = pinholes.firstIndex(where: { $0.control == control })
    {
      pinholes.remove(at: oldest)
    }
    pinholes.append(
      Pinhole(control: control, agent: agent, endpoint: endpoint, deadline: now + limits.announcementLifetime))
  }

  /// Whether a connection there may pass.
  package func contains(_ endpoint: Endpoint, of agent: String, now: Instant) -> Bool {
    pinholes.contains { $0.endpoint == endpoint && $0.agent == agent && now < $0.deadline }
  }

  /// The connection passes; the next one doesn't.
  package mutating func close(_ endpoint: Endpoint, of agent: String) {
    if let index = pinholes.firstIndex(where: { $0.endpoint == endpoint && $0.agent == agent }) {
      pinholes.remove(at: index)
    }
  }

  /// The control connection has ended, and what it announced with it.
  package mutating func closeAll(of control: SlotID) {
    pinholes.removeAll { $0.control == control }
  }

  private mutating func expire(now: Instant) {
    pinholes.removeAll { now >= $0.deadline }
  }
}
