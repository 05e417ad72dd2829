import Control
import Primitives

/// An agent as a capture of its packets tells of it, in the comment of its interface: enough to judge the packets again.
///
/// ```
/// relayvpn-agent site=plant-7 agent=plc kind=device family=4 v4=198.18.3.7/32 v6=fd00::7/128 tcp=80,443 udp= icmp=yes
/// ```
package struct CapturedAgent: Equatable, Sendable {
  package var site: String
  package var agent: AgentDescription
  package var v4: IPPrefix?
  package var v6: IPPrefix?

  private static let mark = "relayvpn-agent"

  package init(_ alias: AgentAlias) {
    site = alias.site
    agent = alias.agent
    v4 = alias.v4
    v6 = alias.v6
  }

  /// Reads a comment; `nil` if it is another one.
  package init?(comment: String) {
    let words = comment.split(separator: " ")
    guard words.first.map(String.init) == Self.mark, words.count <= 32 else { return nil }
    var fields: [String: String] = [:]
    for word in words.dropFirst() {
      guard let sign = word.firstIndex(of: "=") else { return nil }
      fields[String(word[..<sign])] = String(word[word.index(after: sign)...])
    }
    guard let site = fields["site"], let name = fields["agent"], AgentDescription.isValidName(name),
      let family = fields["family"].flatMap({ UInt8($0) }).flatMap({ IPAddress.Family(rawValue: $0) })
    else { return nil }
    let target: AgentDescription.Target
    switch fields["kind"] {
    case "device": target = .device(family)
    case "subnet":
      guard let length = fields["length"].flatMap({ Int($0) }), (0...(family == .v4 ? 32 : 128)).contains(length)
      else { return nil }
      target = .subnet(family, prefixLength: length)
    default: return nil
    }
    let ports = { (key: String) in
      (fields[key] ?? "").split(separator: ",").prefix(ControlProtocol.portRangeLimit).compactMap {
        PortRange(String($0))
      }
    }
    self.site = site
    agent = AgentDescription(
      name: name, target: target, tcp: ports("tcp"), udp: ports("udp"), ftp: ports("ftp"),
      icmp: fields["icmp"] == "yes")
    v4 = fields["v4"].flatMap { IPPrefix($0) }
    v6 = fields["v6"].flatMap { IPPrefix($0) }
  }

  /// The comment that `init(comment:)` reads.
  package var comment: String {
    var text = "\(Self.mark) site=\(site) agent=\(agent.name)"
    switch agent.target {
    case .device(let family): text += " kind=device family=\(family.rawValue)"
    // It has no addresses, and no packets.
    case .interface: text += " kind=device family=4"
    case .subnet(let family, let length): text += " kind=subnet family=\(family.rawValue) length=\(length)"
    }
    if let v4 { text += " v4=\(v4)" }
    if let v6 { text += " v6=\(v6)" }
    for (key, ranges) in [("tcp", agent.tcp), ("udp", agent.udp), ("ftp", agent.ftp)] where !ranges.isEmpty {
      text += " \(key)=" + ranges.map(\.description).joined(separator: ",")
    }
    return text + " icmp=\(agent.icmp ? "yes" : "no")"
  }
}
