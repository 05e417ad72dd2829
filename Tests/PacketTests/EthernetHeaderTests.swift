import Packet
import Primitives
import Testing

@Suite struct EthernetHeaderTests {
  @Test func roundTrips() throws {
    var random = SeededRandom(seed: 70)
    for _ in 0..<2000 {
      let raw = random16(&random)
      let tag = VLANTag(
        identifier: random16(&random) & 0xFFF, priority: random8(&random) & 7, isDropEligible: random.chance(0.5))
      let header = EthernetHeader(
        destination: MACAddress(random.next()), source: MACAddress(random.next()),
        type: EtherType(rawValue: raw == 0x8100 ? 0x0800 : raw), tag: random.chance(0.5) ? tag : nil)
      var length = 0
      let bytes = Array(written(18) { length = header.write(into: &$0) }.prefix(header.headerLength))
      #expect(length == bytes.count)
      #expect(try EthernetHeader(parsing: bytes.span) == header)
      expectRefusedWhenCut(bytes) { bytes throws(ParseError) in try EthernetHeader(parsing: bytes) }
    }
  }

  @Test func knownHeader() throws {
    let bytes: [UInt8] = [
      0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x02, 0x00, 0x5E, 0x10, 0x20, 0x30, 0x81, 0x00, 0xB0, 0x2A, 0x88, 0x92,
    ]
    let header = try EthernetHeader(parsing: bytes.span)
    #expect(header.destination.isBroadcast && header.source.isLocallyAdministered && !header.source.isMulticast)
    #expect(header.tag == VLANTag(identifier: 42, priority: 5, isDropEligible: true) && header.type == .profinet)
    #expect(
      header.description == "02:00:5e:10:20:30 > ff:ff:ff:ff:ff:ff, vlan 42, p 5, DEI, ethertype PROFINET")
  }

  @Test func randomBytesNeverTrap() {
    feedRandomBytes(
      seed: 71, upTo: 24, shape: { bytes, random in if bytes.count > 13 { (bytes[12], bytes[13]) = (0x81, 0) } }
    ) { bytes throws(ParseError) in _ = try EthernetHeader(parsing: bytes) }
  }
}

@Suite struct MACAddressTests {
  @Test func text() {
    #expect(MACAddress("02:00:5E:10:20:3f") == MACAddress(0x0200_5E10_203F))
    #expect(MACAddress("02-00-5e-10-20-3f")?.description == "02:00:5e:10:20:3f")
    for bad in [
      "", "02:00:5e:10:20", "02:00:5e:10:20:3", "02:00:5e:10:20:3g", "02:00:5e:10:20:3f:1", "+1:00:5e:10:20:3f",
    ] {
      #expect(MACAddress(bad) == nil, "\(bad)")
    }
  }
}
