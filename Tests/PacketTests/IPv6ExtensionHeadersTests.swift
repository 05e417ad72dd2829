import Packet
import Primitives
import Testing

@Suite struct IPv6ExtensionHeadersTests {
  /// An options header of 8 bytes: padding only.
  private func padding(then next: UInt8) -> [UInt8] { [next, 0, 1, 4, 0, 0, 0, 0] }

  @Test func noChain() throws {
    let chain = try IPv6ExtensionHeaders(parsing: [UInt8]().span, nextHeader: 6)
    #expect(chain.protocolNumber == 6 && chain.offset == 0 && chain.fragment == nil && !chain.hasUnknownHeader)
  }

  @Test func wholeChain() throws {
    let fragment = IPv6FragmentHeader(nextHeader: 60, offset: 0, moreFragments: true, identification: 7)
    let bytes =
      padding(then: 43) + [44, 0, 4, 0, 0, 0, 0, 0] + written(8) { fragment.write(into: &$0) } + padding(then: 17)
    let chain = try IPv6ExtensionHeaders(parsing: bytes.span, nextHeader: 0)
    #expect(chain.protocolNumber == 17 && chain.offset == 32 && chain.fragmentOffset == 24)
    #expect(chain.fragment == fragment && !chain.hasUnknownHeader)
    expectRefusedWhenCut(bytes) { bytes throws(ParseError) in try IPv6ExtensionHeaders(parsing: bytes, nextHeader: 0) }
  }

  @Test func laterFragmentsEndTheWalk() throws {
    let fragment = IPv6FragmentHeader(nextHeader: 60, offset: 1232, moreFragments: false, identification: 7)
    let bytes = written(8) { fragment.write(into: &$0) }
    let chain = try IPv6ExtensionHeaders(parsing: bytes.span, nextHeader: 44)
    #expect(chain.protocolNumber == 60 && chain.offset == 8 && chain.fragment == fragment)
  }

  @Test func misplacedAndRepeatedHeaders() {
    let bytes = padding(then: 0) + padding(then: 6)
    #expect(throws: ParseError(.ipv6Extension, .misplacedHeader(0))) {
      try IPv6ExtensionHeaders(parsing: bytes.span, nextHeader: 60)
    }
    let fragments: [UInt8] = [44, 0, 0, 1, 0, 0, 0, 1, 6, 0, 0, 1, 0, 0, 0, 1]
    #expect(throws: ParseError(.ipv6Extension, .misplacedHeader(44))) {
      try IPv6ExtensionHeaders(parsing: fragments.span, nextHeader: 44)
    }
  }

  @Test func chainIsBounded() throws {
    let most = Array((1..<IPv6ExtensionHeaders.limit).map { _ in padding(then: 60) }.joined()) + padding(then: 6)
    #expect(try IPv6ExtensionHeaders(parsing: most.span, nextHeader: 60).protocolNumber == 6)
    let more = padding(then: 60) + most
    #expect(throws: ParseError(.ipv6Extension, .tooManyHeaders)) {
      try IPv6ExtensionHeaders(parsing: more.span, nextHeader: 60)
    }
  }

  @Test(arguments: [51, 135, 139, 140, 253, 254] as [UInt8]) func unknownHeaders(number: UInt8) throws {
    let chain = try IPv6ExtensionHeaders(parsing: padding(then: number).span, nextHeader: 0)
    #expect(chain.hasUnknownHeader && chain.protocolNumber == number && chain.offset == 8)
  }

  @Test func optionsThatMustNotBeSkipped() throws {
    // A jumbo payload (RFC 2675), an overrun, and a route with a hop left.
    for (next, bytes) in [
      (0, [6, 0, 0xC2, 4, 0, 1, 0, 0]), (60, [6, 0, 1, 5, 0, 0, 0, 0]), (43, [6, 0, 0, 1, 0, 0, 0, 0]),
    ] as [(UInt8, [UInt8])] {
      let chain = try IPv6ExtensionHeaders(parsing: bytes.span, nextHeader: next)
      #expect(chain.hasUnknownHeader && chain.protocolNumber == 6)
    }
    let routerAlert: [UInt8] = [58, 0, 5, 2, 0, 0, 0, 0]
    #expect(try !IPv6ExtensionHeaders(parsing: routerAlert.span, nextHeader: 0).hasUnknownHeader)
  }

  @Test func randomBytesNeverTrap() {
    let kinds: [UInt8] = [0, 43, 44, 60, 6, 17, 51, 59]
    feedRandomBytes(
      seed: 30, upTo: 160,
      shape: { bytes, random in
        for index in stride(from: 0, to: bytes.count, by: 8) {
          bytes[index] = kinds[Int(random.next() % 8)]
          if index + 1 < bytes.count { bytes[index + 1] &= 1 }
        }
      }
    ) { bytes throws(ParseError) in
      for next in kinds {
        do throws(ParseError) { _ = try IPv6ExtensionHeaders(parsing: bytes, nextHeader: next) } catch {}
      }
    }
  }

  @Test func fragmentHeaderRoundTrips() throws {
    var random = SeededRandom(seed: 31)
    for _ in 0..<2000 {
      let header = IPv6FragmentHeader(
        nextHeader: random8(&random), offset: Int(random16(&random) & 0xFFF8), moreFragments: random.chance(0.5),
        identification: random32(&random))
      let bytes = written(8) { header.write(into: &$0) }
      #expect(try IPv6FragmentHeader(parsing: bytes.span) == header)
    }
  }
}
