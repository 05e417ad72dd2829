/// What an agent offers of one of the site's interfaces, where addresses and ports are of no meaning.
public struct InterfaceAccess: Hashable, Sendable {
  /// PROFINET DCP, EtherNet/IP List Identity, multicast DNS, SSDP, ARP and LLDP.
  public static let methods = ["dcp", "enip", "mdns", "ssdp", "arp", "lldp"]

  /// Those of `methods` that LinkManager may ask for. Names of a later version are kept as they are.
  public var discovery: [String]
  /// Whether devices that were found may be given names and addresses.
  public var assignment: Bool

  public init(discovery: [String] = [], assignment: Bool = false) {
    self.discovery = discovery
    self.assignment = assignment
  }

  /// Whether it offers nothing at all.
  public var isEmpty: Bool { discovery.isEmpty && !assignment }
}

extension InterfaceAccess: Codable {
  private enum CodingKeys: String, CodingKey {
    case discovery, assignment
  }

  /// Ways to find devices that an agent can name at most.
  static let methodLimit = 32

  public init(from decoder: any Decoder) throws {
    let container = try decoder.container(keyedBy: CodingKeys.self)
    discovery = try container.decodeIfPresent([String].self, forKey: .discovery) ?? []
    guard discovery.count <= Self.methodLimit, discovery.allSatisfy(AgentDescription.isValidName) else {
      throw DecodingError.dataCorruptedError(
        forKey: .discovery, in: container, debugDescription: "too many, or no names")
    }
    assignment = try container.decodeIfPresent(Bool.self, forKey: .assignment) ?? false
  }

  public func encode(to encoder: any Encoder) throws {
    var container = encoder.container(keyedBy: CodingKeys.self)
    try container.encode(discovery, forKey: .discovery)
    if assignment { try container.encode(assignment, forKey: .assignment) }
  }
}
