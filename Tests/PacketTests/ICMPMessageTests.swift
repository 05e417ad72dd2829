import Packet
import Primitives
import Testing

@Suite struct ICMPMessageTests {
  private func messages(_ family: IPAddress.Family, _ random: inout SeededRandom) -> [ICMPMessage] {
    let (a, b, c) = (random16(&random), random16(&random), random8(&random))
    let isV4 = family == .v4
    return [
      .echoRequest(identifier: a, sequence: b), .echoReply(identifier: a, sequence: b),
      .destinationUnreachable(code: c == 4 ? 3 : c, mtu: nil), .timeExceeded(code: c),
      isV4 ? .destinationUnreachable(code: 4, mtu: max(1, a)) : .packetTooBig(mtu: random32(&random)),
      .parameterProblem(code: c, pointer: isV4 ? UInt32(c) : random32(&random)),
      isV4 ? .other(type: 13, code: c) : .other(type: 135, code: c),
      isV4 ? .other(type: 5, code: c) : .other(type: 133, code: c),
    ]
  }

  @Test func roundTripsWithChecksum() throws {
    var random = SeededRandom(seed: 60)
    for _ in 0..<500 {
      for family in [IPAddress.Family.v4, .v6] {
        let (source, destination) = (randomAddress(family, &random), randomAddress(family, &random))
        for message in messages(family, &random) {
          let payload = randomBytes(Int(random.next() % 60), &random)
          var sum = Checksum()
          sum.add(payload.span)
          let header = written(8) {
            message.write(
              into: &$0, source: source, destination: destination, payload: sum, payloadLength: payload.count)
          }
          var bytes = header + payload
          #expect(try ICMPMessage(parsing: bytes.span, family: family) == message)
          #expect(ICMPMessage.hasValidChecksum(bytes.span, source: source, destination: destination) == true)
          bytes[Int(random.next() % UInt64(bytes.count))] ^= 0x10
          #expect(ICMPMessage.hasValidChecksum(bytes.span, source: source, destination: destination) == false)
        }
      }
    }
  }

  @Test func knownEchoRequest() throws {
    let message = ICMPMessage.echoRequest(identifier: 0x1234, sequence: 1)
    let bytes = written(8) {
      message.write(into: &$0, source: IPAddress(10, 0, 0, 1), destination: IPAddress(10, 0, 0, 2))
    }
    #expect(bytes == [8, 0, 0xE5, 0xCA, 0x12, 0x34, 0, 1])
    expectRefusedWhenCut(bytes) { bytes throws(ParseError) in try ICMPMessage(parsing: bytes, family: .v4) }
    expectRefusedWhenCut(bytes) { bytes throws(ParseError) in try ICMPMessage(parsing: bytes, family: .v6) }
    #expect(message.description == "ICMP echo request, id 4660, seq 1")
  }

  @Test func packetTooBigBecomesFragmentationNeeded() throws {
    let bytes = written(8) {
      ICMPMessage.packetTooBig(mtu: 1400).write(
        into: &$0, source: IPAddress(10, 0, 0, 1), destination: IPAddress(10, 0, 0, 2))
    }
    #expect(try ICMPMessage(parsing: bytes.span, family: .v4) == .destinationUnreachable(code: 4, mtu: 1400))
  }

  @Test func errorsAreKnown() {
    for family in [IPAddress.Family.v4, .v6] {
      #expect(ICMPMessage.unreachable(.port, in: family).isError(in: family))
      #expect(!ICMPMessage.echoReply(identifier: 0, sequence: 0).isError(in: family))
    }
    #expect(ICMPMessage.other(type: 5, code: 0).isError(in: .v4))
    #expect(!ICMPMessage.other(type: 135, code: 0).isError(in: .v6))
    #expect(ICMPMessage.other(type: 100, code: 0).isError(in: .v6))
  }

  @Test func randomBytesNeverTrap() {
    feedRandomBytes(seed: 61, upTo: 16, shape: { bytes, _ in if !bytes.isEmpty { bytes[0] &= 0x8F } }) {
      bytes throws(ParseError) in
      _ = try ICMPMessage(parsing: bytes, family: .v4).isError(in: .v4)
      _ = try ICMPMessage(parsing: bytes, family: .v6).isError(in: .v6)
    }
  }
}
