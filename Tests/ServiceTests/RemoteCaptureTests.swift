import Kernel
import Primitives
import Testing

@testable import Service

@Suite(.timeLimit(.minutes(1))) struct RemoteCaptureTests {
  @Test func messagesAreReadBackAndCutOnesArent() {
    let fields = ["filter": "tcp", "snap": "96"]
    let message = RemoteCapture.message(fields)
    #expect(RemoteCapture.fields(in: message) == fields)
    #expect(message.first == 0, "unlike a section header")
    for count in 0..<message.count { #expect(RemoteCapture.fields(in: Array(message[..<count])) == nil) }
    #expect(RemoteCapture.fields(in: message + [0]) == nil)
    #expect(RemoteCapture.fields(in: [0, 0, 0, 2, 0x5B, 0x5D]) == nil)
  }

  @Test func sizesAreBounded() {
    #expect(RemoteCapture.size(of: [0, 1, 0, 0]) == 65_536)
    #expect(RemoteCapture.size(of: [0, 1, 0, 1]) == nil && RemoteCapture.size(of: [255, 255, 255, 255]) == nil)
    #expect(RemoteCapture.fields(in: RemoteCapture.message(["filter": String(repeating: "x", count: 70_000)])) == [:])
  }

  @Test func randomBytesTrapNothing() {
    var random = SeededRandom(seed: 2)
    for _ in 0..<2000 {
      let bytes = (0..<Int.random(in: 0...40, using: &random)).map { _ in UInt8.random(in: 0...255, using: &random) }
      _ = RemoteCapture.fields(in: [0, 0, 0, UInt8(clamping: bytes.count)] + bytes)
    }
  }

  @Test func aRequestComesInPiecesOrNotAtAll() throws {
    let pair = try UnixSocket.pair()
    let near = pair.near
    let far = pair.far
    let message = RemoteCapture.message(["flow": "1-2.3"])
    try near.writeAll(Array(message[..<3]))
    try near.writeAll(Array(message[3...]))
    #expect(RemoteCapture.request(from: far) == ["flow": "1-2.3"])
    try near.writeAll([255, 0, 0, 0])
    #expect(RemoteCapture.request(from: far) == nil)
    Socket.finish(near)
    #expect(RemoteCapture.request(from: far) == nil)
  }
}
