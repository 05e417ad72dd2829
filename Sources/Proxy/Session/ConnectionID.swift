import Control
import Framing

/// What a flow is called in the logs and displays of both its ends: `3f2a91c0-4.17`.
///
/// The first eight digits are those of the session's identifier, by which GateManager's log tells the session's story.
/// Then come the stream's slot and tenant, which both ends know from the frames: nothing is sent for it. Tenants begin
/// anew after 65,536 flows of a slot.
public struct ConnectionID: Hashable, Sendable, CustomStringConvertible {
  public let session: SessionID
  public let stream: StreamID

  public init(_ session: SessionID, _ stream: StreamID) {
    self.session = session
    self.stream = stream
  }

  public var description: String { "\(session.description.prefix(8))-\(stream)" }
}
