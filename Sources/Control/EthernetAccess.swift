/// What frames an agent lets cross between a PC and an interface of the site, as it is announced.
///
/// Texts are as in the agents file, so that an end which doesn't know one of them knows that it doesn't.
public struct EthernetAccess: Hashable, Sendable {
  /// EtherTypes by name or number, and `llc` for frames with a length.
  public var types: [String]
  /// Addresses of devices, or their beginnings.
  public var devices: [String]
  /// VLAN identifiers or ranges of them; `0` stands for frames without a tag.
  public var vlans: [String]
  /// The devices' IP network.
  public var network: String?
  public var tcp: [PortRange]
  public var udp: [PortRange]
  public var ping: Bool
  /// Whether devices may begin to talk to the PC.
  public var isOpenToPC: Bool
  /// Frames a second and direction; `nil` for the usual.
  public var broadcasts: Int?
  public var multicasts: Int?

  /// Entries of each list.
  public static let entryLimit = 64

  public init(
    types: [String], devices: [String] = [], vlans: [String] = [], network: String? = nil, tcp: [PortRange] = [],
    udp: [PortRange] = [], ping: Bool = false, isOpenToPC: Bool = false, broadcasts: Int? = nil, multicasts: Int? = nil
  ) {
    self.types = types
    self.devices = devices
    self.vlans = vlans
    self.network = network
    self.tcp = tcp
    self.udp = udp
    self.ping = ping
    self.isOpenToPC = isOpenToPC
    self.broadcasts = broadcasts
    self.multicasts = multicasts
  }
}

extension EthernetAccess: Codable {
  private enum CodingKeys: String, CodingKey {
    case types, devices, vlans, network, tcp, udp, ping, openToPC, broadcasts, multicasts
  }

  public init(from decoder: any Decoder) throws {
    let container = try decoder.container(keyedBy: CodingKeys.self)
    func list(_ key: CodingKeys) throws -> [String] {
      let list = try container.decodeIfPresent([String].self, forKey: key) ?? []
      guard list.count <= Self.entryLimit, list.allSatisfy({ $0.utf8.count <= ControlProtocol.nameLimit }) else {
        throw DecodingError.dataCorruptedError(forKey: key, in: container, debugDescription: "too many, or too long")
      }
      return list
    }
    func ports(_ key: CodingKeys) throws -> [PortRange] {
      let list = try container.decodeIfPresent([PortRange].self, forKey: key) ?? []
      guard list.count <= ControlProtocol.portRangeLimit else {
        throw DecodingError.dataCorruptedError(forKey: key, in: container, debugDescription: "too many port ranges")
      }
      return list
    }
    self.init(
      types: try list(.types), devices: try list(.devices), vlans: try list(.vlans),
      network: try container.decodeIfPresent(String.self, forKey: .network), tcp: try ports(.tcp),
      udp: try ports(.udp), ping: try container.decodeIfPresent(Bool.self, forKey: .ping) ?? false,
      isOpenToPC: try container.decodeIfPresent(Bool.self, forKey: .openToPC) ?? false,
      broadcasts: try container.decodeIfPresent(Int.self, forKey: .broadcasts),
      multicasts: try container.decodeIfPresent(Int.self, forKey: .multicasts))
  }

  public func encode(to encoder: any Encoder) throws {
    var container = encoder.container(keyedBy: CodingKeys.self)
    try container.encode(types, forKey: .types)
    if !devices.isEmpty { try container.encode(devices, forKey: .devices) }
    if !vlans.isEmpty { try container.encode(vlans, forKey: .vlans) }
    try container.encodeIfPresent(network, forKey: .network)
    if !tcp.isEmpty { try container.encode(tcp, forKey: .tcp) }
    if !udp.isEmpty { try container.encode(udp, forKey: .udp) }
    if ping { try container.encode(ping, forKey: .ping) }
    if isOpenToPC { try container.encode(isOpenToPC, forKey: .openToPC) }
    try container.encodeIfPresent(broadcasts, forKey: .broadcasts)
    try container.encodeIfPresent(multicasts, forKey: .multicasts)
  }
}
