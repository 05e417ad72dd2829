import Packet
import Primitives

/// What multicast DNS has told so far, and what is to be asked next: kinds of services, then their instances, then where
/// these are (RFC 6763 sections 4 and 9).
struct MulticastDNS {
  /// Kinds of services, instances and hosts that are remembered.
  static let serviceLimit = 64
  static let instanceLimit = 512
  /// Questions that wait to be sent.
  static let questionLimit = 128

  struct Question: Equatable {
    let name: DNSName
    let types: [UInt16]
  }

  private var services: Set<String> = []
  private var instances: Set<String> = []
  private(set) var questions: [Question] = [Question(name: DNSMessage.services, types: [DNSMessage.RecordType.ptr])]

  mutating func nextQuestion() -> Question? {
    questions.isEmpty ? nil : questions.removeFirst()
  }

  /// Asks everybody once more.
  mutating func askAgain() {
    ask(DNSMessage.services, [DNSMessage.RecordType.ptr])
  }

  /// What one message of a device tells of it.
  struct Finding {
    var addresses: [IPAddress] = []
    var host: String?
    var instance: String?
    var services: [String] = []
  }

  mutating func take(_ message: DNSMessage) -> Finding? {
    guard message.isResponse else { return nil }
    var finding = Finding()
    var isResolved: Set<String> = []
    for record in message.records {
      switch record.content {
      case .pointer(let name) where record.name.matches(DNSMessage.services):
        note(service: name, in: &finding)
      case .pointer(let name) where Self.isService(record.name) && name.isBelow(record.name):
        note(service: record.name, in: &finding)
        finding.instance = name.labels.first ?? finding.instance
        if instances.count < Self.instanceLimit, instances.insert(Self.key(name)).inserted {
          ask(name, [DNSMessage.RecordType.srv, DNSMessage.RecordType.txt])
        }
      case .service(let host, _):
        isResolved.insert(Self.key(record.name))
        if record.name.labels.count >= 4 { finding.instance = record.name.labels.first }
        finding.host = host.labels.first
        if instances.count < Self.instanceLimit,
          !message.records.contains(where: { $0.content.isAddress && $0.name.matches(host) }),
          instances.insert(Self.key(host)).inserted
        {
          ask(host, [DNSMessage.RecordType.a, DNSMessage.RecordType.aaaa])
        }
      case .address(let address):
        finding.host = finding.host ?? record.name.labels.first
        if finding.addresses.count < DiscoveredDevice.addressLimit { finding.addresses.append(address) }
      case .pointer, .texts, .other: break
      }
    }
    // Answers bring along what would be asked next (RFC 6763 section 12): it needn't be.
    questions.removeAll { $0.types.contains(DNSMessage.RecordType.srv) && isResolved.contains(Self.key($0.name)) }
    return finding
  }

  private mutating func note(service: DNSName, in finding: inout Finding) {
    guard Self.isService(service) else { return }
    if let label = service.labels.first, finding.services.count < 8 {
      let name = String(label.dropFirst())
      if !finding.services.contains(name) { finding.services.append(name) }
    }
    guard services.count < Self.serviceLimit, services.insert(Self.key(service)).inserted else { return }
    ask(service, [DNSMessage.RecordType.ptr])
  }

  /// `_name._tcp.local`, or below another domain.
  private static func isService(_ name: DNSName) -> Bool {
    name.labels.count >= 3 && name.labels[0].hasPrefix("_") && ["_tcp", "_udp"].contains(name.labels[1].lowercased())
      && !name.matches(DNSMessage.services)
  }

  private static func key(_ name: DNSName) -> String { name.description.lowercased() }

  private mutating func ask(_ name: DNSName, _ types: [UInt16]) {
    let question = Question(name: name, types: types)
    if questions.count < Self.questionLimit, !questions.contains(question) { questions.append(question) }
  }
}

extension DNSMessage.Content {
  var isAddress: Bool {
    if case .address = self { return true }
    return false
  }
}

extension DeviceTable {
  mutating func take(_ finding: MulticastDNS.Finding, from mac: MACAddress, at address: IPAddress) {
    update(mac, .mdns) { device in
      device.add(address)
      for address in finding.addresses { device.add(address) }
      device.setName(finding.instance, rank: 1)
      device.setName(finding.host, rank: 2)
      if !finding.services.isEmpty, device.typeRank < 1 {
        device.setType(finding.services.joined(separator: ", "), rank: 0)
      }
    }
  }
}
