import Control
import Crypto
import Testing

@Suite struct GrantTests {
  let gateKey: PrivateKey
  let site = KeyHash([UInt8](repeating: 1, count: 32))!
  let client = KeyHash([UInt8](repeating: 2, count: 32))!
  let session: SessionID
  let from: Int64 = 1_800_000_000
  let until: Int64 = 1_800_003_600

  init() throws {
    gateKey = try PrivateKey.generate()
    session = try SessionID.random()
  }

  func grant(_ agents: Grant.Agents = .named(["plc", "hmi"])) -> Grant {
    Grant(
      session: session, gate: "gate", site: "plant/1", siteKey: site, user: "ada", pc: "laptop", clientKey: client,
      agents: agents, notBefore: from, notAfter: until, reason: "maintenance \"#7\"")
  }

  func verify(_ signed: SignedGrant, at now: Int64? = nil) throws(GrantError) -> Grant {
    try signed.verify(with: gateKey.publicKey, site: site, clientKey: client, session: session, now: now ?? from)
  }

  @Test func whatIsSignedComesOut() throws {
    let signed = try grant().signed(with: gateKey)
    let verified = try verify(signed)
    #expect(verified == grant())
    #expect(verified.permits(agent: "plc"))
    #expect(!verified.permits(agent: "camera"))
    let all = try verify(try grant(.all).signed(with: gateKey))
    #expect(all.permits(agent: "camera"))
    let none = try verify(try grant(.named([])).signed(with: gateKey))
    #expect(!none.permits(agent: "plc"))
  }

