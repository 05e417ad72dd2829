import Primitives

/// The first eight bytes of an ICMP (RFC 792) or ICMPv6 (RFC 4443) message; data or a quoted packet follows.
public enum ICMPMessage: Equatable, Sendable, BitwiseCopyable {
  case echoRequest(identifier: UInt16, sequence: UInt16)
  case echoReply(identifier: UInt16, sequence: UInt16)
  /// `code` as the family numbers it. `mtu` only with IPv4's code 4 (RFC 1191), in bytes; `nil` if not stated.
  case destinationUnreachable(code: UInt8, mtu: UInt16?)
  /// IPv6 only when read; written for IPv4 as code 4 of destination unreachable. `mtu` in bytes.
  case packetTooBig(mtu: UInt32)
  case timeExceeded(code: UInt8)
  /// `pointer`: the offending byte's place in the quoted packet; 0 to 255 for IPv4.
  case parameterProblem(code: UInt8, pointer: UInt32)
  /// Anything else, neighbour and router discovery included. Its second four bytes are written as zeros.
  case other(type: UInt8, code: UInt8)

  /// Bytes before data or quoted packet.
  public static let size = 8

  /// Codes of `destinationUnreachable`, by meaning; the families number them differently.
  public enum Unreachable: Sendable, BitwiseCopyable {
    case network, host, port, administrativelyProhibited

    public func code(in family: IPAddress.Family) -> UInt8 {
      switch (self, family) {
      case (.network, _): 0
      case (.host, .v4): 1
      case (.port, .v4): 3
      case (.administrativelyProhibited, .v4): 13
      case (.host, .v6): 3
      case (.port, .v6): 4
      case (.administrativelyProhibited, .v6): 1
      }
    }
  }

  public static func unreachable(_ what: Unreachable, in family: IPAddress.Family) -> ICMPMessage {
    .destinationUnreachable(code: what.code(in: family), mtu: nil)
  }

  /// Reads the first eight bytes. The checksum covers all of the message: see `hasValidChecksum`.
  public init(parsing bytes: Span<UInt8>, family: IPAddress.Family) throws(ParseError) {
    try bytes.require(Self.size, for: family == .v4 ? .icmp : .icmpv6)
    let code = bytes[1]
    switch (family, bytes[0]) {
    case (.v4, 8), (.v6, 128): self = .echoRequest(identifier: bytes.load16(4), sequence: bytes.load16(6))
    case (.v4, 0), (.v6, 129): self = .echoReply(identifier: bytes.load16(4), sequence: bytes.load16(6))
    case (.v4, 3):
      // RFC 1191 section 4: routers that don't know about path MTU discovery send zero.
      let mtu = bytes.load16(6)
      self = .destinationUnreachable(code: code, mtu: code == 4 && mtu != 0 ? mtu : nil)
    case (.v6, 1): self = .destinationUnreachable(code: code, mtu: nil)
    case (.v6, 2): self = .packetTooBig(mtu: bytes.load32(4))
    case (.v4, 11), (.v6, 3): self = .timeExceeded(code: code)
    case (.v4, 12): self = .parameterProblem(code: code, pointer: UInt32(bytes[4]))
    case (.v6, 4): self = .parameterProblem(code: code, pointer: bytes.load32(4))
    case (_, let type): self = .other(type: type, code: code)
    }
  }

  /// Whether this reports an error: such a message is never answered by another (RFC 1122 section 3.2.2,
  /// RFC 4443 section 2.4).
  public func isError(in family: IPAddress.Family) -> Bool {
    switch self {
    case .destinationUnreachable, .packetTooBig, .timeExceeded, .parameterProblem: true
    case .echoRequest, .echoReply: false
    // Source quench and redirect; RFC 4443 section 2.1 keeps types below 128 for errors.
    case .other(let type, _): family == .v4 ? type == 4 || type == 5 : type < 128
    }
  }

  /// Writes eight bytes, checksum included.
  ///
  /// - Parameters:
  ///   - source: with `destination`, tells the family; part of ICMPv6's checksum (RFC 4443 section 2.3).
  ///   - payload: the sum over what follows.
  ///   - payloadLength: bytes that follow.
  public func write(
    into bytes: inout MutableSpan<UInt8>, source: IPAddress, destination: IPAddress, payload: Checksum = Checksum(),
    payloadLength: Int = 0
  ) {
    precondition(bytes.count >= Self.size, "no room for the header")
    let family = source.family
    let (type, code, rest) = fields(in: family)
    let first = UInt32(type) << 24 | UInt32(code) << 16
    var checksum = payload
    checksum.add(partial: UInt64(first) &+ UInt64(rest))
    if family == .v6 {
      checksum.add(
        partial: Checksum.pseudoHeader(
          source: source, destination: destination, protocol: IPProtocol.icmpv6, length: Self.size + payloadLength))
    }
    bytes.store(first | UInt32(checksum.value), at: 0)
    bytes.store(rest, at: 4)
  }

  private func fields(in family: IPAddress.Family) -> (type: UInt8, code: UInt8, rest: UInt32) {
    let isV4 = family == .v4
    switch self {
    case .echoRequest(let identifier, let sequence):
      return (isV4 ? 8 : 128, 0, UInt32(identifier) << 16 | UInt32(sequence))
    case .echoReply(let identifier, let sequence):
      return (isV4 ? 0 : 129, 0, UInt32(identifier) << 16 | UInt32(sequence))
    case .destinationUnreachable(let code, let mtu): return (isV4 ? 3 : 1, code, isV4 ? UInt32(mtu ?? 0) : 0)
    case .packetTooBig(let mtu): return isV4 ? (3, 4, min(mtu, 0xFFFF)) : (2, 0, mtu)
    case .timeExceeded(let code): return (isV4 ? 11 : 3, code, 0)
    case .parameterProblem(let code, let pointer): return (isV4 ? 12 : 4, code, isV4 ? pointer << 24 : pointer)
    case .other(let type, let code): return (type, code, 0)
    }
  }

  /// Whether a whole message, header and all that follows, is intact.
  public static func hasValidChecksum(_ message: Span<UInt8>, source: IPAddress, destination: IPAddress) -> Bool {
    var checksum = Checksum()
    if source.family == .v6 {
      checksum.add(
        partial: Checksum.pseudoHeader(
          source: source, destination: destination, protocol: IPProtocol.icmpv6, length: message.count))
    }
    checksum.add(message)
    return checksum.isValid
  }
}

extension ICMPMessage: CustomStringConvertible {
  public var description: String {
    switch self {
    case .echoRequest(let identifier, let sequence): "ICMP echo request, id \(identifier), seq \(sequence)"
    case .echoReply(let identifier, let sequence): "ICMP echo reply, id \(identifier), seq \(sequence)"
    case .destinationUnreachable(let code, let mtu):
      "ICMP destination unreachable, code \(code)" + (mtu.map { ", mtu \($0)" } ?? "")
    case .packetTooBig(let mtu): "ICMP packet too big, mtu \(mtu)"
    case .timeExceeded(let code): "ICMP time exceeded, code \(code)"
    case .parameterProblem(let code, let pointer): "ICMP parameter problem, code \(code), octet \(pointer)"
    case .other(let type, let code): "ICMP type \(type), code \(code)"
    }
  }
}
