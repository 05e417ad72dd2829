import Primitives

/// Where aliases come from: addresses on the LinkManager's side that stand for agents.
public struct AliasPool: Hashable, Sendable {
  public var v4: IPPrefix
  public var v6: IPPrefix

  /// 198.18.0.0/15 is set aside for benchmarks (RFC 2544, RFC 6890) and so in no plant's network; the IPv6 prefix is a
  /// unique local one (RFC 4193).
  public static let standard = AliasPool(
    v4: IPPrefix(IPAddress(198, 18, 0, 0), length: 15)!,
    v6: IPPrefix(IPAddress("fd72:656c:6179::")!, length: 48)!)!

  /// - Returns: `nil` unless the prefixes are of the right family and hold at least 2¹⁰ and 2⁷² addresses.
  public init?(v4: IPPrefix, v6: IPPrefix) {
    guard v4.address.family == .v4, v6.address.family == .v6, v4.length <= 22, v6.length <= 56 else { return nil }
    self.v4 = v4
    self.v6 = v6
  }

  /// The adapter's own addresses: the first host of each prefix.
  public var own: (v4: IPAddress, v6: IPAddress) {
    (v4.address(at: 1)!, v6.address(at: 1)!)
  }
}

/// Which addresses stand for which agent. An agent keeps its alias as long as the pool isn't crowded: where the
/// search begins follows from its name alone, so that scripts and bookmarks go on working.
struct AliasAllocator {
  let pool: AliasPool
  private let searchLimit: Int
  private var taken: [IPPrefix] = []
  /// Networks of the host, in which no alias may be.
  var avoided: [IPPrefix] = []

  /// Aliases and networks in the way of one search, each of which is passed in one step.
  static let defaultSearchLimit = 65_536

  /// Host bits of the largest IPv4 subnet that gets an alias of its own: 4,096 addresses.
  static let maximumV4HostBits = 12

  init(pool: AliasPool, searchLimit: Int = AliasAllocator.defaultSearchLimit) {
    self.pool = pool
    self.searchLimit = searchLimit
  }

  /// Aliases for one device, or for a subnet with this many host bits; `nil` where the pool has no room.
  mutating func allocate(_ name: String, hostBits: Int) -> (v4: IPPrefix?, v6: IPPrefix?) {
    let v4 = hostBits <= Self.maximumV4HostBits ? place(name, in: pool.v4, hostBits: hostBits) : nil
    let v6 = hostBits <= 64 ? place(name, in: pool.v6, hostBits: hostBits) : nil
    return (v4, v6)
  }

  mutating func release(_ prefix: IPPrefix) {
    taken.removeAll { $0 == prefix }
  }

  private mutating func place(_ name: String, in pool: IPPrefix, hostBits: Int) -> IPPrefix? {
    let width = pool.address.bitWidth
    // IPv6 devices share the pool's first /64, subnets get a /64 each.
    let region = width == 128 && hostBits == 0 ? IPPrefix(pool.address, length: 64)! : pool
    let blockBits = width == 128 && hostBits > 0 ? 64 : hostBits
    // Short addresses are easier on people: single IPv6 devices use the low 16 bits.
    let space = width == 128 && hostBits == 0 ? 16 : width - region.length - blockBits
    let blocks = UInt128(1) << UInt128(space)
    let start = UInt128(Self.hash(name)) % blocks
    var step: UInt128 = 0
    for _ in 0..<searchLimit where step < blocks {
      let block = (start + step) % blocks
      step += 1
      guard let address = region.address(at: block << UInt128(blockBits)),
        let prefix = IPPrefix(address, length: width - hostBits), isUsable(prefix, in: pool)
      else { continue }
      guard let obstacle = obstacle(to: prefix) else {
        taken.append(prefix)
        return prefix
      }
      // Behind what is there, which may be much larger.
      guard let offset = region.offset(of: obstacle.address) else { continue }
      step += ((offset + obstacle.lastOffset) >> UInt128(blockBits)) - block
    }
    return nil
  }

  /// An alias or a network of the host that is where this one would be.
  private func obstacle(to prefix: IPPrefix) -> IPPrefix? {
    taken.first { $0.overlaps(prefix) } ?? avoided.first { $0.overlaps(prefix) }
  }

  /// The first 256 addresses hold the adapter's own, and the last IPv4 one is a broadcast address.
  private func isUsable(_ prefix: IPPrefix, in pool: IPPrefix) -> Bool {
    guard let offset = pool.offset(of: prefix.address) else { return false }
    return offset >= 256 && offset + prefix.lastOffset < pool.lastOffset
  }

  /// FNV-1a: stable over versions and machines, which `Hasher` isn't.
  private static func hash(_ name: String) -> UInt64 {
    name.utf8.reduce(0xCBF2_9CE4_8422_2325) { ($0 ^ UInt64($1)) &* 0x100_0000_01B3 }
  }
}
