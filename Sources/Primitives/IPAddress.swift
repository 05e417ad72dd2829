/// An IPv4 or IPv6 address.
public struct IPAddress: Hashable, Sendable, BitwiseCopyable {
  public enum Family: UInt8, Sendable, BitwiseCopyable { case v4 = 4, v6 = 6 }

  public let family: Family
  /// The address as a number, in host order; the low 32 bits for IPv4.
  public let value: UInt128

  public init(v4 value: UInt32) {
    family = .v4
    self.value = UInt128(value)
  }

  public init(v6 value: UInt128) {
    family = .v6
    self.value = value
  }

  public init(_ a: UInt8, _ b: UInt8, _ c: UInt8, _ d: UInt8) {
    self.init(v4: UInt32(a) << 24 | UInt32(b) << 16 | UInt32(c) << 8 | UInt32(d))
  }

  /// Reads 4 or 16 bytes in network order, as they stand in a header.
  public init?(bytes: Span<UInt8>) {
    var value: UInt128 = 0
    for index in bytes.indices { value = value << 8 | UInt128(bytes[index]) }
    switch bytes.count {
    case 4: self.init(v4: UInt32(value))
    case 16: self.init(v6: value)
    default: return nil
    }
  }

  /// The address in network order: 4 or 16 bytes.
  public var bytes: [UInt8] {
    let size = family == .v4 ? 4 : 16
    return (0..<size).map { UInt8(truncatingIfNeeded: value >> UInt128(8 * (size - 1 - $0))) }
  }

  /// Bits of an address of this family: 32 or 128.
  public var bitWidth: Int { family == .v4 ? 32 : 128 }

  public var isLoopback: Bool {
    family == .v4 ? value >> 24 == 127 : value == 1
  }

  public var isUnspecified: Bool { value == 0 }

  public var isMulticast: Bool {
    family == .v4 ? value >> 28 == 0xE : value >> 120 == 0xFF
  }

  /// 255.255.255.255; IPv6 has no broadcast.
  public var isBroadcast: Bool { family == .v4 && value == 0xFFFF_FFFF }

  public var isLinkLocal: Bool {
    family == .v4 ? value >> 16 == 0xA9FE : value >> 118 == 0x3FA
  }

  /// ::ffff:0:0/96 (RFC 4291 section 2.5.5.2): an IPv4 address in disguise.
  public var isV4Mapped: Bool { family == .v6 && value >> 32 == 0xFFFF }
}

extension IPAddress: CustomStringConvertible {
  /// Dotted decimal, or the canonical form of RFC 5952.
  public var description: String {
    if family == .v4 {
      return [24, 16, 8, 0].map { String((value >> UInt128($0)) & 0xFF) }.joined(separator: ".")
    }
    let groups = (0..<8).map { UInt16(truncatingIfNeeded: value >> UInt128(112 - 16 * $0)) }
    // RFC 5952 section 4.2: the longest run of two or more zero groups, the first one of equals.
    var best = 0..<0
    var start = 0
    while start < 8 {
      var end = start
      while end < 8, groups[end] == 0 { end += 1 }
      if end - start >= 2, end - start > best.count { best = start..<end }
      start = max(end, start + 1)
    }
    let text = { (range: Range<Int>) in
      groups[range].map { String($0, radix: 16) }.joined(separator: ":")
    }
    return best.isEmpty ? text(0..<8) : text(0..<best.lowerBound) + "::" + text(best.upperBound..<8)
  }
}

extension IPAddress: LosslessStringConvertible {
  /// Reads dotted decimal or the text forms of RFC 4291 section 2.2; no zone, no leading zeros in IPv4.
  public init?(_ text: String) {
    if text.utf8.contains(UInt8(ascii: ":")) {
      guard let value = Self.parseV6(text) else { return nil }
      self.init(v6: value)
    } else {
      guard let value = Self.parseV4(text[...]) else { return nil }
      self.init(v4: value)
    }
  }

  private static func parseV4(_ text: Substring) -> UInt32? {
    let parts = text.split(separator: ".", omittingEmptySubsequences: false)
    guard parts.count == 4 else { return nil }
    var value: UInt32 = 0
    for part in parts {
      guard (1...3).contains(part.utf8.count), part.utf8.allSatisfy({ $0 >= 48 && $0 <= 57 }),
        part.utf8.count == 1 || part.utf8.first != 48, let octet = UInt8(part)
      else { return nil }
      value = value << 8 | UInt32(octet)
    }
    return value
  }

