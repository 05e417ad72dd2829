import Primitives
import Testing

@testable import Framing

@Suite struct FrameHeaderTests {
  private func bytes(of header: FrameHeader, payload: Int) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: FrameHeader.size + payload)
    var span = bytes.mutableSpan
    header.write(into: &span)
    return bytes
  }

  @Test(arguments: FrameType.allCases)
  func survivesTheWire(type: FrameType) throws {
    for (length, isContinued) in [(0, false), (1, true), (FrameHeader.maximumPayload, true)] {
      let header = FrameHeader(
        type: type, length: length, stream: StreamID(slot: 0x1234, tenant: 0xFEDC), isContinued: isContinued)
      #expect(try FrameHeader(parsing: bytes(of: header, payload: length).span) == header)
    }
  }

  @Test func theLayoutIsFixed() {
    let header = FrameHeader(
      type: .datagram, length: 0x0102, stream: StreamID(slot: 0x0304, tenant: 0x0506), isContinued: true)
    #expect(bytes(of: header, payload: 0) == [8, 1, 1, 2, 5, 6, 3, 4])
    #expect(FrameType.allCases.map(\.rawValue) == Array(1...17))
  }

  @Test func unknownTypesAndFlagsAreRefused() {
    for type in [0] + Array(18...255) as [UInt8] {
      #expect(throws: FrameError.unknownType(type)) { try FrameHeader(parsing: [type, 0, 0, 0, 0, 0, 0, 0].span) }
    }
    for flags in 2...255 as ClosedRange<UInt8> {
      #expect(throws: FrameError.reservedBits(flags)) { try FrameHeader(parsing: [4, flags, 0, 0, 0, 0, 0, 0].span) }
    }
  }

  @Test func lengthsBeyondTheRecordAreRefused() {
    for count in 0..<FrameHeader.size {
      let bytes = [UInt8](repeating: 4, count: count)
      #expect(throws: FrameError.truncated) { try FrameHeader(parsing: bytes.span) }
    }
    let header = FrameHeader(type: .data, length: 10, stream: .session)
    #expect(throws: FrameError.truncated) { try FrameHeader(parsing: bytes(of: header, payload: 9).span) }
    #expect(throws: Never.self) { try FrameHeader(parsing: bytes(of: header, payload: 11).span) }
  }

  @Test func identifiersKeepSlotAndTenantApart() {
    let id = StreamID(slot: 0xFFFF, tenant: 0)
    #expect(id.slot == 0xFFFF && id.tenant == 0 && id.rawValue == 0xFFFF)
    #expect(StreamID(slot: 0, tenant: .max).rawValue == 0xFFFF_0000)
    #expect(StreamID.session.slot == 0)
    #expect(StreamID(slot: 2, tenant: 7).description == "2.7")
  }
}
