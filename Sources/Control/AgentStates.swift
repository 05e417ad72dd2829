/// How a session's agents are doing now: GateManager tells the LinkManager when that changes.
public struct AgentStates: Hashable, Sendable {
  /// Of a session.
  public var id: SessionID
  /// Those that have changed, by name.
  public var agents: [String: Condition]

  public struct Condition: Hashable, Sendable {
    /// `nil` if nobody has said.
    public var state: AgentState?
    /// Why it is switched off on site; `nil` if it isn't.
    public var veto: String?

    public init(state: AgentState?, veto: String?) {
      self.state = state
      self.veto = veto
    }
  }

  public init(id: SessionID, agents: [String: Condition]) {
    self.id = id
    self.agents = agents
  }
}

extension AgentStates: Codable {
  private enum CodingKeys: String, CodingKey { case id, agents }

  public init(from decoder: any Decoder) throws {
    let container = try decoder.container(keyedBy: CodingKeys.self)
    id = try container.decode(SessionID.self, forKey: .id)
    agents = try container.decode([String: Condition].self, forKey: .agents)
    guard agents.count <= ControlProtocol.agentLimit else {
      throw DecodingError.dataCorruptedError(forKey: .agents, in: container, debugDescription: "too many")
    }
  }
}

extension AgentStates.Condition: Codable {
  private enum CodingKeys: String, CodingKey { case state, veto }

  public init(from decoder: any Decoder) throws {
    let container = try decoder.container(keyedBy: CodingKeys.self)
    // A state that a later version adds is no reason to lose the message.
    state = try container.decodeIfPresent(String.self, forKey: .state).flatMap(AgentState.init)
    veto = try container.decodeIfPresent(String.self, forKey: .veto)
    guard (veto?.utf8.count ?? 0) <= ControlProtocol.textLimit else {
      throw DecodingError.dataCorruptedError(forKey: .veto, in: container, debugDescription: "too long")
    }
  }
}
