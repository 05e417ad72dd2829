import Crypto
import Framing
import Glibc
import Kernel
import Primitives
import Testing

@testable import Proxy

@Suite struct EndToEndHandshakeTests {
  let link: TestIdentity
  let site: TestIdentity
  let context = [UInt8](repeating: 7, count: 32)

  init() throws {
    link = try TestIdentity("link")
    site = try TestIdentity("site")
  }

  private func make(_ role: Session.Role, expecting: KeyHash? = nil, context: [UInt8]? = nil) throws
    -> EndToEndHandshake
  {
    try EndToEndHandshake(
      role: role, credentials: (role == .link ? link : site).credentials,
      expecting: expecting ?? (role == .link ? site : link).keyHash, exporterContext: context ?? self.context)
  }

  /// Runs both ends; `trailing` follows the link's last flight in the same segment, cut so many bytes
  /// `fromEnd`.
  private func run(
    trailing: [UInt8] = [], fromEnd: Int = 0, siteContext: [UInt8]? = nil
  ) throws -> (link: EndToEndHandshake.Outcome, site: EndToEndHandshake.Outcome, later: [UInt8]) {
    var near = try make(.link)
    var far = try make(.site, context: siteContext)
    try near.start()
    let hello = near.takeOutput()
    #expect(try far.receive(hello.span) == nil)
    let answer = far.takeOutput()
    let nearOutcome = try #require(try near.receive(answer.span))
    let flight = near.takeOutput() + trailing
    let cut = flight.count - fromEnd
    var outcome = try far.receive(flight.span.extracting(0..<cut))
    var later: [UInt8] = []
    if outcome == nil {
      outcome = try far.receive(flight.span.extracting(cut..<flight.count))
    } else {
      #expect(fromEnd <= trailing.count)
      later = Array(flight[cut...])
    }
    #expect(far.takeOutput().isEmpty, "nothing of TLS may follow among the records")
    return (nearOutcome, try #require(outcome), later)
  }

  @Test func bothEndsGetTheSameSecrets() throws {
    let (near, far, _) = try run()
    #expect(near.secrets.send.equals(far.secrets.receive))
    #expect(near.secrets.receive.equals(far.secrets.send))
    #expect(!near.secrets.send.equals(near.secrets.receive))
    #expect(near.secrets.send.count == 32)
    #expect(near.peerKeyHash == site.keyHash && far.peerKeyHash == link.keyHash)
    #expect(near.surplus.isEmpty && far.surplus.isEmpty)
  }

  @Test func anotherContextGivesOtherSecrets() throws {
    let (near, far, _) = try run(siteContext: [UInt8](repeating: 8, count: 32))
    #expect(!near.secrets.send.equals(far.secrets.receive))
    #expect(!near.secrets.receive.equals(far.secrets.send))
  }

  @Test func everySessionHasItsOwnSecrets() throws {
    #expect(try !run().link.secrets.send.equals(run().link.secrets.send))
  }

  @Test func keepsWhatFollowsFinishedAtEverySplit() throws {
    let records: [UInt8] = [0x17, 3, 3, 0, 40] + (0..<40).map { UInt8($0) }
    // From the end, since signatures differ in size: every split in the trailing bytes, and some before them.
    for fromEnd in Array(0...records.count + 3) + stride(from: records.count + 8, to: 400, by: 16) {
      let (near, far, later) = try run(trailing: records, fromEnd: fromEnd)
      #expect(far.surplus + later == records)
      #expect(near.secrets.send.equals(far.secrets.receive))
    }
  }

  @Test func takesOneByteAtATime() throws {
    var near = try make(.link)
    var far = try make(.site)
    try near.start()
    var nearOutcome: EndToEndHandshake.Outcome?
    var farOutcome: EndToEndHandshake.Outcome?
    for byte in near.takeOutput() { farOutcome = try far.receive([byte].span) }
    for byte in far.takeOutput() { nearOutcome = try near.receive([byte].span) }
    #expect(farOutcome == nil)
    for byte in near.takeOutput() { farOutcome = try far.receive([byte].span) }
    let secrets = try #require(nearOutcome).secrets
    #expect(try secrets.send.equals(#require(farOutcome).secrets.receive))
  }

  /// Keys are identities: the dates of certificates decide nothing, nor does who issued them.
  @Test func expiredCertificatesCountByTheirKeys() throws {
    func expired(_ identity: TestIdentity) throws -> TLSContext.Credentials {
      var profile = CertificateProfile(commonName: "old", usage: .peer, now: 1_000_000_000)
      profile.notAfter = 1_000_000_001
      let key = identity.credentials.key
      return TLSContext.Credentials(try .selfSigned(profile, key: key), key: key)
    }
    var near = try EndToEndHandshake(
      role: .link, credentials: expired(link), expecting: site.keyHash, exporterContext: context)
    var far = try EndToEndHandshake(
      role: .site, credentials: expired(site), expecting: link.keyHash, exporterContext: context)
    try near.start()
    _ = try far.receive(near.takeOutput().span)
    let first = try near.receive(far.takeOutput().span)
    let second = try far.receive(near.takeOutput().span)
    #expect(first?.peerKeyHash == site.keyHash && second?.peerKeyHash == link.keyHash)
  }

  @Test func linkRefusesAnotherSite() throws {
    let other = try TestIdentity("other").keyHash
    var near = try make(.link, expecting: other)
    var far = try make(.site)
    try near.start()
    _ = try far.receive(near.takeOutput().span)
    let answer = far.takeOutput()
    #expect(throws: HandshakeError.wrongKey(expected: other, found: site.keyHash)) {
      _ = try near.receive(answer.span)
    }
    #expect(near.takeOutput().isEmpty, "a stranger doesn't learn the link's certificate")
  }

