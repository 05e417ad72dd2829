public import Control
public import Primitives

/// One agent as the site's own file has it, with the real address of the device.
public struct AgentConfiguration: Hashable, Sendable {
  /// Unique at its site.
  public var name: String
  public enum Place: Hashable, Sendable, CustomStringConvertible {
    /// A device (a prefix of full length) or a network.
    case addresses(IPPrefix)
    /// An interface of the site's host, by name, and what of it is offered.
    case interface(String, InterfaceAccess)

    public var description: String {
      switch self {
      case .addresses(let prefix): "\(prefix)"
      case .interface(let name, _): name
      }
    }
  }

  public var place: Place
  public var tcp, udp: [PortRange]
  /// Which of the TCP ports carry FTP control connections.
  public var ftp: [PortRange]
  public var ping: Bool
  /// Whether what its flows carry may be captured here from remote.
  public var capture = false
  /// What people should know about the device.
  public var about: String?
  /// Where it stands in the file, from 1.
  public var line: Int

  public init(
    name: String, _ place: Place, tcp: [PortRange] = [], udp: [PortRange] = [], ftp: [PortRange] = [],
    ping: Bool = false, about: String? = nil, line: Int = 1
  ) {
    self.name = name
    self.place = place
    self.tcp = tcp
    self.udp = udp
    self.ftp = ftp
    self.ping = ping
    self.about = about
    self.line = line
  }

  public init(
    name: String, device: IPPrefix, tcp: [PortRange] = [], udp: [PortRange] = [], ftp: [PortRange] = [],
    ping: Bool = false, about: String? = nil, line: Int = 1
  ) {
    self.init(name: name, .addresses(device), tcp: tcp, udp: udp, ftp: ftp, ping: ping, about: about, line: line)
  }

  private var target: AgentDescription.Target {
    switch place {
    case .addresses(let device) where device.length < device.address.bitWidth:
      .subnet(device.address.family, prefixLength: device.length)
    case .addresses(let device): .device(device.address.family)
    case .interface(_, let access): .interface(access)
    }
  }

  /// What others are told of it: what may be reached, not where it is.
  public var description: AgentDescription {
    var description = AgentDescription(
      name: name, target: target, tcp: tcp, udp: udp, ftp: ftp, icmp: ping, about: about)
    description.capture = capture
    return description
  }

  /// Whether it permits this protocol to this port; the port is of no meaning for ICMP.
  public func permits(_ transport: TransportProtocol, port: UInt16) -> Bool {
    switch transport {
    case .tcp: tcp.contains { $0.contains(port) }
    case .udp: udp.contains { $0.contains(port) }
    case .icmp: ping
    }
  }
}
