import Crypto
import Framing
import Primitives
import Testing

@testable import Proxy

/// Records of version 0.1, made by another implementation from ARCHITECTURE.md alone, and of a later version.
@Suite struct GoldenRecordTests {
  private static let start = Instant(nanoseconds: 1_000_000_000)

  private static func site() throws -> Session {
    let bytes = (0..<32).map { UInt8($0) }
    let secret = try SecretBytes(copying: bytes.span)
    let secrets = RecordSecrets(send: try SecretBytes(random: 32), receive: secret)
    return try Session(role: .site, secrets: secrets, now: start)
  }

  private static func records() throws -> [[UInt8]] {
    let here = "\(#filePath)".split(separator: "/", omittingEmptySubsequences: false).dropLast(2).joined(separator: "/")
    let file = try AtomicFile.read("\(here)/Golden/0.1/records-from-link.hex", limit: 1 << 16)
    return file.split(separator: 0x0A).compactMap { Hex.decode(String(decoding: $0, as: UTF8.self)) }
  }

  @Test(arguments: [1, 7, 50]) func aSessionOfVersion01(piece: Int) throws {
    var pool = SlabPool(limit: 64)
    var session = try Self.site()
    let wire = try Self.records().flatMap { $0 }
    var seen: [String] = []
    for start in stride(from: 0, to: wire.count, by: piece) {
      let bytes = Array(wire[start..<min(start + piece, wire.count)])
      try SessionPair.deliver(bytes, to: &session, pool: &pool, now: Self.start)
      while let event = session.nextEvent() {
        switch event {
        case .openRequested(let id):
          let request = session.request(of: id)
          seen.append("open \(request.map { "\($0.protocol) \($0.agent) \($0.port)" } ?? "?")")
          if id.slot == 2 { #expect(request?.hostOffset == 7) }
          session.accept(id)
        case .data(let id, let slice), .datagram(let id, let slice), .echo(let id, let slice):
          let text = String(decoding: pool.array(slice).filter { $0 >= 0x20 }, as: UTF8.self)
          seen.append("\(id) \(text)")
          pool.release(slice)
        case .finished(let id): seen.append("\(id) finished")
        case .reset(let id, let code): seen.append("\(id) reset: \(code)")
        case .goingAway:
          let goodbye = session.peerGoodbye
          seen.append("going away: \(goodbye)")
        case .ended: seen.append("ended")
        default: break
        }
      }
    }
    #expect(
      seen == [
        "open tcp web 80", "1.1 GET / HTTP/1.0", "open udp hall 161", "2.1 snmp", "open icmp web 0", "3.1 ping",
        "1.1 finished", "2.1 reset: reset", "going away: done", "ended",
      ])
    let wasCut = session.wasCut
    #expect(!wasCut)
    session.close(pool: &pool)
    #expect(pool.slabsInUse == 0)
  }

  @Test(arguments: [
    (
      FrameError.unknownType(200),
      "17030300195ab0c470be73a05e053c2786ec091db9f4568c09e3cfa0db45"
    ),
    (
      FrameError.reservedBits(2),
      "170303001996b2c470be73a05e053553d0318b521c3e90c33d29b3f7b825"
    ),
  ]) func framesOfALaterVersion(expected: FrameError, wire: String) throws {
    var pool = SlabPool(limit: 64)
    var session = try Self.site()
    let bytes = try #require(Hex.decode(wire))
    #expect(throws: SessionError.frame(expected)) {
      try SessionPair.deliver(bytes, to: &session, pool: &pool, now: Self.start)
    }
    let end = SessionEnd.session(.frame(expected))
    #expect(end.label == "incompatible" && end.isSudden)
    #expect("\(end)".contains("it speaks a later version; update this end"), "\(end)")
    session.close(pool: &pool)
  }

  @Test func whatIsBrokenIsSaidInWords() {
    #expect("\(SessionEnd.session(.record(.notARecord)))" == "the peer broke the protocol: bytes that are no record")
    let id = StreamID(slot: 3, tenant: 1)
    #expect(
      "\(SessionEnd.session(.violation(.creditExceeded(id))))"
        == "the peer broke the protocol: more data than the window of stream 3.1 allows")
    #expect(SessionEnd.session(.frame(.malformed(.open))).label == "protocol")
  }
}
