/// A control message with the number that joins an answer to its request.
///
/// On the wire: the size of what follows as 4 bytes big-endian, then one JSON object. Its field `type` says which
/// message it is, `request` is the number, and the message's own fields stand beside them. Fields that are not known
/// are ignored.
public struct ControlEnvelope: Hashable, Sendable {
  /// Chosen by who asks, echoed in the answer; `nil` for what wants no answer.
  public var request: UInt64?
  public var message: ControlMessage

  public init(_ message: ControlMessage, request: UInt64? = nil) {
    self.message = message
    self.request = request
  }

  /// The bytes on the wire. Throws `.tooLong` if the message is beyond the limit.
  public func encoded() throws(ControlError) -> [UInt8] {
    let text: [UInt8]
    if let heartbeat = Heartbeat.encode(self) {
      text = heartbeat
    } else {
      do throws(JSONError) {
        text = try JSON.encode(self)
      } catch {
        throw .malformed(field: error.field, reason: error.reason)
      }
    }
    guard text.count <= ControlProtocol.messageLimit else { throw .tooLong(text.count) }
    let size = UInt32(text.count)
    return [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: size >> $0) } + text
  }
}

/// Bytes that are no control message. The stream can go on after `.malformed`, but not after `.tooLong`.
public enum ControlError: Error, Hashable, Sendable, CustomStringConvertible {
  /// The size that was announced, in bytes.
  case tooLong(Int)
  /// The message was read to its end, but can't be understood.
  case malformed(field: String, reason: String)

  public var description: String {
    switch self {
    case .tooLong(let size): "a message of \(size) bytes, more than \(ControlProtocol.messageLimit)"
    case .malformed(let field, let reason): "a malformed message: \(field.isEmpty ? "" : field + " ")\(reason)"
    }
  }
}

extension ControlEnvelope: Codable {
  private enum CodingKeys: String, CodingKey { case type, request, agents, features, sites, ticket, id }

  public init(from decoder: any Decoder) throws {
    let container = try decoder.container(keyedBy: CodingKeys.self)
    request = try container.decodeIfPresent(UInt64.self, forKey: .request)
    func agents() throws -> [AgentDescription] {
      let agents = try container.decode([AgentDescription].self, forKey: .agents)
      guard agents.count <= ControlProtocol.agentLimit else {
        throw DecodingError.dataCorruptedError(forKey: .agents, in: container, debugDescription: "too many")
      }
      return agents
    }
    message =
      switch try container.decode(String.self, forKey: .type) {
      case "hello": .hello(try ControlMessage.Hello(from: decoder))
      case "welcome": .welcome(try ControlMessage.Welcome(from: decoder))
      case "failure": .failure(try ControlMessage.Failure(from: decoder))
      case "enroll": .enroll(try ControlMessage.Enroll(from: decoder))
      case "enrolled": .enrolled(try ControlMessage.Enrolled(from: decoder))
      case "login": .login(try ControlMessage.Login(from: decoder))
      case "loggedIn": .loggedIn(try ControlMessage.LoggedIn(from: decoder))
      case "agents":
        .agents(
          try agents(), features: try container.decodeIfPresent(SiteFeatures.self, forKey: .features))
      case "report": .report(try SiteReport(from: decoder))
      case "list": .list
      case "sites": .sites(try container.decode([ControlMessage.SiteSummary].self, forKey: .sites))
      case "explain": .explain(try ControlMessage.Explain(from: decoder))
      case "explained": .explained(try ControlMessage.Explained(from: decoder))
      case "connect": .connect(try ControlMessage.Connect(from: decoder))
      case "session": .session(try ControlMessage.Session(from: decoder))
      case "dial": .dial(try ControlMessage.Dial(from: decoder))
      case "agentStates": .agentStates(try AgentStates(from: decoder))
      case "cancel": .cancel(try ControlMessage.Ending(from: decoder))
      case "revoke": .revoke(try ControlMessage.Ending(from: decoder))
      case "sessionEnded": .sessionEnded(try ControlMessage.Ending(from: decoder))
      case "attach": .attach(try container.decode(Ticket.self, forKey: .ticket))
      case "attached": .attached
      case "ping": .ping(try container.decode(UInt64.self, forKey: .id))
      case "pong": .pong(try container.decode(UInt64.self, forKey: .id))
      case let type: .unknown(type)
      }
  }

  public func encode(to encoder: any Encoder) throws {
    var container = encoder.container(keyedBy: CodingKeys.self)
    try container.encode(message.type, forKey: .type)
    try container.encodeIfPresent(request, forKey: .request)
    switch message {
    case .hello(let body): try body.encode(to: encoder)
    case .welcome(let body): try body.encode(to: encoder)
    case .failure(let body): try body.encode(to: encoder)
    case .enroll(let body): try body.encode(to: encoder)
    case .enrolled(let body): try body.encode(to: encoder)
    case .login(let body): try body.encode(to: encoder)
    case .loggedIn(let body): try body.encode(to: encoder)
    case .agents(let agents, let features):
      try container.encode(agents, forKey: .agents)
      try container.encodeIfPresent(features, forKey: .features)
    case .report(let body): try body.encode(to: encoder)
    case .sites(let sites): try container.encode(sites, forKey: .sites)
    case .explain(let body): try body.encode(to: encoder)
    case .explained(let body): try body.encode(to: encoder)
    case .connect(let body): try body.encode(to: encoder)
    case .session(let body): try body.encode(to: encoder)
    case .dial(let body): try body.encode(to: encoder)
    case .agentStates(let body): try body.encode(to: encoder)
    case .cancel(let body), .revoke(let body), .sessionEnded(let body): try body.encode(to: encoder)
    case .attach(let ticket): try container.encode(ticket, forKey: .ticket)
    case .ping(let id), .pong(let id): try container.encode(id, forKey: .id)
    case .list, .attached, .unknown: break
    }
  }
}

extension ControlMessage {
  /// The name of the message on the wire.
  public var type: String {
    switch self {
    case .hello: "hello"
    case .welcome: "welcome"
    case .failure: "failure"
    case .enroll: "enroll"
    case .enrolled: "enrolled"
    case .login: "login"
    case .loggedIn: "loggedIn"
    case .agents: "agents"
    case .report: "report"
    case .list: "list"
    case .sites: "sites"
    case .explain: "explain"
    case .explained: "explained"
    case .connect: "connect"
    case .session: "session"
    case .dial: "dial"
    case .agentStates: "agentStates"
    case .cancel: "cancel"
    case .revoke: "revoke"
    case .sessionEnded: "sessionEnded"
    case .attach: "attach"
    case .attached: "attached"
    case .ping: "ping"
    case .pong: "pong"
    case .unknown(let type): type
    }
  }
}
