import Adapter
import Control
import Service

/// What `discover` tells.
struct DiscoverAnswer: Codable, Sendable {
  struct Agent: Codable, Sendable {
    /// `SITE/AGENT`
    var name: String
    var devices: [DiscoveryMessage.Device]
    var remarks: [String]
  }

  var agents: [Agent]
}

/// The service's side of `discover` and `assign`.
extension LinkService {
  func answerDiscovery(_ arguments: [String: String]) async throws -> DiscoverAnswer {
    let (site, agents) = try offering(arguments) { !$0.discovery.isEmpty }
    guard let adapter, let seconds = Int(arguments["seconds"] ?? "5") else {
      throw ControlMessage.Failure(.malformed, "the number of seconds is missing")
    }
    let list = { (key: String) in arguments[key].map { $0.split(separator: ",").map(String.init) } }
    let wanted = DiscoveryMessage.Discover(methods: list("methods"), seconds: seconds, ranges: list("ranges"))
    // One after the other: a site does few searches at once.
    var answer = DiscoverAnswer(agents: [])
    for agent in agents {
      var stream = try await DiscoveryStream(to: "\(site)/\(agent)", over: adapter)
      let (devices, done) = try await stream.discover(wanted)
      await stream.end()
      answer.agents.append(
        DiscoverAnswer.Agent(name: "\(site)/\(agent)", devices: devices, remarks: done.remarks))
    }
    return answer
  }

  func answerAssignment(_ arguments: [String: String]) async throws {
    let (site, agents) = try offering(arguments) { $0.assignment }
    guard agents.count == 1, let agent = agents.first else {
      throw ControlMessage.Failure(
        .malformed, "several agents permit it: name one, \(agents.map { "\(site)/\($0)" }.joined(separator: " or "))")
    }
    guard let adapter, let mac = arguments["mac"] else {
      throw ControlMessage.Failure(.malformed, "the device's address is missing")
    }
    var stream = try await DiscoveryStream(to: "\(site)/\(agent)", over: adapter)
    try await stream.assign(
      DiscoveryMessage.Assign(
        mac: mac, name: arguments["name"], address: arguments["address"], gateway: arguments["gateway"],
        permanent: arguments["temporary"] == nil))
    await stream.end()
  }

  /// The agent that is named, or those of the site that offer it. What a named one permits is for the site to say.
  private func offering(
    _ arguments: [String: String], _ offers: (InterfaceAccess) -> Bool
  ) throws(ControlMessage.Failure) -> (site: String, agents: [String]) {
    guard let name = arguments["site"] else { throw ControlMessage.Failure(.malformed, "a site is missing") }
    guard let site = sites[name], site.isConnected else {
      throw ControlMessage.Failure(
        .unknownSite, "site \(name) isn't connected: run `linkmanager connect \(name)` first")
    }
    let interfaces = site.aliases.compactMap { alias -> (name: String, access: InterfaceAccess)? in
      guard case .interface(let access) = alias.agent.target else { return nil }
      return (alias.agent.name, access)
    }
    if let agent = arguments["agent"] {
      guard site.aliases.contains(where: { $0.agent.name == agent }) else {
        throw ControlMessage.Failure(.malformed, "site \(name) has no agent \(agent), or it isn't granted")
      }
      guard interfaces.contains(where: { $0.name == agent }) else {
        throw ControlMessage.Failure(
          .notPermitted, "agent \(name)/\(agent) is no interface of the site: it has no `interface:`")
      }
      return (name, [agent])
    }
    let agents = interfaces.filter { offers($0.access) }.map(\.name).sorted()
    guard !agents.isEmpty else {
      throw ControlMessage.Failure(
        .notPermitted,
        "site \(name) has no agent that permits it: one with `interface:` and `discovery:`, and "
          + "`assignment: true` for assignments")
    }
    return (name, agents)
  }
}
