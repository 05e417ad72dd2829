internal import Crypto
internal import Control
internal import Primitives

/// The file in which a site lists its agents.
///
/// ```yaml
/// agents:
///   - name: plc
///     device: 192.168.10.20      # an address, or a network such as 192.168.10.0/24
///     tcp: [102, 8000-8010]      # ports and ranges; `all` for every port
///     udp: [161]
///     ftp: true                  # FTP on port 21; or its ports, as for `tcp`
///     ping: true
///     about: press 4, hall 2
///     capture: true              # its traffic may be captured from remote
///   - name: cell
///     interface: eth1            # instead of a device: an interface of this host
///     discovery: [dcp, lldp]     # ways to find devices there; `all` for every one
///     assignment: true           # they may be given names and addresses
/// ```
public enum AgentsFile {
  /// Bytes of a file at most.
  static let sizeLimit = 1 << 20
  static let fields = [
    "name", "device", "tcp", "udp", "ftp", "ping", "about", "capture", "interface", "discovery", "assignment",
  ]
  /// What an agent of an interface hasn't.
  static let deviceFields = ["device", "tcp", "udp", "ftp", "ping"]
  /// What only an agent of an interface has.
  static let interfaceFields = ["discovery", "assignment"]

  /// Reads and checks a file; all problems are reported, not only the first.
  public static func load(_ path: String) throws(ConfigurationError) -> [AgentConfiguration] {
    let bytes: [UInt8]
    do throws(CryptoError) {
      bytes = try AtomicFile.read(path, limit: sizeLimit)
    } catch {
      throw ConfigurationError(problems: [
        ConfigurationProblem(
          file: path, line: 0, column: 0, field: "",
          message: "can't be read (\(error.reason)): write one with a list `agents:`, or pass another path")
      ])
    }
    guard let text = String(validating: bytes, as: UTF8.self) else {
      throw ConfigurationError(problems: [
        ConfigurationProblem(file: path, line: 0, column: 0, field: "", message: "not UTF-8: save it as UTF-8")
      ])
    }
    return try parse(text, file: path)
  }

  /// - Parameter file: the name to show in problems.
  public static func parse(_ text: String, file: String) throws(ConfigurationError) -> [AgentConfiguration] {
    var reader = AgentsReader(file: file)
    let agents = reader.read(text)
    guard reader.problems.isEmpty else {
      throw ConfigurationError(
        problems: reader.problems.sorted { ($0.line, $0.column) < ($1.line, $1.column) })
    }
    return agents
  }
}

/// Walks the nodes of one file and collects what is wrong.
struct AgentsReader {
  let file: String
  private(set) var problems: [ConfigurationProblem] = []
  private var names: [String: Int] = [:]

  init(file: String) {
    self.file = file
  }

  mutating func read(_ text: String) -> [AgentConfiguration] {
    let root: YAMLNode?
    do throws(YAMLError) {
      root = try YAMLDocument.root(of: text)
    } catch {
      note(error.mark, "", error.problem)
      return []
    }
    guard let root, root.scalar?.isEmpty != true else {
      note(nil, "", "is empty: begin with `agents:` and one `- name: …` for each device")
      return []
    }
    guard let mapping = root.mapping else {
      note(root.mark, "", "must be a mapping that begins with `agents:`")
      return []
    }
    for (key, _) in mapping where key.scalar != "agents" {
      unknown(key, "", ["agents"])
    }
    guard let list = root["agents"] else {
      if problems.isEmpty { note(root.mark, "", "has no list `agents:`") }
      return []
    }
    guard let sequence = list.sequence else {
      note(list.mark, "agents", "must be a list: each agent begins with `- name: …`; write `agents: []` for none")
      return []
    }
    if sequence.count > ControlProtocol.agentLimit {
      note(list.mark, "agents", "has \(sequence.count) agents; \(ControlProtocol.agentLimit) is the most of one site")
      return []
    }
    return sequence.enumerated().compactMap { agent($0.element, "agents[\($0.offset)]") }
  }

  // MARK: One agent

