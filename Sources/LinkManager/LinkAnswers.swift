import Adapter
import Control
import Primitives
import Proxy
import Service

/// The agents of a site, as `connect` and `list` tell of them.
struct ConnectAnswer: Codable, Sendable {
  var site: String
  var agents: [LinkStatus.Agent]
}

/// A site that the user may see.
struct ListedSite: Codable, Sendable {
  var name: String
  var online: Bool
  var key: String
  var agents: [String]
}

/// What the filter says about a destination.
struct ExplainAnswer: Codable, Sendable {
  var permitted: Bool
  var explanation: String
}

/// The service's side of its command line.
extension LinkService {
  func answer(_ request: ManagementRequest) async -> ManagementResponse {
    let arguments = request.arguments
    do {
      switch request.command {
      case "status": return .success(await status(flows: arguments["flows"] != nil))
      case "metrics": return .success(await answerMetrics())
      case "list":
        let sites = try await list().map { site in
          ListedSite(
            name: site.name, online: site.online, key: "\(site.keyHash)", agents: site.agents.map(\.name).sorted())
        }
        return .success(sites.sorted { $0.name < $1.name })
      case "connect":
        guard let site = arguments["site"] else { return .failure("malformed", "a site is missing") }
        let aliases = try await connect(
          site, agents: arguments["agent"].map { [$0] }, reason: arguments["reason"] ?? "")
        let flows =
          await status().sites.first { $0.name == site }?.agents
          ?? aliases.map { LinkStatus.Agent($0, flows: 0, veto: $0.agent.veto) }
        return .success(ConnectAnswer(site: site, agents: flows))
      case "disconnect":
        guard let site = arguments["site"] else { return .failure("malformed", "a site is missing") }
        return disconnect(site) ? .done : .failure("unknownSite", "site \(site) isn't connected")
      case "why": return await why(arguments)
      case "explain": return await explain(arguments)
      case "capture": return try await answerCapture(arguments)
      case "discover": return .success(try await answerDiscovery(arguments))
      case "assign":
        try await answerAssignment(arguments)
        return .done
      default: return .failure("unknownCommand", "there is no command \(request.command)")
      }
    } catch let failure as CommandFailure {
      return .failure("failed", failure.description)
    } catch let failure as ControlMessage.Failure {
      // What a site doesn't understand of a question is what its user has asked for.
      return .failure(failure.code == .malformed ? "badArgument" : "\(failure.code)", failure.message)
    } catch let error as GateError {
      return .failure(Self.code(error), "\(error)")
    } catch {
      return .failure("failed", Self.describe(error))
    }
  }

  private func explain(_ arguments: [String: String]) async -> ManagementResponse {
    guard let address = arguments["address"].flatMap({ IPAddress($0) }) else {
      return .failure("malformed", "an address is missing")
    }
    return .success(await judge(Self.transport(arguments), Endpoint(address, Self.port(arguments))).answer)
  }

  static func transport(_ arguments: [String: String]) -> TransportProtocol {
    TransportProtocol.allCases.first { $0.description == arguments["protocol"] } ?? .tcp
  }

  static func port(_ arguments: [String: String]) -> UInt16 { arguments["port"].flatMap { UInt16($0) } ?? 0 }

  private static func code(_ error: GateError) -> String {
    if case .refused(let failure) = error { return "\(failure.code)" }
    return "gate"
  }
}
