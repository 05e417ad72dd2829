import Framing
import Primitives

/// One flow at one end of its session, for status displays. A snapshot.
public struct FlowStatus: Sendable {
  public enum State: String, Sendable, CustomStringConvertible {
    /// The device hasn't answered yet.
    case dialling
    case open
    /// One direction has ended.
    case halfClosed = "half-closed"
    /// Both have, and the last bytes are on their way.
    case closing

    public var description: String { rawValue }
  }

  public let connection: ConnectionID
  /// Known to the LinkManager's end.
  public var site: String?
  public let agent: String
  public let `protocol`: StreamProtocol
  /// Who asked: known to the LinkManager's end.
  public var application: Endpoint?
  /// The agent's alias at the LinkManager, the device's own address at the site; `nil` for what has none.
  public let destination: Endpoint?
  public let age: Interval
  public var state = State.closing
  /// Payload, as far as it has come at this end.
  public var bytesFromDevice: UInt64 = 0
  public var bytesToDevice: UInt64 = 0
  /// `nil` once the session's stream is over.
  public var stream: StreamStatus?
  /// Bytes that wait for the application or the device to take them.
  public var waiting = 0

  /// - Parameter role: whose end this is: the device is beyond the peer, or on this side.
  public init(
    _ connection: ConnectionID, agent: String, protocol: StreamProtocol, destination: Endpoint?, age: Interval,
    stream: StreamStatus?, role: Session.Role
  ) {
    self.connection = connection
    self.agent = agent
    self.protocol = `protocol`
    self.destination = destination
    self.age = age
    self.stream = stream
    guard let stream else { return }
    state =
      switch (stream.isOpen, stream.finishedIn, stream.finishedOut) {
      case (_, true, true): .closing
      case (_, true, false), (_, false, true): .halfClosed
      case (true, _, _): .open
      // Flows of datagrams are open at once.
      case (false, _, _): `protocol`.isByteStream ? .dialling : .open
      }
    bytesFromDevice = role == .link ? stream.bytesIn : stream.bytesOut
    bytesToDevice = role == .link ? stream.bytesOut : stream.bytesIn
  }
}