  private mutating func agent(_ node: YAMLNode, _ path: String) -> AgentConfiguration? {
    guard let mapping = node.mapping else {
      note(node.mark, path, "must be a mapping with `name:` and `device:`")
      return nil
    }
    for (key, _) in mapping where !AgentsFile.fields.contains(key.scalar ?? "") {
      unknown(key, path, AgentsFile.fields)
    }
    if node["interface"] != nil { return interfaceAgent(node, path) }
    let before = problems.count
    let name = name(node["name"], node, path)
    misplaced(AgentsFile.interfaceFields, in: node, path, "is for agents with `interface:`, such as `interface: eth1`")
    let device = device(node["device"], node, path)
    let tcp = ports(node["tcp"], path + ".tcp")
    let udp = ports(node["udp"], path + ".udp")
    let ftp = controlPorts(node["ftp"], path + ".ftp")
    if ftp.contains(.all) {
      note(node["ftp"]?.mark, path + ".ftp", "`all` can't be meant: FTP's own port is 21, written `ftp: true`")
    }
    let allTCP = Self.union(tcp, ftp)
    if allTCP.count > ControlProtocol.portRangeLimit, tcp.count <= ControlProtocol.portRangeLimit {
      note(
        node["ftp"]?.mark, path + ".ftp",
        "with `tcp` has \(allTCP.count) entries; \(ControlProtocol.portRangeLimit) is the most: use ranges")
    }
    let ping = flag(node["ping"], path + ".ping")
    let capture = flag(node["capture"], path + ".capture")
    let about = text(node["about"], path + ".about")
    guard problems.count == before, let name, let device else { return nil }
    if tcp.isEmpty, udp.isEmpty, ftp.isEmpty, !ping {
      note(node.mark, path, "permits nothing: add `tcp:`, `udp:`, `ftp: true` or `ping: true`, or take it out")
      return nil
    }
    var agent = AgentConfiguration(
      name: name, device: device, tcp: allTCP, udp: udp, ftp: ftp, ping: ping, about: about, line: node.mark.line)
    agent.capture = capture
    return agent
  }

  mutating func name(_ node: YAMLNode?, _ parent: YAMLNode, _ path: String) -> String? {
    guard let node else {
      note(parent.mark, path, "has no `name:`")
      return nil
    }
    guard let name = node.scalar, AgentDescription.isValidName(name) else {
      note(
        node.mark, path + ".name",
        "\(quoted(node)) is no name: 1 to \(ControlProtocol.nameLimit) letters, digits, `-`, `_`, `.`, "
          + "with a letter or digit first")
      return nil
    }
    // Names are compared without case, since people read them so.
    if let line = names[name.lowercased()] {
      note(node.mark, path + ".name", "`\(name)` is the name of the agent in line \(line) already: choose another")
      return nil
    }
    names[name.lowercased()] = node.mark.line
    return name
  }

  private mutating func device(_ node: YAMLNode?, _ parent: YAMLNode, _ path: String) -> IPPrefix? {
    let field = path + ".device"
    guard let node else {
      note(parent.mark, path, "has no `device:`: the device's address, or its network as 192.168.10.0/24")
      return nil
    }
    guard let text = node.scalar, let prefix = IPPrefix(text) else {
      note(
        node.mark, field,
        "\(quoted(node)) is no address: write one as 192.168.10.20 or fd00:10::10, or a network as 192.168.10.0/24")
      return nil
    }
    if let written = IPAddress(String(text.prefix { $0 != "/" })), written != prefix.address {
      note(node.mark, field, "`\(text)` has bits set behind its prefix length: write \(prefix), or the address alone")
      return nil
    }
    guard let reason = Self.refusal(prefix) else { return prefix }
    note(node.mark, field, "`\(text)` \(reason)")
    return nil
  }

  /// Why no agent may lead there; `nil` if it may.
  private static func refusal(_ prefix: IPPrefix) -> String? {
    let address = prefix.address
    if address.isV4Mapped { return "is an IPv4 address in an IPv6 one: write it as IPv4" }
    if address.isLoopback || IPPrefix("127.0.0.0/8").map({ $0.overlaps(prefix) && prefix.length >= 8 }) == true {
      return "is a loopback address, which is this SiteManager itself, not a device: write the device's own address"
    }
    if address.isLinkLocal {
      return "is a link-local address, which means nothing off its link: give the device another"
    }
    if address.isMulticast { return "is a multicast group: name a single device" }
    if address.isBroadcast { return "is the broadcast address: name a single device" }
    if prefix.length == 0 { return "is every address there is: name the network of the devices" }
    let shortest = address.family == .v4 ? 8 : 48
    if prefix.length < shortest { return "is too large a network: /\(shortest) is the largest" }
    if address.isUnspecified { return "is the unspecified address: write the device's own address" }
    return nil
  }

