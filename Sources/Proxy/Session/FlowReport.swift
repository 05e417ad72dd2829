import Framing
import Primitives

/// What became of a flow, as one end of its session tells it: for a log.
public struct FlowReport: Sendable {
  public enum Event: Sendable {
    /// The device was reached, after this time.
    case opened(Interval)
    /// The device wasn't reached; who said no, and why.
    case refused(Refusal)
    /// This host's filter said no, and asked nobody.
    case denied(String)
    case ended(FlowEnd)
  }

  public var event: Event
  /// `nil` for a flow that never left this host.
  public var connection: ConnectionID?
  /// Known to the LinkManager's end.
  public var site: String?
  /// `nil` if no agent covers what was asked for.
  public var agent: String?
  public var `protocol`: StreamProtocol
  /// Who asks: known to the LinkManager's end.
  public var application: Endpoint?
  /// Who is asked: the agent's alias at the LinkManager, the device's own address at the site.
  public var destination: Endpoint?
  public var port: UInt16
  /// From the request until now.
  public var duration = Interval.zero
  /// How long the dial took.
  public var dial: Interval?
  /// Payload from the device and to it, as far as it has come at this end.
  public var bytesFromDevice: UInt64 = 0
  public var bytesToDevice: UInt64 = 0

  public init(
    _ event: Event, connection: ConnectionID?, agent: String?, protocol: StreamProtocol, port: UInt16
  ) {
    self.event = event
    self.connection = connection
    self.agent = agent
    self.protocol = `protocol`
    self.port = port
  }
}

/// How a flow came to its end, and who ended it.
public enum FlowEnd: Hashable, Sendable, CustomStringConvertible {
  public enum Party: String, Hashable, Sendable {
    case application, device
    case link = "LinkManager"
    case site = "SiteManager"
  }

  /// Both directions have ended in order.
  case finished
  /// Cut by this party, as by a RST.
  case reset(Party)
  /// This party answers no more.
  case timedOut(Party)
  /// Nobody used it.
  case idle
  /// This host cut it: a bound was reached, or its reader was too slow.
  case limit(Party)
  /// The grant, the agent or the permission ended.
  case revoked
  /// The session ended under it.
  case sessionEnded
  /// This host failed, or is going down.
  case failed(Party)

  public var description: String {
    switch self {
    case .finished: "finished"
    case .reset(let party): "reset by the \(party.rawValue)"
    case .timedOut(let party): "the \(party.rawValue) answers no more"
    case .idle: "idle"
    case .limit(let party): "cut by the \(party.rawValue): a bound is reached, or the reader is too slow"
    case .revoked: "no longer permitted"
    case .sessionEnded: "the session ended"
    case .failed(let party): "the \(party.rawValue) failed or is stopping"
    }
  }

  /// What a RESET frame means.
  ///
  /// - Parameters:
  ///   - endpoint: what lies behind the peer.
  ///   - host: the peer.
  public init(_ code: ResetCode, from endpoint: Party, at host: Party, _ kind: StreamProtocol) {
    self =
      switch code {
      case .reset: .reset(endpoint)
      case .timedOut: .timedOut(endpoint)
      case .revoked: .revoked
      // Flows without an end of their own end so.
      case .limit: kind.isByteStream ? .limit(host) : .idle
      case .internalError: .failed(host)
      }
  }
}
