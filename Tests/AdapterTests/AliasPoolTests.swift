import Primitives
import Testing

@testable import Adapter

@Suite struct AliasPoolTests {
  static let small = AliasPool(v4: IPPrefix("10.64.0.0/22")!, v6: IPPrefix("fd00::/56")!)!

  @Test func poolsOfTheWrongSizeOrFamilyAreRefused() throws {
    let (v4, v6) = (Self.small.v4, Self.small.v6)
    #expect(AliasPool(v4: v6, v6: v4) == nil)
    #expect(AliasPool(v4: try #require(IPPrefix("10.0.0.0/23")), v6: v6) == nil)
    #expect(AliasPool(v4: v4, v6: try #require(IPPrefix("fd00::/57"))) == nil)
    #expect(AliasPool.standard.own.v4 == IPAddress(198, 18, 0, 1))
    #expect(AliasPool.standard.own.v6 == IPAddress("fd72:656c:6179::1"))
  }

  /// Scripts and bookmarks hold these addresses: they are the same on every machine and in every version.
  @Test func anAliasFollowsFromTheName() {
    var first = AliasAllocator(pool: .standard)
    var second = AliasAllocator(pool: .standard)
    let names = (0..<50).map { "site/agent\($0)" }
    var aliases: [String: IPPrefix] = [:]
    for name in names { aliases[name] = first.allocate(name, hostBits: 0).v4 }
    for name in names.reversed() { #expect(second.allocate(name, hostBits: 0).v4 == aliases[name]) }
    #expect(aliases["site/agent0"]?.description == "198.19.189.80/32")
  }

  @Test func aReleasedAliasComesBackToItsAgent() {
    var allocator = AliasAllocator(pool: .standard)
    let before = allocator.allocate("a/b", hostBits: 0)
    if let v4 = before.v4 { allocator.release(v4) }
    if let v6 = before.v6 { allocator.release(v6) }
    let after = allocator.allocate("a/b", hostBits: 0)
    #expect(before.v4 == after.v4 && before.v6 == after.v6)
    // A namesake gets another place.
    let namesake = allocator.allocate("a/b", hostBits: 0)
    #expect(namesake.v4 != after.v4 && namesake.v6 != after.v6)
  }

  /// Fills a small pool by seed with devices and subnets: nothing overlaps, and nothing of our own is given away.
  @Test(arguments: 0..<6 as Range<UInt64>)
  func aliasesNeverOverlap(seed: UInt64) {
    var random = SeededRandom(seed: seed)
    var allocator = AliasAllocator(pool: Self.small)
    var given: [IPPrefix] = []
    for index in 0..<400 {
      if random.chance(0.2), !given.isEmpty {
        allocator.release(given.remove(at: Int(random.next() % UInt64(given.count))))
        continue
      }
      let hostBits = random.chance(0.7) ? 0 : Int(random.next() % 8)
      let (v4, v6) = allocator.allocate("s/\(index)", hostBits: hostBits)
      for prefix in [v4, v6].compactMap({ $0 }) {
        let pool = prefix.address.family == .v4 ? Self.small.v4 : Self.small.v6
        #expect(pool.contains(prefix.address))
        #expect(prefix.lastOffset == (UInt128(1) << UInt128(hostBits)) - 1)
        #expect(!prefix.contains(Self.small.own.v4) && !prefix.contains(Self.small.own.v6))
        #expect(!prefix.contains(pool.address), "the pool's own name")
        if prefix.address.family == .v4 {
          #expect(!prefix.contains(IPAddress(10, 64, 3, 255)), "the pool's broadcast address")
        }
        if given.contains(where: { $0.overlaps(prefix) }) { Issue.record("\(prefix) is taken") }
        given.append(prefix)
      }
    }
  }

  @Test func aFullPoolGivesNothing() {
    var allocator = AliasAllocator(pool: Self.small)
    var count = 0
    while allocator.allocate("s/\(count)", hostBits: 0).v4 != nil { count += 1 }
    // 1,024 less the first 256 and the broadcast address.
    #expect(count == 767)
  }

  @Test func largeSubnetsHaveNoIPv4Alias() {
    var allocator = AliasAllocator(pool: .standard)
    #expect(allocator.allocate("s/large", hostBits: 12).v4?.length == 20)
    let tooLarge = allocator.allocate("s/larger", hostBits: 13)
    #expect(tooLarge.v4 == nil)
    #expect(tooLarge.v6?.length == 115)
    let whole = allocator.allocate("s/lan6", hostBits: 64)
    #expect(whole.v4 == nil && whole.v6?.length == 64)
    let none = allocator.allocate("s/huge", hostBits: 65)
    #expect(none.v4 == nil && none.v6 == nil)
  }
}