  private mutating func ports(_ node: YAMLNode?, _ path: String) -> [PortRange] {
    guard let node else { return [] }
    // One port needs no brackets.
    if node.scalar != nil { return port(node, path).map { [$0] } ?? [] }
    guard let sequence = node.sequence else {
      note(node.mark, path, "must be a list of ports, such as [80, 8000-8010]")
      return []
    }
    if sequence.count > ControlProtocol.portRangeLimit {
      note(node.mark, path, "has \(sequence.count) entries; \(ControlProtocol.portRangeLimit) is the most: use ranges")
      return []
    }
    var ranges: [PortRange] = []
    for (index, element) in sequence.enumerated() {
      guard let range = port(element, "\(path)[\(index)]") else { continue }
      if let twin = ranges.first(where: { $0.lower <= range.upper && range.lower <= $0.upper }) {
        note(element.mark, "\(path)[\(index)]", "`\(range)` overlaps `\(twin)`: take one out")
        continue
      }
      ranges.append(range)
    }
    return ranges
  }

  /// `true` for FTP's own port, or ports as for `tcp`.
  private mutating func controlPorts(_ node: YAMLNode?, _ path: String) -> [PortRange] {
    guard let node, let text = node.scalar?.lowercased() else { return ports(node, path) }
    switch text {
    case "true", "yes", "on": return [Self.ftpPort]
    case "false", "no", "off": return []
    default: return ports(node, path)
    }
  }

  /// RFC 959 section 8.
  private static let ftpPort = PortRange(21, 21)!

  /// What has to be reached for FTP is part of what may be reached: the file needn't say it twice.
  private static func union(_ tcp: [PortRange], _ ftp: [PortRange]) -> [PortRange] {
    tcp + ftp.filter { range in !tcp.contains { $0.lower <= range.lower && range.upper <= $0.upper } }
  }

  private mutating func port(_ node: YAMLNode, _ path: String) -> PortRange? {
    guard let text = node.scalar else {
      note(node.mark, path, "must be a port or a range, such as 80 or 8000-8010")
      return nil
    }
    if text == "all" { return .all }
    if let range = PortRange(text) { return range }
    let parts = text.split(separator: "-").compactMap { UInt64($0.trimmed) }
    let hint =
      parts.count == 2 && parts[0] > parts[1] && parts[0] <= 65535
      ? ": the smaller one comes first, \(parts[1])-\(parts[0])" : ": ports are 1 to 65535, ranges such as 8000-8010"
    note(node.mark, path, "\(quoted(node)) is no port" + hint)
    return nil
  }

  mutating func flag(_ node: YAMLNode?, _ path: String) -> Bool {
    guard let node else { return false }
    switch node.scalar?.lowercased() {
    case "true", "yes", "on": return true
    case "false", "no", "off": return false
    default:
      note(node.mark, path, "\(quoted(node)) is neither `true` nor `false`")
      return false
    }
  }

  mutating func text(_ node: YAMLNode?, _ path: String) -> String? {
    guard let node else { return nil }
    guard let text = node.scalar, text.utf8.count <= ControlProtocol.textLimit else {
      note(node.mark, path, "must be a text of at most \(ControlProtocol.textLimit) bytes")
      return nil
    }
    return text
  }

  // MARK: Problems

  func quoted(_ node: YAMLNode) -> String {
    guard let text = node.scalar else { return "this" }
    return text.isEmpty ? "nothing" : "`\(EscapedText(text, limit: 60))`"
  }

  private mutating func unknown(_ key: YAMLNode, _ path: String, _ known: [String]) {
    let name = key.scalar ?? ""
    let suggestion = Suggestion.closest(to: name, among: known).map { "did you mean `\($0)`?" }
    note(
      key.mark, path,
      "unknown field `\(EscapedText(name, limit: 60))`: "
        + (suggestion ?? "there are \(known.map { "`\($0)`" }.joined(separator: ", "))"))
  }

  mutating func note(_ mark: YAMLMark?, _ field: String, _ message: String) {
    problems.append(
      ConfigurationProblem(
        file: file, line: mark?.line ?? 0, column: mark?.column ?? 0, field: field, message: message))
  }
}

extension Substring {
  fileprivate var trimmed: Substring {
    var text = self
    while text.first == " " { text.removeFirst() }
    while text.last == " " { text.removeLast() }
    return text
  }
}
