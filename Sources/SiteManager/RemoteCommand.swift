import ArgumentParser
import Control
import Kernel
import Service

/// `sitemanager remote`: the operator on site allows or forbids remote access.
struct RemoteCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "remote", abstract: "Switch remote access, or one agent, off and on.",
    discussion: """
      What is switched off is cut at once and refused until it is switched on again, also over a restart; the \
      GateManager and the users who are connected are told, with the reason. Switching remote access on leaves off what \
      was switched off by name.

      The same can be written to the file `remote.json` in the directory, which is looked at twice a second:
        {"off": {"reason": "maintenance"}, "agents": {"plc": {"reason": "press 4 is being set up"}}}

      EXAMPLES
        sitemanager remote off --reason "maintenance until noon"
        sitemanager remote on
        sitemanager remote off plc --reason "press 4 is being set up"
      """)

  enum Position: String, ExpressibleByArgument, CaseIterable { case off, on }

  @Argument(help: "off or on.")
  var position: Position

  @Argument(help: "One agent; everything unless given.")
  var agent: String?

  @Option(help: ArgumentHelp("For the users who wonder, up to \(RemoteAccess.reasonLimit) bytes.", valueName: "text"))
  var reason: String?

  @Option(help: "Where this site keeps its key and its binding.")
  var directory = SiteManagerCommand.defaultDirectory

  func validate() throws {
    if reason != nil, position == .on { throw ValidationError("--reason: only for `off`") }
    guard RemoteAccess.isValid(reason) else {
      throw ValidationError("--reason: 1 to \(RemoteAccess.reasonLimit) bytes")
    }
  }

  func run() throws {
    var arguments = ["position": position.rawValue]
    arguments["agent"] = agent
    arguments["reason"] = reason
    let answer = try SiteManagerCommand.client(directory).request(
      ManagementRequest("remote", arguments), as: [String: String].self)
    print(answer["text"] ?? "done")
  }
}

extension SiteService {
  /// The service's side of it.
  func answerRemote(_ arguments: [String: String], _ remote: RemoteSwitch) -> ManagementResponse {
    guard let position = arguments["position"].flatMap(RemoteCommand.Position.init),
      RemoteAccess.isValid(arguments["reason"])
    else { return .failure("malformed", "neither off nor on, or too long a reason") }
    let agent = arguments["agent"]
    let before = state.withLock { $0.remote }
    if let agent, position == .off, !state.withLock({ $0.agents.contains { $0.name == agent } }) {
      return .failure("unknownAgent", "this site has no agent `\(agent)`")
    }
    do throws(CommandFailure) {
      let off = RemoteAccess.Off(reason: arguments["reason"], since: Clock.unixSeconds)
      try remote.set(position == .off ? off : nil, agent: agent)
    } catch {
      return .failure("failed", error.description)
    }
    let after = state.withLock { $0.remote }
    var text = "\(agent.map { "agent \($0)" } ?? "remote access") is \(position.rawValue)"
    if before == after { text += ", as before" }
    if position == .on {
      if agent != nil, after.off != nil { text += "; but remote access as a whole is off" }
      if agent == nil, let others = after.agents {
        text += "; still off: \(others.keys.sorted().joined(separator: ", "))"
      }
    }
    return .success(["text": text])
  }
}
