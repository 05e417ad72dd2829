/// An IPv6 fragment header (RFC 8200 section 4.5).
public struct IPv6FragmentHeader: Equatable, Sendable, BitwiseCopyable {
  public static let size = 8

  public var nextHeader: UInt8
  /// Where this fragment's payload stands in the datagram; bytes, a multiple of 8, at most 65528.
  public var offset: Int
  public var moreFragments: Bool
  public var identification: UInt32

  public init(nextHeader: UInt8, offset: Int, moreFragments: Bool, identification: UInt32) {
    self.nextHeader = nextHeader
    self.offset = offset
    self.moreFragments = moreFragments
    self.identification = identification
  }

  public init(parsing bytes: Span<UInt8>) throws(ParseError) {
    try bytes.require(Self.size, for: .ipv6Extension)
    nextHeader = bytes[0]
    let field = bytes.load16(2)
    offset = Int(field & 0xFFF8)
    moreFragments = field & 1 != 0
    identification = bytes.load32(4)
  }

  /// Whether the datagram is in fact whole: processed on its own, never with others (RFC 6946 section 4).
  public var isAtomic: Bool { offset == 0 && !moreFragments }

  /// Writes 8 bytes.
  public func write(into bytes: inout MutableSpan<UInt8>) {
    precondition(bytes.count >= Self.size, "no room for the header")
    precondition(offset & 7 == 0 && (0...65528).contains(offset), "bad fragment offset")
    bytes[0] = nextHeader
    bytes[1] = 0
    bytes.store(UInt16(offset) | (moreFragments ? 1 : 0), at: 2)
    bytes.store(identification, at: 4)
  }
}

extension IPv6FragmentHeader: CustomStringConvertible {
  public var description: String {
    "frag (0x\(String(identification, radix: 16)):\(offset)\(moreFragments ? "+" : ""))"
  }
}

/// The chain of extension headers behind an IPv6 header (RFC 8200 section 4), walked as its destination does.
public struct IPv6ExtensionHeaders: Equatable, Sendable, BitwiseCopyable {
  /// Most headers in a chain. RFC 8200 section 4.1 recommends at most seven, and real chains have one or two.
  public static let limit = 8

  /// Where the walk ended: a transport protocol; the first header that isn't understood; or, in a fragment other
  /// than the first, what the fragment header names.
  public var protocolNumber: UInt8
  /// Where that begins, in bytes from the end of the IPv6 header.
  public var offset: Int
  public var fragment: IPv6FragmentHeader?
  /// Where the fragmented part begins, in bytes from the end of the IPv6 header; 0 without a fragment header.
  public var fragmentOffset = 0
  /// Whether the chain holds what its destination must not ignore and this module doesn't understand: an extension
  /// header, an option that asks not to be skipped (section 4.2), or a route that isn't at its end (section 4.4).
  public var hasUnknownHeader = false

  /// Walks the chain. Fails when `bytes` end within it: the first fragment must hold all of it (RFC 7112).
  ///
  /// - Parameters:
  ///   - bytes: what follows the IPv6 header.
  ///   - nextHeader: from the IPv6 header.
  public init(parsing bytes: Span<UInt8>, nextHeader: UInt8) throws(ParseError) {
    protocolNumber = nextHeader
    offset = 0
    for position in 0...Self.limit {
      switch protocolNumber {
      case IPProtocol.hopByHop, IPProtocol.destinationOptions, IPProtocol.routing:
        // RFC 8200 section 4.1: hop-by-hop options stand right behind the IPv6 header or nowhere.
        guard protocolNumber != IPProtocol.hopByHop || position == 0 else {
          throw ParseError(.ipv6Extension, .misplacedHeader(protocolNumber))
        }
        guard position < Self.limit else { throw ParseError(.ipv6Extension, .tooManyHeaders) }
        let length = try Self.length(at: offset, in: bytes)
        let isUnderstood =
          protocolNumber == IPProtocol.routing
          ? bytes[offset &+ 3] == 0
          : Self.mayIgnoreOptions(bytes.extracting(offset &+ 2..<offset &+ length))
        if !isUnderstood { hasUnknownHeader = true }
        protocolNumber = bytes[offset]
        offset &+= length
      case IPProtocol.fragment:
        guard fragment == nil else { throw ParseError(.ipv6Extension, .misplacedHeader(protocolNumber)) }
        guard position < Self.limit else { throw ParseError(.ipv6Extension, .tooManyHeaders) }
        let header = try IPv6FragmentHeader(parsing: bytes.extracting(droppingFirst: min(offset, bytes.count)))
        fragment = header
        protocolNumber = header.nextHeader
        offset &+= IPv6FragmentHeader.size
        fragmentOffset = offset
        // Later fragments begin in the middle of something.
        if header.offset != 0 { return }
      case IPProtocol.authentication, IPProtocol.mobility, IPProtocol.hostIdentity, IPProtocol.shim6, 253, 254:
        // The rest of IANA's list of extension headers, and the two for experiments (RFC 3692).
        hasUnknownHeader = true
        return
      default:
        return
      }
    }
  }

  /// The whole length of an options or routing header, which must lie within `bytes`.
  private static func length(at offset: Int, in bytes: Span<UInt8>) throws(ParseError) -> Int {
    try bytes.require(offset &+ 8, for: .ipv6Extension)
    let length = (Int(bytes[offset &+ 1]) &+ 1) &* 8
    try bytes.require(offset &+ length, for: .ipv6Extension)
    return length
  }

  /// Whether every option is padding, a router alert (RFC 2711), or one that may be skipped: its upper two bits
  /// are zero (section 4.2). False for options that overrun their header.
  private static func mayIgnoreOptions(_ options: Span<UInt8>) -> Bool {
    var offset = 0
    while offset < options.count {
      let type = options[offset]
      if type == 0 {
        offset &+= 1
        continue
      }
      guard type >> 6 == 0, offset &+ 1 < options.count else { return false }
      offset &+= 2 &+ Int(options[offset &+ 1])
    }
    return offset == options.count
  }
}
