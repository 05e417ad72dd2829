public import Control
public import Primitives

/// One agent as the site's own file has it, with the real address of the device.
public struct AgentConfiguration: Hashable, Sendable {
  /// Unique at its site.
  public var name: String
  /// A device (a prefix of full length) or a network.
  public var device: IPPrefix
  public var tcp, udp: [PortRange]
  /// Which of the TCP ports carry FTP control connections.
  public var ftp: [PortRange]
  public var ping: Bool
  /// What people should know about the device.
  public var about: String?
  /// Where it stands in the file, from 1.
  public var line: Int

  public init(
    name: String, device: IPPrefix, tcp: [PortRange] = [], udp: [PortRange] = [], ftp: [PortRange] = [],
    ping: Bool = false, about: String? = nil, line: Int = 1
  ) {
    self.name = name
    self.device = device
    self.tcp = tcp
    self.udp = udp
    self.ftp = ftp
    self.ping = ping
    self.about = about
    self.line = line
  }

  public var isSubnet: Bool { device.length < device.address.bitWidth }

  /// What others are told of it: what may be reached, not where it is.
  public var description: AgentDescription {
    AgentDescription(
      name: name,
      target: isSubnet
        ? .subnet(device.address.family, prefixLength: device.length) : .device(device.address.family),
      tcp: tcp, udp: udp, ftp: ftp, icmp: ping, about: about)
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
