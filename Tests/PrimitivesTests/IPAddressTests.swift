import Primitives
import Testing

@Suite struct IPAddressTests {
  /// Text and canonical text (RFC 5952 sections 4 and 5; RFC 4291 section 2.2).
  @Test(arguments: [
    ("2001:0db8::0001", "2001:db8::1"),
    ("2001:db8:0:0:0:0:2:1", "2001:db8::2:1"),
    ("2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"),
    ("2001:0:0:1:0:0:0:1", "2001:0:0:1::1"),
    ("2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"),
    ("2001:DB8::ABCD", "2001:db8::abcd"),
    ("0:0:0:0:0:0:0:0", "::"),
    ("::1", "::1"),
    ("1::", "1::"),
    ("::ffff:192.0.2.1", "::ffff:c000:201"),
    ("64:ff9b::192.0.2.33", "64:ff9b::c000:221"),
    ("ff02:0:0:0:0:0:0:1", "ff02::1"),
    ("1:2:3:4:5:6:7::", "1:2:3:4:5:6:7:0"),
    ("::2:3:4:5:6:7:8", "0:2:3:4:5:6:7:8"),
    ("1:2:3:4:5:6:1.2.3.4", "1:2:3:4:5:6:102:304"),
    ("192.168.0.1", "192.168.0.1"),
    ("0.0.0.0", "0.0.0.0"),
    ("255.255.255.255", "255.255.255.255"),
  ])
  func readsAndWritesTheCanonicalForm(text: String, canonical: String) throws {
    let address = try #require(IPAddress(text))
    #expect(address.description == canonical)
    #expect(IPAddress(canonical) == address)
  }

  @Test(arguments: [
    "", " ", ".", ":", ":::", "1:", ":1", "1::2::3", "::1::", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9", "1:2:3:4:5:6:7:8::",
    "::1:2:3:4:5:6:7:8", "12345::", "g::", "+1::", "-1::", "::1.2.3", "::1.2.3.4.5", "1.2.3.4::", "::1.2.3.4:5",
    "1:2:3:4:5:6:7:1.2.3.4", "fe80::1%eth0", "[::1]", "1.2.3", "1.2.3.4.5", "1.2.3.256", "01.2.3.4", "1.2.3.04",
    "1..2.3", "1.2.3.", ".1.2.3", "1.2.3.+4", "1.2.3.-4", " 1.2.3.4", "1.2.3.4 ", "0x1.2.3.4", "１.2.3.4", "1.2.3.4/8",
  ])
  func refusesWhatIsNoAddress(text: String) {
    #expect(IPAddress(text) == nil)
  }

  @Test func everyAddressSurvivesItsText() throws {
    var random = SeededRandom(seed: 11)
    for _ in 0..<20_000 {
      // Zero groups are frequent, so that all shapes of `::` come up.
      var value: UInt128 = 0
      for _ in 0..<8 {
        value = value << 16 | UInt128(random.chance(0.5) ? 0 : random.next() & (random.chance(0.5) ? 0xF : 0xFFFF))
      }
      for address in [IPAddress(v6: value), IPAddress(v4: UInt32(truncatingIfNeeded: random.next()))] {
        if IPAddress(address.description) != address { Issue.record("\(address)") }
        if IPAddress(bytes: address.bytes.span) != address { Issue.record("\(address)") }
      }
    }
  }

