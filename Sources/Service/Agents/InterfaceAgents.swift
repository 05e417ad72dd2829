internal import Control

/// Agents of one of this host's interfaces.
extension AgentsReader {
  mutating func interfaceAgent(_ node: YAMLNode, _ path: String) -> AgentConfiguration? {
    let before = problems.count
    let name = name(node["name"], node, path)
    misplaced(AgentsFile.deviceFields, in: node, path, "is for agents with `device:`, and this one has `interface:`")
    let interface = interface(node["interface"], path + ".interface")
    let discovery = methods(node["discovery"], path + ".discovery")
    let assignment = flag(node["assignment"], path + ".assignment")
    let capture = flag(node["capture"], path + ".capture")
    let about = text(node["about"], path + ".about")
    guard problems.count == before, let name, let interface else { return nil }
    let access = InterfaceAccess(discovery: discovery, assignment: assignment)
    guard !access.isEmpty || capture else {
      note(node.mark, path, "offers nothing: add `discovery:`, `assignment: true` or `capture: true`, or take it out")
      return nil
    }
    var agent = AgentConfiguration(
      name: name, .interface(interface, access), about: about, line: node.mark.line)
    agent.capture = capture
    return agent
  }

  /// Fields that are right, but not for this kind of agent.
  mutating func misplaced(_ fields: [String], in node: YAMLNode, _ path: String, _ reason: String) {
    for field in fields {
      guard let misplaced = node[field] else { continue }
      note(misplaced.mark, "\(path).\(field)", "`\(field)` \(reason)")
    }
  }

  /// As the kernel takes names (`dev_valid_name`): 1 to 15 bytes, without `/`, `:` and white space. It needn't be there
  /// yet: interfaces come and go.
  private mutating func interface(_ node: YAMLNode?, _ path: String) -> String? {
    guard let node else { return nil }
    guard let name = node.scalar, (1...15).contains(name.utf8.count), name != ".", name != "..",
      name.utf8.allSatisfy({ (0x21...0x7e).contains($0) && $0 != UInt8(ascii: "/") && $0 != UInt8(ascii: ":") })
    else {
      note(node.mark, path, "\(quoted(node)) is no interface: write its name, such as eth1, as `ip link` shows it")
      return nil
    }
    return name
  }

  private mutating func methods(_ node: YAMLNode?, _ path: String) -> [String] {
    guard let node else { return [] }
    let elements = node.scalar == nil ? node.sequence : [node]
    guard let elements else {
      note(node.mark, path, "must be a list, such as [dcp, lldp]")
      return []
    }
    var methods: [String] = []
    for (index, element) in elements.enumerated() {
      let text = element.scalar ?? ""
      if text == "all" {
        methods = InterfaceAccess.methods
      } else if InterfaceAccess.methods.contains(text) {
        if !methods.contains(text) { methods.append(text) }
      } else {
        let hint =
          Suggestion.closest(to: text, among: InterfaceAccess.methods).map { "did you mean `\($0)`?" }
          ?? "there are \(InterfaceAccess.methods.joined(separator: ", ")), and `all`"
        note(element.mark, "\(path)[\(index)]", "\(quoted(element)) is no way to find devices: \(hint)")
      }
    }
    return methods
  }
}
