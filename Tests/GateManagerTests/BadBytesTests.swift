import Control
import Crypto
import Glibc
import Kernel
import Primitives
import Proxy
import Testing

@testable import GateManager

/// Bytes that are not what they should be, at each phase of a control connection, with a whole session beside it.
@Suite(.serialized, .timeLimit(.minutes(3))) struct BadBytesTests {
  /// The first bytes of a ClientHello: its record and handshake headers say 512 bytes.
  private static let clientHello: [UInt8] = [0x16, 3, 1, 2, 0, 1, 0, 1, 0xFC, 3, 3] + [UInt8](repeating: 7, count: 40)

  @Test func beforeTLS() async throws {
    let fixture = try GateFixture()
    let bystander = try await Bystander(fixture)
    let junk: [[UInt8]] = [
      Array("GET / HTTP/1.1\r\nHost: gm\r\n\r\n".utf8), Array("SSH-2.0-OpenSSH_9.2p1\r\n".utf8),
      [UInt8](repeating: 0, count: 300), [0x16, 3, 1, 0xFF, 0xFF] + [UInt8](repeating: 1, count: 70_000),
      (0..<2000).map { UInt8(truncatingIfNeeded: $0 &* 167 >> 2) }, [], Array(Self.clientHello.prefix(3)),
      Self.clientHello,
    ]
    for bytes in junk {
      let peer = try RawPeer(fixture)
      peer.sendRaw(bytes)
      peer.finish()
      #expect(try peer.end().isEnd, "\(bytes.prefix(8)) is answered by the end")
    }
    #expect(fixture.eventually { $0.refusals["handshakeFailed"] == UInt64(junk.count) && $0.connections == 2 })
    let lines = fixture.log.lines("connection refused", "127.0.0.1:", "the TLS handshake failed", "detail=")
    #expect(lines.count == junk.count, "\(fixture.log.all)")
    #expect(lines.first?.contains("http request") == true, "\(lines)")
    try await bystander.expectUndisturbed(fixture)
    bystander.stop()
  }

  /// A ClientHello that is as it should be, and then something else than the rest of the handshake.
  @Test(arguments: [TLSContext.Version.tls12, .tls13]) func withinTheHandshake(version: TLSContext.Version) async throws
  {
    let fixture = try GateFixture()
    let bystander = try await Bystander(fixture)
    let junk: [[UInt8]] = [
      Array("no record".utf8), [0x16, 3, 3, 0, 8, 16, 0, 0, 4, 1, 2, 3, 4],
      [0x17, 3, 3, 0, 40] + [UInt8](repeating: 5, count: 40),
      [0x15, 3, 3, 0, 2, 2, 40], [],
    ]
    for bytes in junk {
      let context = try TLSContext(
        .client, peer: .required, alpn: [ControlProtocol.alpn], versions: version...version)
      var tls = try TLSConnection(context)
      _ = try tls.handshake()
      let peer = try RawPeer(fixture)
      peer.sendRaw(tls.takeOutput())
      peer.sendRaw(bytes)
      peer.finish()
      #expect(try peer.end().isEnd)
    }
    #expect(fixture.eventually { $0.refusals["handshakeFailed"] == UInt64(junk.count) && $0.connections == 2 })
    #expect(fixture.log.lines("connection refused", "the TLS handshake failed", "detail=").count == junk.count)
    try await bystander.expectUndisturbed(fixture)
    bystander.stop()
  }

  /// What is said so slowly that it never ends, and who says nothing: all at once, since each takes ten seconds.
  @Test func dropByDrop() async throws {
    let fixture = try GateFixture()
    let bystander = try await Bystander(fixture)
    let user = try fixture.login("calm")
    let began = Clock.now
    let ends = Box<(all: [RawPeer.End], took: Interval)>()
    let dribblers = try Thread(name: "dribble") {
      let hello = Self.clientHello
      // 256 KiB are announced.
      let message: [UInt8] = [0, 4, 0, 0] + Array("{\"type\":\"hello\", ".utf8) + [UInt8](repeating: 0x20, count: 200)
      guard let silent = try? RawPeer(fixture), let slowHello = try? RawPeer(fixture),
        let header = try? RawPeer(fixture, nil), let body = try? RawPeer(fixture, user),
        let ticket = try? RawPeer(fixture, user, alpn: [ControlProtocol.dataALPN]),
        let mute = try? RawPeer(fixture, nil)
      else { return }
      for step in 0..<130 where Clock.now - began < .seconds(12) {
        slowHello.sendRaw([hello[step % hello.count]])
        if step % 50 == 0 { header.send([message[step / 50]]) }
        body.send([message[step]])
        ticket.send([message[step]])
        usleep(100_000)
      }
      let all = [
        try? silent.end(), try? slowHello.end(), try? header.end(), try? body.end(), try? ticket.end(), try? mute.end(),
      ]
      ends.put((all.compactMap { $0 }, Clock.now - began))
    }
    // Meanwhile.
    for _ in 0..<20 {
      try await bystander.expectUndisturbed(fixture)
      try await Task.sleep(for: .milliseconds(500))
    }
    dribblers.join()
    let seen = try #require(ends.wait())
    #expect(seen.all.count == 6 && seen.all.allSatisfy(\.isEnd), "\(seen)")
    #expect(seen.took < .seconds(20), "\(seen)")
    let status = try #require(fixture.service.status())
    #expect(status.refusals["handshakeTimeout"] == 2 && status.refusals["noHello"] == 3, "\(status.refusals)")
    #expect(status.refusals["noTicket"] == 1 && status.connections == 2, "\(status.refusals)")
    #expect(fixture.log.lines("connection refused", "the TLS handshake took too long").count == 2)
    #expect(fixture.log.lines("no hello came", "user=calm").count == 1, "\(fixture.log.all)")
    #expect(fixture.log.lines("no ticket came", "user=calm").count == 1, "\(fixture.log.all)")
    bystander.stop()
  }

  @Test func behindTheHandshake() async throws {
    let fixture = try GateFixture()
    let bystander = try await Bystander(fixture)
    let user = try fixture.login("calm")
    // Text instead of a size, no JSON, no message, and another message than hello.
    for bytes in [
      Array("GET / HTTP/1.1\r\n\r\n".utf8), RawPeer.message("{"), RawPeer.message("[7]"),
      RawPeer.message("{\"type\":\"hello\",\"version\":\"one\"}"), RawPeer.message("{\"type\":\"list\"}"),
      RawPeer.message("\u{0}\u{1}\u{2}"),
    ] {
      let peer = try RawPeer(fixture, user)
      peer.send(bytes)
      #expect(try peer.failure()?.code == .malformed, "\(bytes.prefix(8))")
      #expect(try peer.end().isEnd)
    }
    let lines = fixture.log.lines("control connection refused", "user=calm")
    #expect(lines.count == 6, "\(fixture.log.all)")
    #expect(lines.contains { $0.contains("detail=a message of 1195725856 bytes, more than 262144") }, "\(lines)")
    #expect(lines.contains { $0.contains("detail=a malformed message: version of another type") }, "\(lines)")
    #expect(lines.contains { $0.contains("detail=hello comes first") }, "\(lines)")
    try await bystander.expectUndisturbed(fixture)
    bystander.stop()
  }

  @Test func amongTheMessagesOfASite() async throws {
    let fixture = try GateFixture()
    let bystander = try await Bystander(fixture)
    let (site, _) = try fixture.enroll(fixture.addSite("odd"), name: "odd")
    func online() throws -> RawPeer {
      let peer = try RawPeer(fixture, site)
      try peer.hello(.siteManager)
      guard case .success(.welcome) = try peer.next() else { throw SystemError(call: "welcome", code: EPROTO) }
      #expect(fixture.eventually { $0.sites.contains { $0.name == "odd" && $0.online } })
      return peer
    }
    // What can't be understood is refused, and the connection goes on: a later version may have sent it.
    let tolerant = try online()
    for text in ["{", "{\"type\":\"agents\",\"agents\":[{\"name\":\"a b\",\"kind\":\"device\",\"family\":4}]}"] {
      tolerant.send(text: text)
      #expect(try tolerant.failure()?.code == .malformed)
    }
    try tolerant.send(.list, request: 3)
    #expect(try tolerant.failure()?.code == .notPermitted)
    #expect(fixture.log.lines("message refused", "site=odd", "detail=a malformed message").count == 2)
    #expect(fixture.log.lines("message refused", "site=odd", "isn't for it to send", "detail=list").count == 1)
    try tolerant.send(.ping(5))
    #expect(try tolerant.next().get() == .pong(5))
    tolerant.finish()

    // Oversized, cut in the header, cut in the body, and bytes that are no TLS.
    let oversized = try online()
    oversized.send([0, 4, 0, 1])
    let failure = try oversized.failure()
    #expect(failure?.code == .malformed && failure?.message.contains("262145") == true)
    #expect(try oversized.end().isEnd)
    for part in [2, 60] {
      let cut = try online()
      cut.send(
        Array(RawPeer.message("{\"type\":\"agents\",\"agents\":[]," + String(repeating: " ", count: 80)).prefix(part)))
      cut.finish()
      #expect(try cut.end().isEnd)
      #expect(fixture.eventually { $0.sites.contains { $0.name == "odd" && !$0.online } })
    }
    let broken = try online()
    broken.sendRaw(Array("this is no record".utf8))
    #expect(try broken.end().isEnd)
    #expect(fixture.log.told("site offline", "site=odd", Refusal.brokenTLS.text), "\(fixture.log.all)")
    #expect(fixture.log.lines("connection refused", "site=odd", Refusal.brokenTLS.text, "detail=").count == 1)

    // Each message is small enough, and they never end.
    let endless = try online()
    let agents = (0..<200).map {
      AgentDescription(name: "a\($0)", target: .device(.v4), tcp: [.all], about: String(repeating: "x", count: 900))
    }
    for _ in 0..<12 { try? endless.send(.agents(agents)) }
    #expect(try endless.end().isEnd)
    #expect(fixture.log.told("control connection refused", "site=odd", Refusal.tooFast.text))
    #expect(fixture.eventually { $0.connections == 2 && $0.refusals["tooFast"] == 1 })
    try await bystander.expectUndisturbed(fixture)
    bystander.stop()
  }

  @Test func aFloodOfStrangersHasFewLines() throws {
    let fixture = try GateFixture()
    for _ in 0..<60 {
      let peer = try RawPeer(fixture)
      peer.sendRaw([1, 2, 3, 4, 5])
      _ = try peer.end()
    }
    #expect(fixture.eventually { $0.refusals["handshakeFailed"] == 60 })
    #expect(fixture.log.lines("connection refused").count == GateLimits.refusalLines)
  }
}

struct RefusalLinesTests {
  @Test func whatIsLeftOutIsCounted() {
    var lines = RefusalLines(limit: 3)
    let start = Instant(nanoseconds: 1_000_000_000_000)
    let first = (0..<5).map { _ in lines.admit(now: start) }
    #expect(first == [true, true, true, false, false])
    // First it is told how many there were.
    let (early, late) = (lines.settle(now: start + .seconds(59)), lines.admit(now: start + .seconds(61)))
    let (omitted, rest) = (lines.settle(now: start + .seconds(61)), lines.settle(now: start + .seconds(62)))
    #expect(early == 0 && !late && omitted == 3 && rest == 0)
    let admitted = [62, 200].map { lines.admit(now: start + .seconds($0)) }
    #expect(admitted == [true, true])
  }
}
