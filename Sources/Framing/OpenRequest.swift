import Primitives

/// What an OPEN frame asks for: which agent, and what of it.
///
/// ```
/// +----------+------+-----------+----------------+----------+-------+
/// | protocol | port | hostBytes | host (0 or 16) | nameSize | agent |
/// |    1     |  2   |     1     |                |    1     |       |
/// +----------+------+-----------+----------------+----------+-------+
/// ```
public struct OpenRequest: Equatable, Sendable {
  /// UTF-8 bytes of an agent's name.
  public static let maximumNameSize = 128

  public var agent: String
  public var `protocol`: StreamProtocol
  /// 0 for what has no ports.
  public var port: UInt16
  /// For an agent that names a subnet: which host of it, counted from the subnet's first address.
  /// The device's real address is never on the wire: only the site knows it.
  public var hostOffset: UInt128?

  public init(agent: String, transport: TransportProtocol, port: UInt16, hostOffset: UInt128? = nil) {
    self.agent = agent
    self.protocol = StreamProtocol(transport)
    self.port = port
    self.hostOffset = hostOffset
  }

  /// Asks for a service of an agent that is no flow to an address.
  public init(agent: String, protocol: StreamProtocol) {
    self.agent = agent
    self.protocol = `protocol`
    port = 0
  }

  public init(parsing bytes: Span<UInt8>) throws(FrameError) {
    guard bytes.count >= 5, let `protocol` = StreamProtocol(rawValue: bytes[0]) else { throw .malformed(.open) }
    self.protocol = `protocol`
    port = UInt16(bytes[1]) << 8 | UInt16(bytes[2])
    let hostSize = Int(bytes[3])
    guard hostSize == 0 || hostSize == 16, bytes.count >= 5 + hostSize else { throw .malformed(.open) }
    if hostSize == 0 {
      hostOffset = nil
    } else {
      hostOffset = UInt128(bytes.bigEndian64(at: 4)) << 64 | UInt128(bytes.bigEndian64(at: 12))
    }
    let nameSize = Int(bytes[4 + hostSize])
    guard (1...Self.maximumNameSize).contains(nameSize), bytes.count == 5 + hostSize + nameSize else {
      throw .malformed(.open)
    }
    let name = (0..<nameSize).map { bytes[5 + hostSize + $0] }
    guard let agent = String(validating: name, as: UTF8.self) else { throw .malformed(.open) }
    self.agent = agent
  }

  public var bytes: [UInt8] {
    var bytes: [UInt8] = [`protocol`.rawValue, UInt8(port >> 8), UInt8(truncatingIfNeeded: port)]
    if let hostOffset {
      bytes.append(16)
      for shift in stride(from: 120, through: 0, by: -8) {
        bytes.append(UInt8(truncatingIfNeeded: hostOffset >> UInt128(shift)))
      }
    } else {
      bytes.append(0)
    }
    let name = Array(agent.utf8.prefix(Self.maximumNameSize))
    bytes.append(UInt8(name.count))
    return bytes + name
  }
}

/// Why a stream was refused, as far as the other end needs to know to act like the device would.
public struct Refusal: Error, Equatable, Sendable, CustomStringConvertible {
  public enum Reason: UInt8, Sendable, CaseIterable {
    /// No agent of this name on the site.
    case unknownAgent = 1
    /// The grant doesn't cover the agent.
    case notGranted = 2
    /// The agent doesn't permit the protocol or the port.
    case portNotPermitted = 3
    /// The agent's subnet doesn't hold the address, or the site never dials it.
    case addressNotPermitted = 4
    /// The grant has expired or was revoked.
    case grantEnded = 5
    /// The device refused the connection (RST).
    case deviceRefused = 6
    /// No way to the device's network.
    case networkUnreachable = 7
    /// The device's host doesn't answer on its network.
    case hostUnreachable = 8
    /// The device said nothing in time.
    case timedOut = 9
    /// A bound of the site or the session is reached.
    case tooMany = 10
    /// The site can't do it now: a system call failed.
    case siteError = 11
    /// The session ended before the answer.
    case sessionEnded = 12
  }

  /// UTF-8 bytes of the text.
  public static let maximumTextSize = 200

  public var reason: Reason
  /// For a person: what exactly said no. May be empty.
  public var text: String

  public init(_ reason: Reason, _ text: String = "") {
    self.reason = reason
    self.text = text
  }

  public init(parsing bytes: Span<UInt8>) throws(FrameError) {
    guard bytes.count >= 1, bytes.count <= 1 + Self.maximumTextSize, let reason = Reason(rawValue: bytes[0]) else {
      throw .malformed(.refused)
    }
    self.reason = reason
    let characters = (1..<bytes.count).map { bytes[$0] }
    guard let text = String(validating: characters, as: UTF8.self) else { throw .malformed(.refused) }
    self.text = text
  }

  public var bytes: [UInt8] {
    var text = self.text[...]
    while text.utf8.count > Self.maximumTextSize { text.removeLast() }
    return [reason.rawValue] + Array(text.utf8)
  }

  public var description: String {
    text.isEmpty ? reason.description : "\(reason): \(text)"
  }
}

extension Refusal.Reason: CustomStringConvertible {
  public var description: String {
    switch self {
    case .unknownAgent: "the site has no such agent"
    case .notGranted: "the grant doesn't cover the agent"
    case .portNotPermitted: "the agent doesn't permit the port"
    case .addressNotPermitted: "the agent doesn't permit the address"
    case .grantEnded: "the grant has ended"
    case .deviceRefused: "the device refused the connection"
    case .networkUnreachable: "the site has no way to the device's network"
    case .hostUnreachable: "the device doesn't answer on its network"
    case .timedOut: "the device said nothing in time"
    case .tooMany: "a bound is reached"
    case .siteError: "the site can't do it now"
    case .sessionEnded: "the session ended"
    }
  }
}

/// Why a stream was cut.
public enum ResetCode: UInt8, Sendable, CaseIterable {
  /// The endpoint reset its connection.
  case reset = 1
  /// The endpoint stopped answering.
  case timedOut = 2
  /// The grant, slot or permission ended.
  case revoked = 3
  /// A bound is reached, or nobody used it for too long.
  case limit = 4
  /// The host is going down, or failed.
  case internalError = 5
}
