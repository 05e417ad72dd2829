import Primitives

/// A network interface of the kernel, as rtnetlink lists it.
public struct Link: Hashable, Sendable {
  public var index: Int
  public var name: String
  /// Administratively up (IFF_UP).
  public var isUp: Bool
  /// Able to carry packets (IFF_RUNNING).
  public var isRunning: Bool
  public var isLoopback: Bool
  /// Bytes.
  public var mtu: Int
  /// Packets that may wait for transmission (txqueuelen).
  public var queueLength: Int
}

/// An address of an interface.
public struct LinkAddress: Hashable, Sendable {
  public var address: IPAddress
  /// Leading bits that are shared by the addresses on the link: 0 to 32, or 0 to 128.
  public var prefixLength: Int
  /// The interface's index.
  public var link: Int

  /// - Parameter prefixLength: the address alone if it is `nil`.
  public init(_ address: IPAddress, prefixLength: Int? = nil, link: Int) {
    self.address = address
    self.prefixLength = prefixLength ?? address.bitWidth
    self.link = link
  }

  /// The network that the address is in; `nil` if the length is out of range.
  public var prefix: IPPrefix? { IPPrefix(address, length: prefixLength) }
}

/// A unicast route of the main table.
public struct Route: Hashable, Sendable {
  public var destination: IPPrefix
  /// The index of the interface that packets leave by.
  public var link: Int
  /// The next hop; `nil` if the destination is on the link.
  public var gateway: IPAddress?
  /// Lower is preferred; 0 is the kernel's choice: 0 for IPv4, 1024 for IPv6.
  public var metric: Int

  public init(to destination: IPPrefix, link: Int, gateway: IPAddress? = nil, metric: Int = 0) {
    self.destination = destination
    self.link = link
    self.gateway = gateway
    self.metric = metric
  }
}
