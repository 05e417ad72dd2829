import Framing
import Primitives
import Testing

@Suite struct OpenRequestTests {
  @Test func survivesTheWire() throws {
    let requests = [
      OpenRequest(agent: "web", transport: .tcp, port: 443),
      OpenRequest(agent: "Linie 1 – Kamera", transport: .udp, port: 0),
      OpenRequest(agent: "net", transport: .icmp, port: 0, hostOffset: 77),
      OpenRequest(agent: "net6", transport: .tcp, port: 80, hostOffset: .max),
      OpenRequest(agent: "cell", protocol: .discovery), OpenRequest(agent: "cell", protocol: .capture),
      OpenRequest(agent: "cell", protocol: .ethernet),
    ]
    for request in requests {
      #expect(try OpenRequest(parsing: request.bytes.span) == request)
    }
  }

  /// The numbers are the protocol's: they can't change.
  @Test func protocolsHaveTheirNumbers() {
    #expect(StreamProtocol.allCases.map(\.rawValue) == [1, 6, 17, 143, 253, 254])
    for transport in TransportProtocol.allCases {
      #expect(
        StreamProtocol(transport).transport == transport && StreamProtocol(transport).rawValue == transport.rawValue)
    }
    #expect(StreamProtocol.allCases.filter(\.isByteStream) == [.tcp, .discovery, .capture])
  }

  @Test func everyTruncationIsRefused() {
    let bytes = OpenRequest(agent: "plc", transport: .tcp, port: 502, hostOffset: 3).bytes
    for count in 0..<bytes.count {
      #expect(throws: FrameError.malformed(.open)) { try OpenRequest(parsing: bytes.span.extracting(0..<count)) }
    }
  }

  @Test func namesAreBounded() throws {
    let longest = String(repeating: "n", count: OpenRequest.maximumNameSize)
    #expect(try OpenRequest(parsing: OpenRequest(agent: longest, transport: .tcp, port: 1).bytes.span).agent == longest)
    // One that is longer never gets that far, and isn't taken from a peer.
    let more = OpenRequest(agent: longest + "n", transport: .tcp, port: 1)
    #expect(try OpenRequest(parsing: more.bytes.span).agent == longest)
    let forged: [UInt8] = [6, 0, 1, 0, 129] + [UInt8](repeating: 0x6E, count: 129)
    #expect(throws: FrameError.malformed(.open)) { try OpenRequest(parsing: forged.span) }
    let text = [11] + [UInt8](repeating: 0x6E, count: Refusal.maximumTextSize + 1)
    #expect(throws: FrameError.malformed(.refused)) { try Refusal(parsing: text.span) }
  }

  @Test func refusalsSurviveAndLongTextsAreCut() throws {
    for reason in Refusal.Reason.allCases {
      let refusal = Refusal(reason, "because")
      #expect(try Refusal(parsing: refusal.bytes.span) == refusal)
    }
    let long = Refusal(.siteError, String(repeating: "ä", count: 500))
    #expect(try Refusal(parsing: long.bytes.span).text.utf8.count == 200)
  }

  @Test func randomBytesNeverTrap() {
    var random = SeededRandom(seed: 1)
    for _ in 0..<20_000 {
      let bytes = (0..<Int(random.next() % 40)).map { _ in UInt8(truncatingIfNeeded: random.next()) }
      _ = try? OpenRequest(parsing: bytes.span)
      _ = try? Refusal(parsing: bytes.span)
      _ = try? FrameHeader(parsing: bytes.span)
      _ = try? RecordHeader(parsing: bytes.span)
    }
  }
}
