import Discovery
import Packet
import Primitives
import Testing

@Suite struct DCPAssignmentTests {
  private func assignment(_ random: inout SeededRandom) throws -> DCPAssignment {
    DCPAssignment(
      .name(try #require(StationName("plc-1"))), permanent: true, of: other, from: own, now: .zero, random: &random)
  }

  private func answer(_ request: [UInt8], _ blocks: String, from mac: MACAddress = other) -> [UInt8] {
    let content = hex(blocks)
    return ethernet(
      to: own, from: mac, .profinet,
      hex("fefd 04 01") + Array(request[18..<22]) + [0, 0, 0, UInt8(content.count)] + content)
  }

  @Test func theDeviceTakesItOrNot() throws {
    var random = SeededRandom(seed: 21)
    for (blocks, outcome) in [
      ("0504 0003 0202 00 00", .done), ("0504 0003 0202 05 00", .refused(5)), ("0504 0003 0102 00 00", nil),
    ] as [(String, DCPAssignment.Outcome?)] {
      var assignment = try assignment(&random)
      let first = assignment.nextTransmit(now: .zero)
      let request = try #require(first)
      let second = assignment.nextTransmit(now: .zero)
      #expect(second == nil)
      assignment.receive(answer(request, blocks, from: MACAddress(0x0200_0000_0003)).span)
      #expect(assignment.outcome == nil, "another device's answer")
      assignment.receive(answer(request, blocks).span)
      #expect(assignment.outcome == outcome)
    }
  }

  @Test func itIsAskedThreeTimes() throws {
    var random = SeededRandom(seed: 22)
    var assignment = try assignment(&random)
    var now = Instant.zero
    var requests: [[UInt8]] = []
    while let deadline = assignment.nextDeadline {
      now = max(now, deadline)
      assignment.handleTimeout(now: now)
      if let request = assignment.nextTransmit(now: now) { requests.append(request) }
    }
    #expect(requests.count == 3 && Set(requests).count == 1 && assignment.outcome == .noAnswer)
    #expect(now == Instant.zero + .seconds(6))
  }
}
