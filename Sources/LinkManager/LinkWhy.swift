import Adapter
import Control
import Primitives
import Proxy
import Service

/// What allows or denies a connection, all the way from this PC to the site.
extension LinkService {
  func why(_ arguments: [String: String]) async -> ManagementResponse {
    let (transport, port) = (Self.transport(arguments), Self.port(arguments))
    if let address = arguments["address"].flatMap({ IPAddress($0) }) {
      return .success(await why(transport, Endpoint(address, port)))
    }
    guard let site = arguments["site"], let agent = arguments["agent"] else {
      return .failure("malformed", "neither an address nor an agent")
    }
    let alias = sites[site]?.aliases.first { $0.agent.name == agent }
    guard let address = alias?.v4?.address ?? alias?.v6?.address else {
      // There is no address to ask the filter for.
      return .success(await whyNotHere(site, agent))
    }
    return .success(await why(transport, Endpoint(address, port)))
  }

  private func why(_ transport: TransportProtocol, _ destination: Endpoint) async -> ExplainAnswer {
    let (here, alias) = await judge(transport, destination)
    guard let alias else { return here }
    // Also where the filter says no: whether the agent hasn't got the port or a rule doesn't give it.
    let rules = await decision(alias.site, alias.agent.name)
    let session = here.permitted ? sites[alias.site]?.session.map { "; session \("\($0)".prefix(8))" } ?? "" : ""
    return ExplainAnswer(
      permitted: here.permitted && rules.isAllowed ?? true,
      explanation: "\(here.explanation)\(session); \(rules.text)")
  }

  /// What this PC and what is known of the site say, and of which agent; `nil` if it is none's address.
  func judge(
    _ transport: TransportProtocol, _ destination: Endpoint
  ) async -> (answer: ExplainAnswer, alias: AgentAlias?) {
    guard let explanation = await explain(transport, destination) else {
      let text = "\(transport) \(destination): denied: no site is connected\(away)"
      return (ExplainAnswer(permitted: false, explanation: text), nil)
    }
    switch explanation.verdict {
    case .denied(.noAgent): return (ExplainAnswer(permitted: false, explanation: "\(explanation)\(away)"), nil)
    case .denied(.portNotPermitted(let alias, _, _)), .denied(.echoNotPermitted(let alias)):
      return (ExplainAnswer(permitted: false, explanation: "\(explanation)"), alias)
    case .permitted(let alias, hostOffset: _):
      guard let veto = sites[alias.site]?.vetoes[alias.agent.name] else {
        return (ExplainAnswer(permitted: true, explanation: "\(explanation)"), alias)
      }
      let text = "\(transport) \(destination): denied: agent \(alias.name): \(veto.escaped)"
      return (ExplainAnswer(permitted: false, explanation: text), alias)
    }
  }

  /// An agent that this PC isn't connected to.
  private func whyNotHere(_ site: String, _ agent: String) async -> ExplainAnswer {
    let rules = await decision(site, agent)
    let reason =
      switch sites[site] {
      case nil: "site \(site) is not connected: use `linkmanager connect \(site)`"
      case let found? where !found.isConnected:
        "site \(site) is not connected: \(found.problem?.escaped ?? "still trying")"
      case .some: "the session with site \(site) is not for agent \(agent)"
      }
    return ExplainAnswer(permitted: false, explanation: "\(site)/\(agent): denied: \(reason); \(rules.text)")
  }

  /// What GateManager's rules say now; `isAllowed` is `nil` if it can't be asked.
  private func decision(_ site: String, _ agent: String) async -> (isAllowed: Bool?, text: String) {
    do {
      let answer = try await askGate(site, agent)
      return (answer.isAllowed, "GateManager: \(answer.text.escaped)")
    } catch GateError.refused(let failure) where failure.code == .malformed {
      return (nil, "the GateManager is too old to be asked for its rules")
    } catch {
      return (nil, "the GateManager can't be asked: \(Self.describe(error).escaped)")
    }
  }

  /// Sites that are wanted and away: an address may have been one of theirs.
  var away: String {
    sites.filter { !$0.value.isConnected }.sorted { $0.key < $1.key }.map { name, site in
      "; site \(name) is not connected: \(site.problem?.escaped ?? "still trying")"
    }.joined()
  }
}
