import Framing
import Primitives
import Testing

@Suite struct ListenRequestTests {
  @Test func survivesTheWire() throws {
    let request = ListenRequest(control: StreamID(slot: 513, tenant: 0xFEDC))
    #expect(try ListenRequest(parsing: request.bytes.span) == request)
    for text in ["192.168.10.1", "fd00:10::1"] {
      let answer = ListenAnswer(endpoint: Endpoint(try #require(IPAddress(text)), 50_000))
      #expect(try ListenAnswer(parsing: answer.bytes.span) == answer)
    }
  }

  @Test func otherSizesAreRefused() {
    for count in 0..<30 where count != 4 {
      let bytes = [UInt8](repeating: 1, count: count)
      #expect(throws: FrameError.malformed(.listen)) { try ListenRequest(parsing: bytes.span) }
    }
    for count in 0..<30 where count != 6 && count != 18 {
      let bytes = [UInt8](repeating: 1, count: count)
      #expect(throws: FrameError.malformed(.listening)) { try ListenAnswer(parsing: bytes.span) }
    }
  }

  @Test func anEndpointThatNobodyCanReachIsRefused() {
    for bytes in [[0, 0, 192, 168, 10, 1], [195, 80, 0, 0, 0, 0]] as [[UInt8]] {
      #expect(throws: FrameError.malformed(.listening)) { try ListenAnswer(parsing: bytes.span) }
    }
  }
}