  private static func parseV6(_ text: String) -> UInt128? {
    guard text.utf8.count <= 45 else { return nil }
    let halves = text.split(separator: "::", maxSplits: 2, omittingEmptySubsequences: false)
    // Dotted decimal stands for the last 32 bits only (RFC 4291 section 2.2).
    guard halves.count <= 2, let head = groups(halves[0], mayEndInV4: halves.count == 1) else { return nil }
    guard halves.count == 2 else {
      return head.count == 8 ? head.reduce(0) { $0 << 16 | UInt128($1) } : nil
    }
    guard let tail = groups(halves[1], mayEndInV4: true), head.count + tail.count < 8 else { return nil }
    let all = head + Array(repeating: 0, count: 8 - head.count - tail.count) + tail
    return all.reduce(0) { $0 << 16 | UInt128($1) }
  }

  private static func groups(_ text: Substring, mayEndInV4: Bool) -> [UInt16]? {
    guard !text.isEmpty else { return [] }
    let parts = text.split(separator: ":", omittingEmptySubsequences: false)
    var groups: [UInt16] = []
    for (index, part) in parts.enumerated() {
      if mayEndInV4, index == parts.count - 1, part.utf8.contains(UInt8(ascii: ".")) {
        guard let v4 = parseV4(part) else { return nil }
        groups.append(UInt16(truncatingIfNeeded: v4 >> 16))
        groups.append(UInt16(truncatingIfNeeded: v4))
      } else {
        guard (1...4).contains(part.utf8.count), part.utf8.first != UInt8(ascii: "+"),
          let group = UInt16(part, radix: 16)
        else { return nil }
        groups.append(group)
      }
    }
    return groups.count <= 8 ? groups : nil
  }
}

/// A network: an address whose host bits are zero, and how many leading bits are fixed.
public struct IPPrefix: Hashable, Sendable, BitwiseCopyable {
  public let address: IPAddress
  /// 0 to 32, or 0 to 128.
  public let length: Int

  /// Clears the host bits. `nil` when `length` is out of range for the family.
  public init?(_ address: IPAddress, length: Int) {
    guard (0...address.bitWidth).contains(length) else { return nil }
    let masked = address.value & ~Self.hostMask(address.family, length)
    self.address = address.family == .v4 ? IPAddress(v4: UInt32(masked)) : IPAddress(v6: masked)
    self.length = length
  }

  public func contains(_ other: IPAddress) -> Bool {
    other.family == address.family
      && other.value & ~Self.hostMask(address.family, length) == address.value
  }

  public func overlaps(_ other: IPPrefix) -> Bool {
    contains(other.address) || other.contains(address)
  }

  /// The address `offset` places behind the first; `nil` past the end.
  public func address(at offset: UInt128) -> IPAddress? {
    guard offset <= Self.hostMask(address.family, length) else { return nil }
    let value = address.value + offset
    return address.family == .v4 ? IPAddress(v4: UInt32(value)) : IPAddress(v6: value)
  }

  /// How far `other` lies behind the first address; `nil` if it is not in the prefix.
  public func offset(of other: IPAddress) -> UInt128? {
    contains(other) ? other.value - address.value : nil
  }

  /// How many addresses there are less one.
  public var lastOffset: UInt128 { Self.hostMask(address.family, length) }

  private static func hostMask(_ family: IPAddress.Family, _ length: Int) -> UInt128 {
    let width = family == .v4 ? 32 : 128
    guard length < width else { return 0 }
    return width - length == 128 ? .max : (UInt128(1) << UInt128(width - length)) - 1
  }
}

extension IPPrefix: LosslessStringConvertible {
  public var description: String { "\(address)/\(length)" }

  /// Reads `ADDRESS/LENGTH`; a bare address is a prefix of full length.
  public init?(_ text: String) {
    let parts = text.split(separator: "/", omittingEmptySubsequences: false)
    guard (1...2).contains(parts.count), let address = IPAddress(String(parts[0])) else { return nil }
    guard parts.count == 2 else {
      self.init(address, length: address.bitWidth)
      return
    }
    guard parts[1].utf8.allSatisfy({ $0 >= 48 && $0 <= 57 }), let length = Int(parts[1]) else { return nil }
    self.init(address, length: length)
  }
}

/// What an agent permits and a flow uses above IP.
public enum TransportProtocol: UInt8, Hashable, Sendable, BitwiseCopyable, CaseIterable, CustomStringConvertible {
  case icmp = 1
  case tcp = 6
  case udp = 17

  public var description: String {
    switch self {
    case .icmp: "icmp"
    case .tcp: "tcp"
    case .udp: "udp"
    }
  }
}

/// An address and a port.
public struct Endpoint: Hashable, Sendable, BitwiseCopyable, CustomStringConvertible {
  public var address: IPAddress
  public var port: UInt16

  public init(_ address: IPAddress, _ port: UInt16) {
    self.address = address
    self.port = port
  }

  /// Names nobody: 0.0.0.0, port 0.
  public static var unspecified: Endpoint { Endpoint(IPAddress(v4: 0), 0) }

  public var description: String {
    address.family == .v4 ? "\(address):\(port)" : "[\(address)]:\(port)"
  }
}
