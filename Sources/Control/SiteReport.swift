/// SiteManager → GateManager: something that was done at the site with a user's session, which GateManager can't see and
/// its audit is to tell of. Nothing answers it, and a GateManager that is older passes it over.
public struct SiteReport: Hashable, Sendable, Codable {
  /// `captureBegan`, `captureEnded`, `assigned`; a later version may have others.
  public var what: String
  public var session: SessionID
  /// The site's agent that it was done with.
  public var agent: String
  /// What exactly, or how it ended; for people.
  public var detail: String
  /// Of a capture that has ended.
  public var packets, bytes: UInt64?
  /// Seconds since 1970, by the site's clock.
  public var time: Int64

  public init(
    _ what: String, session: SessionID, agent: String, detail: String, packets: UInt64? = nil, bytes: UInt64? = nil,
    time: Int64
  ) {
    self.what = what
    self.session = session
    self.agent = agent
    self.detail = detail
    self.packets = packets
    self.bytes = bytes
    self.time = time
  }
}
