import Control
import Foundation
import Testing

/// Pings and pongs take a way of their own, which must not be told from the other one.
@Suite struct HeartbeatTests {
  private static let ids: [UInt64] = [0, 1, 9, 10, 1_000_000, .max - 1, .max]

  private func decode(_ text: String) throws -> ControlEnvelope? {
    let size = UInt32(text.utf8.count)
    let bytes = [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: size >> $0) } + Array(text.utf8)
    var decoder = MessageDecoder()
    try decoder.receive(bytes.span)
    return try decoder.next()
  }

  @Test func theyAreWrittenAsTheCoderWritesThem() throws {
    let coder = JSONEncoder()
    coder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    for id in Self.ids {
      for envelope in [
        ControlEnvelope(.ping(id)), ControlEnvelope(.pong(id)), ControlEnvelope(.pong(id), request: 3),
      ] {
        #expect(try envelope.encoded().dropFirst(4) == Array(coder.encode(envelope))[...])
      }
    }
  }

  @Test func theyAreReadHoweverTheyAreWritten() throws {
    for id in Self.ids {
      for (type, message) in [("ping", ControlMessage.ping(id)), ("pong", .pong(id))] {
        for text in [
          #"{"id":\#(id),"type":"\#(type)"}"#, #"{"type":"\#(type)","id":\#(id)}"#,
          #"{ "id": \#(id), "type": "\#(type)" }"#, #"{"id":\#(id),"later":[],"type":"\#(type)"}"#,
          #"{"id":\#(id),"type":"\#(type)"} "#, #"{"id":\#(id),"type":"p\u00\#(type == "ping" ? "69" : "6f")ng"}"#,
        ] {
          #expect(try decode(text) == ControlEnvelope(message), "\(text)")
        }
      }
    }
    #expect(try decode(#"{"id":1,"request":2,"type":"ping"}"#) == ControlEnvelope(.ping(1), request: 2))
    #expect(try decode(#"{"id":1,"type":"pings"}"#) == ControlEnvelope(.unknown("pings")))
  }

  @Test(
    arguments: [
      #"{"id":18446744073709551616,"type":"ping"}"#, #"{"id":99999999999999999999999,"type":"ping"}"#,
      #"{"id":07,"type":"ping"}"#, #"{"id":,"type":"ping"}"#, #"{"id":-1,"type":"ping"}"#, #"{"id":1,"type":"ping""#,
      #"{"id":1,"type":"ping"}}"#, #"{"id":"#, #"{"id":"1","type":"ping"}"#,
    ])
  func whatIsNoneIsMalformed(text: String) throws {
    #expect(throws: ControlError.self) { try decode(text) }
  }
}