  @Test func garbageNeverTraps() {
    var random = SeededRandom(seed: 12)
    let letters = Array("0123456789abcdefF:::...//+-% gé".unicodeScalars)
    for _ in 0..<50_000 {
      var text = ""
      for _ in 0..<Int(random.next() % 48) {
        text.unicodeScalars.append(letters[Int(random.next() % UInt64(letters.count))])
      }
      if let address = IPAddress(text) { #expect(IPAddress(address.description) == address) }
      if let prefix = IPPrefix(text) { #expect(IPPrefix(prefix.description) == prefix) }
    }
  }

  @Test func onlyWholeAddressesAreRead() {
    for count in 0..<20 {
      let bytes = [UInt8](repeating: 1, count: count)
      #expect((IPAddress(bytes: bytes.span) != nil) == (count == 4 || count == 16))
    }
  }

  @Test func specialAddressesAreKnown() throws {
    let address = { (text: String) in try #require(IPAddress(text)) }
    #expect(try address("127.255.0.1").isLoopback && address("::1").isLoopback)
    #expect(try !address("128.0.0.1").isLoopback && !address("::2").isLoopback)
    #expect(try address("224.0.0.1").isMulticast && address("239.255.255.255").isMulticast)
    #expect(try address("ff02::1").isMulticast && !address("fe02::1").isMulticast)
    #expect(try !address("223.255.255.255").isMulticast && !address("240.0.0.0").isMulticast)
    #expect(try address("169.254.1.1").isLinkLocal && !address("169.253.255.255").isLinkLocal)
    #expect(try address("fe80::1").isLinkLocal && address("febf::").isLinkLocal && !address("fec0::").isLinkLocal)
    #expect(try address("255.255.255.255").isBroadcast && !address("255.255.255.254").isBroadcast)
    #expect(try address("0.0.0.0").isUnspecified && address("::").isUnspecified)
    #expect(try address("::ffff:1.2.3.4").isV4Mapped && !address("::fffe:1.2.3.4").isV4Mapped)
    // The same number in two families is two addresses.
    #expect(try address("0.0.0.1") != address("::1"))
  }
}

@Suite struct IPPrefixTests {
  @Test(arguments: [
    ("10.1.2.3/8", "10.0.0.0/8"), ("10.1.2.3", "10.1.2.3/32"), ("0.0.0.0/0", "0.0.0.0/0"), ("1.2.3.4/0", "0.0.0.0/0"),
    ("2001:db8::ffff/32", "2001:db8::/32"), ("::1", "::1/128"), ("ff::/0", "::/0"), ("1.2.3.255/31", "1.2.3.254/31"),
  ])
  func hostBitsAreCleared(text: String, canonical: String) throws {
    let prefix = try #require(IPPrefix(text))
    #expect(prefix.description == canonical)
    #expect(IPPrefix(canonical) == prefix)
  }

  @Test(arguments: [
    "", "/", "/8", "10.0.0.0/", "10.0.0.0/33", "::/129", "10.0.0.0/-1", "10.0.0.0/+8", "10.0.0.0/8/8", "10.0.0.0/8 ",
    "10.0.0.0/99999999999999999999", "10/8",
  ])
  func refusesWhatIsNoPrefix(text: String) {
    #expect(IPPrefix(text) == nil)
  }

  @Test func lengthsOutOfRangeAreRefused() {
    #expect(IPPrefix(IPAddress(1, 2, 3, 4), length: -1) == nil)
    #expect(IPPrefix(IPAddress(1, 2, 3, 4), length: 33) == nil)
    #expect(IPPrefix(IPAddress(v6: 0), length: 129) == nil)
  }

  /// Against arithmetic on single bits.
  @Test func membershipAgreesWithTheBits() throws {
    var random = SeededRandom(seed: 13)
    for _ in 0..<20_000 {
      let isV4 = random.chance(0.5)
      let width = isV4 ? 32 : 128
      let draw = { (random: inout SeededRandom) -> IPAddress in
        isV4
          ? IPAddress(v4: UInt32(truncatingIfNeeded: random.next()))
          : IPAddress(v6: UInt128(random.next()) << 64 | UInt128(random.next()))
      }
      let length = Int(random.next() % UInt64(width + 1))
      let base = draw(&random)
      let prefix = try #require(IPPrefix(base, length: length))
      // Half of the candidates differ in one bit only.
      let bit = UInt128(1) << UInt128(random.next() % UInt64(width))
      let near = isV4 ? IPAddress(v4: UInt32(base.value ^ bit)) : IPAddress(v6: base.value ^ bit)
      for other in [near, draw(&random), base] {
        let agrees = (0..<length).allSatisfy { index in
          let shift = UInt128(width - 1 - index)
          return (base.value >> shift) & 1 == (other.value >> shift) & 1
        }
        if prefix.contains(other) != agrees { Issue.record("\(prefix) \(other)") }
        let offset = prefix.offset(of: other)
        if (offset != nil) != agrees { Issue.record("\(prefix) \(other)") }
        if let offset, prefix.address(at: offset) != other { Issue.record("\(prefix) \(other)") }
      }
    }
  }

  @Test func theEndsOfAPrefix() throws {
    let small = try #require(IPPrefix("10.0.0.4/30"))
    #expect(small.lastOffset == 3)
    #expect(small.address(at: 3) == IPAddress(10, 0, 0, 7))
    #expect(small.address(at: 4) == nil)
    let all = try #require(IPPrefix("::/0"))
    #expect(all.lastOffset == .max)
    #expect(all.address(at: .max) == IPAddress(v6: .max))
    let everything = try #require(IPPrefix("0.0.0.0/0"))
    #expect(everything.address(at: 0xFFFF_FFFF) == IPAddress(255, 255, 255, 255))
    #expect(everything.address(at: 0x1_0000_0000) == nil)
    #expect(!everything.contains(IPAddress(v6: 0)))
    let one = try #require(IPPrefix("::1"))
    #expect(one.lastOffset == 0 && one.address(at: 1) == nil)
  }

  @Test func overlapIsMutual() throws {
    let prefix = { (text: String) in try #require(IPPrefix(text)) }
    #expect(try prefix("10.0.0.0/8").overlaps(prefix("10.1.0.0/16")))
    #expect(try prefix("10.1.0.0/16").overlaps(prefix("10.0.0.0/8")))
    #expect(try !prefix("10.0.0.0/16").overlaps(prefix("10.1.0.0/16")))
    #expect(try !prefix("0.0.0.0/0").overlaps(prefix("::/0")))
  }
}
