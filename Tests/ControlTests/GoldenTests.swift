import Control
import Crypto
import Primitives
import Testing

/// What version 0.1 writes, as files under Tests/Golden/0.1: devices stay in the field for ten years, and every later
/// version has to understand them. Never change these files; a version that writes something else adds a directory.
@Suite struct GoldenTests {
  /// The file's bytes.
  static func golden(_ name: String) throws -> [UInt8] {
    let here = "\(#filePath)".split(separator: "/", omittingEmptySubsequences: false).dropLast(2).joined(separator: "/")
    return try AtomicFile.read("\(here)/Golden/0.1/\(name)", limit: 1 << 20)
  }

  private static func lines(_ name: String) throws -> [[UInt8]] {
    try golden(name).split(separator: 0x0A).map(Array.init)
  }

  private static let bytes = (0..<32).map { UInt8($0) }

  /// The messages of the file, in its order.
  private static func messages(grant: SignedGrant, grantKey: PublicKey) throws -> [ControlEnvelope] {
    let session = try #require(SessionID(Array(bytes.prefix(16))))
    let ticket = try #require(Ticket(bytes))
    let key = try #require(KeyHash(bytes))
    let agents = [
      AgentDescription(
        name: "plc-1", target: .device(.v4), tcp: [PortRange(102)!, PortRange(8000, 8010)!], udp: [.all],
        ftp: [PortRange(21)!], icmp: true, about: "S7 – Halle 3", state: .up),
      AgentDescription(name: "lan", target: .subnet(.v6, prefixLength: 64), address: "fd00::/64"),
    ]
    let messages: [(ControlMessage, UInt64?)] = [
      (.hello(.init(role: .siteManager, name: "plant-7", software: "sitemanager/0.1.0")), nil),
      (.hello(.init(role: .linkManager, name: "ann", software: "linkmanager/0.1.0")), nil),
      (.welcome(.init(gate: "gm.example", heartbeatSeconds: 20, serverTime: 1_800_000_000)), nil),
      (.failure(.init(.siteOffline, "plant-7 is \"away\"", retryAfter: 30)), 4), (.failure(.init(.busy, "")), nil),
      (.enroll(.init(secret: [9, 8, 7], csr: "-----BEGIN CERTIFICATE REQUEST-----\n", name: "plant-7")), 1),
      (.enrolled(.init(certificate: "a\n", caCertificate: "b\n", grantKey: grantKey, name: "plant-7")), 1),
      (.login(.init(user: "ann", password: "geheim/€", csr: "c\n", pc: "laptop")), 1),
      (.loggedIn(.init(certificate: "a\n", caCertificate: "b\n", user: "ann", expires: 5)), 1),
      (.agents(agents), nil), (.agents([]), nil), (.list, 2),
      (.sites([.init(name: "plant-7", online: true, keyHash: key, agents: agents)]), 2),
      (.connect(.init(site: "plant-7", agents: ["plc-1"], reason: "drive 3 trips")), 3),
      (.connect(.init(site: "plant-7")), 4),
      (.session(.init(id: session, ticket: ticket, grant: grant, siteKey: key, agents: agents)), 3),
      (.dial(.init(id: session, ticket: ticket, grant: grant, serverTime: 1_800_000_000)), nil),
      (.cancel(.init(id: session, reason: "no")), nil), (.revoke(.init(id: session, reason: "removed")), nil),
      (.sessionEnded(.init(id: session, reason: "done")), nil), (.attach(ticket), nil), (.attached, nil),
      (.ping(7), nil), (.pong(7), nil),
      (
        .report(
          .init("captureEnded", session: session, agent: "plc-1", detail: "stopped", packets: 7, bytes: 4000, time: 5)),
        nil
      ),
    ]
    return messages.map { ControlEnvelope($0.0, request: $0.1) }
  }

  private static func grant() throws -> (SignedGrant, PublicKey) {
    let parts = try lines("grant.txt").map { String(decoding: $0, as: UTF8.self) }
    let decoded = parts.compactMap { Base64.decode($0) }
    try #require(decoded.count == 3)
    return (SignedGrant(bytes: decoded[0], signature: decoded[1]), try PublicKey(der: decoded[2]))
  }

  @Test func messages() throws {
    let (grant, key) = try Self.grant()
    let expected = try Self.messages(grant: grant, grantKey: key)
    let lines = try Self.lines("messages.jsonl")
    #expect(lines.count == expected.count)
    for (line, envelope) in zip(lines, expected) {
      var decoder = MessageDecoder()
      let size = UInt32(line.count)
      let wire = [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: size >> $0) } + line
      try decoder.receive(wire.span)
      #expect(try decoder.next() == envelope, "\(String(decoding: line, as: UTF8.self))")
      // As long as nothing is added, the bytes are the same as well.
      #expect(try envelope.encoded() == wire)
    }
    #expect(Set(expected.map(\.message.type)).count == 21, "one of each type")
  }

  @Test func grants() throws {
    let (signed, key) = try Self.grant()
    let session = try #require(SessionID(Array(Self.bytes.prefix(16))))
    let (site, client) = (try #require(KeyHash(Self.bytes)), try #require(KeyHash(Self.bytes.reversed())))
    let grant = try signed.verify(with: key, site: site, clientKey: client, session: session, now: 1_800_000_100)
    var expected = Grant(
      session: session, gate: "gm.example", site: "plant-7", siteKey: site, user: "ann", pc: "laptop",
      clientKey: client, agents: .named(["plc-1", "lan"]), notBefore: 1_800_000_000, notAfter: 1_800_028_800,
      reason: "drive 3 trips")
    #expect(grant == expected)
    expected.agents = .all
    #expect(grant != expected)
    // Both ends of a session put it into their keys.
    #expect(
      try Hex.encode(signed.exporterContext(session: session))
        == String(decoding: Self.lines("exporter-context.txt")[0], as: UTF8.self))
  }

  @Test func enrolmentCodes() throws {
    let text = String(decoding: try Self.lines("enrolment-code.txt")[0], as: UTF8.self)
    let code = try EnrolmentCode(text)
    #expect(code.text == text && code.matches(gateKey: KeyHash(Self.bytes)!))
  }

  @Test func passwords() throws {
    let text = String(decoding: try Self.lines("password-hash.txt")[0], as: UTF8.self)
    let hash = try #require(PasswordHash(text))
    #expect(try hash.verify("Correct-Horse-7") && "\(hash)" == text)
  }
}