  @Test func everyChangedByteIsRefused() throws {
    let signed = try grant().signed(with: gateKey)
    for index in signed.bytes.indices {
      var bytes = signed.bytes
      bytes[index] ^= 4
      #expect(throws: GrantError.badSignature) {
        try verify(SignedGrant(bytes: bytes, signature: signed.signature))
      }
    }
    #expect(throws: GrantError.badSignature) { try verify(SignedGrant(bytes: signed.bytes, signature: [])) }
    let forged = try grant().signed(with: PrivateKey.generate())
    #expect(throws: GrantError.badSignature) { try verify(forged) }
  }

  @Test func grantsAreForOneSiteClientAndSession() throws {
    let signed = try grant().signed(with: gateKey)
    let key = gateKey.publicKey
    let other = try SessionID.random()
    #expect(throws: GrantError.wrongSite) {
      try signed.verify(with: key, site: client, clientKey: client, session: session, now: from)
    }
    #expect(throws: GrantError.wrongClient) {
      try signed.verify(with: key, site: site, clientKey: site, session: session, now: from)
    }
    #expect(throws: GrantError.wrongSession) {
      try signed.verify(with: key, site: site, clientKey: client, session: other, now: from)
    }
  }

  @Test func grantsHoldForTheirTimeAndTheClocksDifference() throws {
    let signed = try grant().signed(with: gateKey)
    _ = try verify(signed, at: from - 120)
    _ = try verify(signed, at: until + 120)
    #expect(throws: GrantError.notYetValid(from: from)) { try verify(signed, at: from - 121) }
    #expect(throws: GrantError.expired(at: until)) { try verify(signed, at: until + 121) }
    #expect(throws: GrantError.expired(at: until)) { try verify(signed, at: .max) }
    #expect(throws: GrantError.notYetValid(from: from)) { try verify(signed, at: .min + 1) }
  }

  @Test func theTimeThatIsLeftIsBounded() {
    var grant = grant()
    #expect(grant.remaining(at: from) == 3600)
    #expect(grant.remaining(at: until + 1) == 0)
    #expect(grant.remaining(at: 0) == Grant.longestTime)
    #expect(grant.remaining(at: .min) == Grant.longestTime)
    #expect(grant.remaining(at: .max) == 0)
    grant.notAfter = .max
    #expect(grant.remaining(at: -1) == Grant.longestTime)
    grant.notAfter = .min
    #expect(grant.remaining(at: .max) == 0)
  }

  @Test func whatIsNotUnderstoodIsRefused() throws {
    var later = grant()
    later.version = 2
    #expect(throws: GrantError.unsupportedVersion(2)) { try verify(try later.signed(with: gateKey)) }
    var restricted = grant()
    restricted.critical = ["readOnly"]
    #expect(throws: GrantError.unsupportedClaim("readOnly")) { try verify(try restricted.signed(with: gateKey)) }
    for text in ["", "{}", "[]", "{\"version\":1}", "{\"version\":1,\"agents\":\"some\"}"] {
      let bytes = Array(text.utf8)
      let signed = SignedGrant(bytes: bytes, signature: try gateKey.sign(bytes))
      let error = #expect(throws: GrantError.self) { try verify(signed) }
      guard case .malformed = error else {
        Issue.record("\(text): \(String(describing: error))")
        continue
      }
    }
  }

  /// What is given of an agent: sites that don't know the claim refuse the grant.
  @Test func portsAreACriticalClaim() throws {
    let ports = ["plc": PortLimits(tcp: [PortRange(80)!, PortRange(8000, 8010)!])]
    let limited = Grant(
      session: session, gate: "gate", site: "plant/1", siteKey: site, user: "ada", pc: "laptop", clientKey: client,
      agents: .named(["plc", "hmi"]), ports: ports, notBefore: from, notAfter: until)
    #expect(limited.critical == ["ports"] && grant().critical == nil && grant().ports == nil)
    let signed = try limited.signed(with: gateKey)
    #expect(try verify(signed).ports == ports)
    let text = String(decoding: signed.bytes, as: UTF8.self)
    func refusal(_ text: String) throws -> GrantError? {
      let bytes = Array(text.utf8)
      let signed = SignedGrant(bytes: bytes, signature: try gateKey.sign(bytes))
      do throws(GrantError) {
        _ = try verify(signed)
        return nil
      } catch {
        return error
      }
    }
    // What is missing limits nothing, and so isn't taken for a limit.
    let claim = #""ports":{"plc":{"icmp":false,"tcp":["80","8000-8010"],"udp":[]}}"#
    #expect(text.contains(claim), "\(text)")
    #expect(try refusal(text.replacing(claim, with: "\"other\":1")) == .malformed(field: "ports", reason: "missing"))
    for part in [#""icmp":false,"#, #","udp":[]"#, #""tcp":["80","8000-8010"],"#] {
      guard case .malformed = try refusal(text.replacing(part, with: "")) else {
        Issue.record("without \(part)")
        continue
      }
    }
    let many = (1...ControlProtocol.portRangeLimit + 1).map { "\"\($0)\"" }.joined(separator: ",")
    guard case .malformed = try refusal(text.replacing(#""80","8000-8010""#, with: many)) else {
      Issue.record("too many ranges")
      return
    }
    #expect(try refusal(text.replacing(#"["ports"]"#, with: #"["ports","readOnly"]"#)) == .unsupportedClaim("readOnly"))
  }

  @Test func aMissingListOfAgentsGrantsNothing() throws {
    let signed = try grant().signed(with: gateKey)
    let text = String(decoding: signed.bytes, as: UTF8.self).replacing("\"agents\":[\"plc\",\"hmi\"],", with: "")
    #expect(!text.contains("agents"))
    let bytes = Array(text.utf8)
    #expect(throws: GrantError.malformed(field: "agents", reason: "missing")) {
      try verify(SignedGrant(bytes: bytes, signature: try gateKey.sign(bytes)))
    }
  }

  @Test func exporterContextsDependOnSessionAndGrant() throws {
    let signed = try grant().signed(with: gateKey)
    let again = SignedGrant(bytes: signed.bytes, signature: [])
    let context = try signed.exporterContext(session: session)
    #expect(context.count == 32)
    #expect(try again.exporterContext(session: session) == context)
    #expect(try signed.exporterContext(session: .random()) != context)
    #expect(try grant(.all).signed(with: gateKey).exporterContext(session: session) != context)
  }
}
