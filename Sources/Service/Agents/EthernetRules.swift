internal import Control
internal import Packet
internal import Primitives
internal import Proxy

/// `ethernet:` of an agent: which frames may cross.
extension AgentsReader {
  static let ethernetFields = [
    "types", "devices", "vlans", "network", "tcp", "udp", "ping", "open-to-pc", "broadcasts", "multicasts",
  ]

  /// A list of types alone, or a mapping with more.
  mutating func ethernet(_ node: YAMLNode?, _ path: String) -> EthernetAccess? {
    guard let node else { return nil }
    guard let mapping = node.mapping else {
      let types = types(node, path)
      return types.isEmpty ? nil : EthernetAccess(types: types)
    }
    for (key, _) in mapping where !Self.ethernetFields.contains(key.scalar ?? "") {
      unknown(key, path, Self.ethernetFields)
    }
    guard let types = node["types"].map({ self.types($0, path + ".types") }) else {
      note(node.mark, path, "has no `types:`: the EtherTypes that may cross, such as [profinet, lldp, arp]")
      return nil
    }
    var access = EthernetAccess(types: types)
    access.devices = entries(node["devices"], path + ".devices") {
      MACPrefix($0)?.description
    } hint: {
      "write an address as 00:0e:8c:01:02:03, or its beginning as 00:0e:8c"
    }
    access.vlans = entries(node["vlans"], path + ".vlans") {
      EthernetRule.vlans($0) == nil ? nil : $0
    } hint: {
      "VLANs are 1 to 4094, ranges such as 10-19, and 0 stands for frames without a tag"
    }
    if let network = node["network"] {
      if let text = network.scalar, let prefix = IPPrefix(text), prefix.length > 0 {
        access.network = "\(prefix)"
      } else {
        note(network.mark, path + ".network", "\(quoted(network)) is no network: write one as 192.168.10.0/24")
      }
    }
    access.tcp = ports(node["tcp"], path + ".tcp")
    access.udp = ports(node["udp"], path + ".udp")
    access.ping = flag(node["ping"], path + ".ping")
    access.isOpenToPC = flag(node["open-to-pc"], path + ".open-to-pc")
    access.broadcasts = rate(node["broadcasts"], path + ".broadcasts")
    access.multicasts = rate(node["multicasts"], path + ".multicasts")
    return access
  }

  private mutating func types(_ node: YAMLNode, _ path: String) -> [String] {
    let names = EtherType.names.map(\.name) + [EthernetRule.lengthName]
    let before = problems.count
    let types = entries(node, path) { text in
      text == EthernetRule.lengthName || EtherType(rule: text) != nil ? text : nil
    } hint: {
      "there are \(names.joined(separator: ", ")), and numbers such as 0x88b5"
    }
    if types.isEmpty, problems.count == before { note(node.mark, path, "names no EtherType") }
    return types
  }

  /// A list of texts, or one; those that `read` doesn't take are problems.
  private mutating func entries(
    _ node: YAMLNode?, _ path: String, _ read: (String) -> String?, hint: () -> String
  ) -> [String] {
    guard let node else { return [] }
    guard let elements = node.scalar == nil ? node.sequence : [node] else {
      note(node.mark, path, "must be a list")
      return []
    }
    guard elements.count <= EthernetAccess.entryLimit else {
      note(node.mark, path, "has \(elements.count) entries; \(EthernetAccess.entryLimit) is the most")
      return []
    }
    var texts: [String] = []
    for (index, element) in elements.enumerated() {
      if let text = element.scalar.flatMap(read) {
        texts.append(text)
      } else {
        note(element.mark, "\(path)[\(index)]", "\(quoted(element)) isn't understood: \(hint())")
      }
    }
    return texts
  }

  private mutating func rate(_ node: YAMLNode?, _ path: String) -> Int? {
    guard let node else { return nil }
    guard let value = node.scalar.flatMap({ Int($0) }), (0...1_000_000).contains(value) else {
      note(node.mark, path, "\(quoted(node)) is no rate: frames a second, 0 to 1000000")
      return nil
    }
    return value
  }
}
