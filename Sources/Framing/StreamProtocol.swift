import Primitives

/// What a stream carries: the first byte of OPEN. Numbers of protocols above IP, as IANA has them.
public enum StreamProtocol: UInt8, Hashable, Sendable, BitwiseCopyable, CaseIterable, CustomStringConvertible {
  case icmp = 1
  case tcp = 6
  case udp = 17
  /// Frames of one of the site's interfaces (IANA's number for Ethernet, RFC 8986 section 10.1).
  case ethernet = 143
  /// What there is on one of the site's interfaces: questions and answers. One of RFC 3692's numbers for such uses.
  case discovery = 253
  /// Packets of an agent, as the site sees them. RFC 3692's other number.
  case capture = 254

  public init(_ transport: TransportProtocol) {
    self =
      switch transport {
      case .icmp: .icmp
      case .tcp: .tcp
      case .udp: .udp
      }
  }

  /// What flows of it are above IP; `nil` for what is no flow to an address.
  public var transport: TransportProtocol? {
    switch self {
    case .icmp: .icmp
    case .tcp: .tcp
    case .udp: .udp
    case .ethernet, .discovery, .capture: nil
    }
  }

  /// Whether DATA frames carry it: bytes in order, with credit, an end in each direction.
  public var isByteStream: Bool {
    switch self {
    case .tcp, .discovery, .capture: true
    case .icmp, .udp, .ethernet: false
    }
  }

  public var description: String {
    switch self {
    case .icmp: "icmp"
    case .tcp: "tcp"
    case .udp: "udp"
    case .ethernet: "ethernet"
    case .discovery: "discovery"
    case .capture: "capture"
    }
  }
}