  @Test func siteRefusesAnotherLink() throws {
    let other = try TestIdentity("other").keyHash
    var near = try make(.link)
    var far = try make(.site, expecting: other)
    try near.start()
    _ = try far.receive(near.takeOutput().span)
    _ = try near.receive(far.takeOutput().span)
    let flight = near.takeOutput()
    #expect(throws: HandshakeError.wrongKey(expected: other, found: link.keyHash)) {
      _ = try far.receive(flight.span)
    }
  }

  @Test func refusesWhatIsNoHandshake() throws {
    var far = try make(.site)
    #expect(throws: HandshakeError.self) { _ = try far.receive(Array("GET / HTTP/1.1\r\n\r\n".utf8).span) }
    var bounded = try make(.site)
    #expect(throws: HandshakeError.tooLong) {
      _ = try bounded.receive([UInt8](repeating: 0, count: EndToEndHandshake.byteLimit + 1).span)
    }
    var cut = try make(.site)
    #expect(throws: HandshakeError.tls(.truncated)) { try cut.receiveEnd() }
  }

  @Test func runsOverSockets() throws {
    let site = site
    let link = link
    let context = context
    let server = try LocalServer { socket in
      guard
        let outcome = try? EndToEndHandshake.run(
          on: socket, role: .site, credentials: site.credentials, expecting: link.keyHash, exporterContext: context,
          until: soon)
      else { return }
      try? write(Array("record".utf8) + outcome.surplus, to: socket)
      _ = try? readToEnd(socket)
    }
    let socket = try Outbound.connect(to: server.address, until: soon)
    let outcome = try EndToEndHandshake.run(
      on: socket, role: .link, credentials: link.credentials, expecting: site.keyHash, exporterContext: context,
      until: soon)
    var records = outcome.surplus
    if records.count < 6 { records += try readExactly(6 - records.count, from: socket) }
    #expect(records == Array("record".utf8))
    _ = consume socket
    server.join()
  }

  @Test func endsWithItsDeadline() throws {
    let server = try LocalServer { socket in _ = try? readToEnd(socket) }
    let socket = try Outbound.connect(to: server.address, until: soon)
    #expect(throws: HandshakeError.timedOut) {
      _ = try EndToEndHandshake.run(
        on: socket, role: .link, credentials: link.credentials, expecting: site.keyHash, exporterContext: context,
        until: Clock.now + .milliseconds(50))
    }
    _ = consume socket
    server.join()
  }
}
