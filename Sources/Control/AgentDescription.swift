public import Primitives

/// An agent as others are told of it: what may be reached, not where it is.
public struct AgentDescription: Hashable, Sendable {
  public enum Target: Hashable, Sendable {
    /// One address.
    case device(IPAddress.Family)
    /// A network; LinkManager needs its size for an alias network of the same size. Bits of the prefix.
    case subnet(IPAddress.Family, prefixLength: Int)
    /// One of the site's interfaces: there is no address to reach it by. Indirect, so that a description is copied as
    /// cheaply as before there were any: the filter hands them out.
    indirect case interface(InterfaceAccess)

    public var family: IPAddress.Family {
      switch self {
      case .device(let family), .subnet(let family, _): family
      case .interface: .v4
      }
    }
  }

  /// Unique at its site.
  public var name: String
  public var target: Target
  /// The real address or network as text, if the site wants it to be shown. Nothing is ever sent to it from outside.
  public var address: String?
  public var tcp, udp: [PortRange]
  /// Which of the TCP ports carry FTP control connections, whose data connections the site helps with.
  public var ftp: [PortRange]
  public var icmp: Bool
  /// Whether what the agent's flows carry may be captured at the site from remote.
  public var capture = false
  /// What people should know about the device.
  public var about: String? {
    get { remarks.about }
    set { remarks = Remarks(about: newValue, veto: remarks.veto) }
  }
  /// What state the agent is in; `nil` if nobody has said.
  public var state: AgentState?
  /// Why the site's operator has switched it off; `nil` if it is on. Of one that is off nothing can be reached.
  public var veto: String? {
    get { remarks.veto }
    set { remarks = Remarks(about: remarks.about, veto: newValue) }
  }
  /// Texts lie apart: a copy of an agent, of which each verdict makes some, counts one reference for them.
  private var remarks = Remarks.none

  private enum Remarks: Hashable, Sendable {
    case none
    indirect case some(about: String?, veto: String?)

    init(about: String?, veto: String?) {
      self = about == nil && veto == nil ? .none : .some(about: about, veto: veto)
    }

    var about: String? { if case .some(let about, _) = self { about } else { nil } }
    var veto: String? { if case .some(_, let veto) = self { veto } else { nil } }
  }

  public init(
    name: String, target: Target, address: String? = nil, tcp: [PortRange] = [], udp: [PortRange] = [],
    ftp: [PortRange] = [], icmp: Bool = false, about: String? = nil, state: AgentState? = nil
  ) {
    self.name = name
    self.target = target
    self.address = address
    self.tcp = tcp
    self.udp = udp
    self.ftp = ftp
    self.icmp = icmp
    self.about = about
    self.state = state
  }

  /// Whether a name can stand in certificates, logs and command lines: 1 to 64 bytes of ASCII letters, digits, `-`, `_`
  /// and `.`, beginning with a letter or digit.
  public static func isValidName(_ name: String) -> Bool {
    guard (1...ControlProtocol.nameLimit).contains(name.utf8.count) else { return false }
    let isLetterOrDigit = { (byte: UInt8) in
      switch byte {
      case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
        UInt8(ascii: "0")...UInt8(ascii: "9"):
        true
      default: false
      }
    }
    return name.utf8.first.map(isLetterOrDigit) == true
      && name.utf8.allSatisfy {
        isLetterOrDigit($0) || $0 == UInt8(ascii: "-") || $0 == UInt8(ascii: "_") || $0 == UInt8(ascii: ".")
      }
  }
}

extension AgentDescription: Codable {
  private enum CodingKeys: String, CodingKey {
    case name, kind, family, prefixLength, address, tcp, udp, ftp, icmp, interface, capture, about, state, veto
  }

  private static let deviceKind = "device"
  private static let subnetKind = "subnet"

  public init(from decoder: any Decoder) throws {
    let container = try decoder.container(keyedBy: CodingKeys.self)
    func refuse(_ key: CodingKeys, _ reason: String) -> DecodingError {
      .dataCorruptedError(forKey: key, in: container, debugDescription: reason)
    }
    name = try container.decode(String.self, forKey: .name)
    guard Self.isValidName(name) else { throw refuse(.name, "not a name") }
    guard let family = IPAddress.Family(rawValue: try container.decode(UInt8.self, forKey: .family)) else {
      throw refuse(.family, "neither 4 nor 6")
    }
    let interface = try container.decodeIfPresent(InterfaceAccess.self, forKey: .interface)
    switch try container.decode(String.self, forKey: .kind) {
    case Self.deviceKind: target = interface.map(Target.interface) ?? .device(family)
    case Self.subnetKind:
      let length = try container.decode(Int.self, forKey: .prefixLength)
      guard (0...(family == .v4 ? 32 : 128)).contains(length) else { throw refuse(.prefixLength, "out of range") }
      target = .subnet(family, prefixLength: length)
    default: throw refuse(.kind, "unknown")
    }
    address = try container.decodeIfPresent(String.self, forKey: .address)
    tcp = try container.decodeIfPresent([PortRange].self, forKey: .tcp) ?? []
    udp = try container.decodeIfPresent([PortRange].self, forKey: .udp) ?? []
    ftp = try container.decodeIfPresent([PortRange].self, forKey: .ftp) ?? []
    guard tcp.count <= ControlProtocol.portRangeLimit else { throw refuse(.tcp, "too many port ranges") }
    guard udp.count <= ControlProtocol.portRangeLimit else { throw refuse(.udp, "too many port ranges") }
    guard ftp.count <= ControlProtocol.portRangeLimit else { throw refuse(.ftp, "too many port ranges") }
    icmp = try container.decodeIfPresent(Bool.self, forKey: .icmp) ?? false
    capture = try container.decodeIfPresent(Bool.self, forKey: .capture) ?? false
    about = try container.decodeIfPresent(String.self, forKey: .about)
    guard (about?.utf8.count ?? 0) <= ControlProtocol.textLimit else { throw refuse(.about, "too long") }
    // A state that a later version adds is no reason to lose the agent.
    state = try container.decodeIfPresent(String.self, forKey: .state).flatMap(AgentState.init)
    veto = try container.decodeIfPresent(String.self, forKey: .veto)
    guard (veto?.utf8.count ?? 0) <= ControlProtocol.textLimit else { throw refuse(.veto, "too long") }
  }

  public func encode(to encoder: any Encoder) throws {
    var container = encoder.container(keyedBy: CodingKeys.self)
    try container.encode(name, forKey: .name)
    try container.encode(target.family.rawValue, forKey: .family)
    switch target {
    case .device:
      try container.encode(Self.deviceKind, forKey: .kind)
    case .subnet(_, let prefixLength):
      try container.encode(Self.subnetKind, forKey: .kind)
      try container.encode(prefixLength, forKey: .prefixLength)
    case .interface(let access):
      // To versions that know no interfaces it is a device of which nothing may be reached.
      try container.encode(Self.deviceKind, forKey: .kind)
      try container.encode(access, forKey: .interface)
    }
    try container.encodeIfPresent(address, forKey: .address)
    try container.encode(tcp, forKey: .tcp)
    try container.encode(udp, forKey: .udp)
    if !ftp.isEmpty { try container.encode(ftp, forKey: .ftp) }
    try container.encode(icmp, forKey: .icmp)
    if capture { try container.encode(capture, forKey: .capture) }
    try container.encodeIfPresent(about, forKey: .about)
    try container.encodeIfPresent(state, forKey: .state)
    try container.encodeIfPresent(veto, forKey: .veto)
  }
}
