import Control
import Crypto
import Primitives
import Testing

@Suite struct MessageDecoderTests {
  /// One of each type.
  static func all() throws -> [ControlEnvelope] {
    let key = try PrivateKey.generate()
    let session = try SessionID.random()
    let grant = SignedGrant(bytes: [1, 2, 3], signature: [4])
    let ticket = try Ticket.random()
    let agents = [
      AgentDescription(
        name: "plc-1", target: .device(.v4), tcp: [PortRange(102)!, PortRange(8000, 8010)!], udp: [.all], icmp: true,
        about: "S7 – Halle 3", state: .up),
      AgentDescription(name: "lan", target: .subnet(.v6, prefixLength: 64), address: "fd00::/64"),
    ]
    let messages: [ControlMessage] = [
      .hello(.init(role: .siteManager, name: "plant", software: "sitemanager/1")),
      .welcome(.init(gate: "gate", heartbeatSeconds: 20, serverTime: 1_800_000_000)),
      .failure(.init(.siteOffline, "plant is \"away\"", retryAfter: 30)), .failure(.init(.other("new"), "")),
      .enroll(.init(secret: [9, 8, 7], csr: "-----BEGIN\n", name: "plant")),
      .enrolled(.init(certificate: "a", caCertificate: "b", grantKey: key.publicKey, name: "plant")),
      .login(.init(user: "ada", password: "geheim/€", csr: "c", pc: "laptop")),
      .loggedIn(.init(certificate: "a", caCertificate: "b", user: "ada", expires: 5)),
      .agents(agents), .agents([]), .list,
      .report(.init("captureEnded", session: session, agent: "plc-1", detail: "tcp", packets: 1, bytes: .max, time: 5)),
      .report(.init("assigned", session: session, agent: "lan", detail: "", time: -1)),
      .sites([.init(name: "plant", online: true, keyHash: key.keyHash, agents: agents)]),
      .explain(.init(site: "plant", agent: "plc-1", reason: "why")), .explain(.init(site: "plant", agent: "plc-1")),
      .explained(.init(isAllowed: true, text: "allowed by rule 1")),
      .connect(.init(site: "plant", agents: ["plc-1"], reason: "why")), .connect(.init(site: "plant")),
      .session(.init(id: session, ticket: ticket, grant: grant, siteKey: key.keyHash, agents: agents)),
      .dial(.init(id: session, ticket: ticket, grant: grant)), .cancel(.init(id: session, reason: "no")),
      .agentStates(
        .init(
          id: session,
          agents: ["plc-1": .init(state: .down, veto: "switched off on site"), "lan": .init(state: nil, veto: nil)])),
      .revoke(.init(id: session, reason: "slot over")), .sessionEnded(.init(id: session, reason: "done")),
      .attach(ticket), .attached, .ping(7), .pong(.max),
    ]
    return messages.enumerated().map { index, message in
      ControlEnvelope(message, request: index.isMultiple(of: 2) ? UInt64(index) : nil)
    }
  }

  func frame(_ text: String) -> [UInt8] {
    let size = UInt32(text.utf8.count)
    return [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: size >> $0) } + Array(text.utf8)
  }

  func receive(_ decoder: inout MessageDecoder, _ bytes: [UInt8]) throws(ControlError) {
    try decoder.receive(bytes.span)
  }

  func take(_ decoder: inout MessageDecoder) throws(ControlError) -> [ControlEnvelope] {
    var found: [ControlEnvelope] = []
    while let envelope = try decoder.next() { found.append(envelope) }
    return found
  }

  @Test func everyMessageGoesThroughTheWire() throws {
    var decoder = MessageDecoder()
    for envelope in try Self.all() {
      try receive(&decoder, try envelope.encoded())
      #expect(try take(&decoder) == [envelope])
      #expect(decoder.buffered == 0)
    }
  }

  @Test func messagesAreFoundAtEverySplit() throws {
    let envelopes = Array(try Self.all().prefix(4))
    let wire = try envelopes.flatMap { try $0.encoded() }
    for split in 0...wire.count {
      var decoder = MessageDecoder()
      try receive(&decoder, Array(wire[..<split]))
      var found = try take(&decoder)
      try receive(&decoder, Array(wire[split...]))
      found += try take(&decoder)
      #expect(found == envelopes)
    }
  }

  @Test func messagesAreFoundByteByByte() throws {
    let envelopes = try Self.all()
    var decoder = MessageDecoder()
    var found: [ControlEnvelope] = []
    for byte in try envelopes.flatMap({ try $0.encoded() }) {
      try receive(&decoder, [byte])
      found += try take(&decoder)
    }
    #expect(found == envelopes)
  }

  @Test func oversizeIsRefusedAtItsHeader() throws {
    var decoder = MessageDecoder()
    try receive(&decoder, [0, 4, 0])
    #expect(throws: ControlError.tooLong(262_145)) { try receive(&decoder, [1]) }
    #expect(throws: ControlError.tooLong(262_145)) { _ = try decoder.next() }
    #expect(throws: ControlError.tooLong(262_145)) { try receive(&decoder, [1]) }

    // Also behind a message that is fine.
    var second = MessageDecoder()
    try receive(&second, try ControlEnvelope(.list).encoded() + [0xFF, 0xFF, 0xFF, 0xFF])
    #expect(try second.next() == ControlEnvelope(.list))
    #expect(throws: ControlError.tooLong(0xFFFF_FFFF)) { _ = try second.next() }
  }

  /// What a site can do besides: names that nobody knows are kept, too many or too long ones are refused.
  @Test func featuresAreBounded() throws {
    func decoded(_ names: [String]?) throws(ControlError) -> ControlEnvelope? {
      var decoder = MessageDecoder()
      let bytes = try ControlEnvelope(.agents([], features: names.map { SiteFeatures($0) })).encoded()
      try decoder.receive(bytes.span)
      return try decoder.next()
    }
    let most = (0..<SiteFeatures.limit).map { "f\($0)" + String(repeating: "x", count: ControlProtocol.nameLimit - 3) }
    for names in [nil, [], [SiteFeatures.grantedPorts, "of-a-later-version"], most] as [[String]?] {
      #expect(try decoded(names) == ControlEnvelope(.agents([], features: names.map { SiteFeatures($0) })))
    }
    for wrong in [most + ["one"], [""], [String(repeating: "x", count: ControlProtocol.nameLimit + 1)]] {
      #expect(throws: ControlError.self) { try decoded(wrong) }
    }
  }

  /// What a site's operator says is bounded; a state that a later version adds loses nothing.
  @Test func statesAreBounded() throws {
    let id = try SessionID.random()
    func decoded(_ text: String) throws(ControlError) -> ControlEnvelope? {
      var decoder = MessageDecoder()
      try decoder.receive(frame(#"{"type":"agentStates","id":"\#(id)","agents":{\#(text)}}"#).span)
      return try decoder.next()
    }
    let later = try decoded(#""plc":{"state":"ASLEEP","veto":"x"}"#)
    #expect(later?.message == .agentStates(.init(id: id, agents: ["plc": .init(state: nil, veto: "x")])))
    let long = String(repeating: "x", count: ControlProtocol.textLimit + 1)
    #expect(throws: ControlError.self) { _ = try decoded(#""plc":{"veto":"\#(long)"}"#) }
    let many = (0...ControlProtocol.agentLimit).map { "\"a\($0)\":{}" }.joined(separator: ",")
    #expect(throws: ControlError.self) { _ = try decoded(many) }
    var agent = AgentDescription(name: "plc", target: .device(.v4))
    agent.veto = long
    let bytes = try ControlEnvelope(.agents([agent])).encoded()
    var decoder = MessageDecoder()
    try decoder.receive(bytes.span)
    #expect(throws: ControlError.self) { _ = try decoder.next() }
  }

  /// What a site may announce, and one more of each.
  @Test func agentsAreBounded() throws {
    func decoded(_ agents: [AgentDescription]) throws(ControlError) -> ControlEnvelope? {
      var decoder = MessageDecoder()
      let bytes = try ControlEnvelope(.agents(agents)).encoded()
      try decoder.receive(bytes.span)
      return try decoder.next()
    }
    let agent = { (name: String, ports: Int, text: Int) in
      AgentDescription(
        name: name, target: .device(.v4), tcp: (0..<ports).map { PortRange(UInt16(2 * $0 + 1))! },
        about: String(repeating: "x", count: text))
    }
    let most = (0..<ControlProtocol.agentLimit).map { agent("a\($0)", 8, 100) }
    #expect(try decoded(most) == ControlEnvelope(.agents(most)))
    #expect(throws: ControlError.self) { try decoded(most + [agent("more", 1, 1)]) }
    let full = [agent("a", ControlProtocol.portRangeLimit, ControlProtocol.textLimit)]
    #expect(try decoded(full) == ControlEnvelope(.agents(full)))
    for wrong in [
      agent("a", ControlProtocol.portRangeLimit + 1, 1), agent("a", 1, ControlProtocol.textLimit + 1),
      agent(String(repeating: "a", count: ControlProtocol.nameLimit + 1), 1, 1),
    ] {
      let error = #expect(throws: ControlError.self) { try decoded([wrong]) }
      guard case .malformed = error else {
        Issue.record("\(String(describing: error))")
        continue
      }
    }
  }

  @Test func oversizeIsNotSent() throws {
    let huge = ControlMessage.failure(.init(.busy, String(repeating: "x", count: ControlProtocol.messageLimit)))
    #expect(throws: ControlError.self) { try ControlEnvelope(huge).encoded() }
  }

  @Test(
    arguments: [
      "", "x", "{", "[]", "null", "{}", "{\"type\":7}", "{\"type\":\"ping\"}", "{\"type\":\"ping\",\"id\":-1}",
      "{\"type\":\"hello\",\"version\":1,\"role\":\"king\",\"name\":\"a\",\"software\":\"b\"}",
      "{\"type\":\"attach\",\"ticket\":\"AAAA\"}", "{\"type\":\"list\"} {}",
      "{\"type\":\"agents\",\"agents\":[{\"name\":\"a b\",\"kind\":\"device\",\"family\":4}]}",
      "{\"type\":\"agents\",\"agents\":[{\"name\":\"a\",\"kind\":\"subnet\",\"family\":4,\"prefixLength\":33}]}",
      "{\"type\":\"agents\",\"agents\":[{\"name\":\"a\",\"kind\":\"device\",\"family\":5}]}",
      "{\"type\":\"agents\",\"agents\":[{\"name\":\"a\",\"kind\":\"device\",\"family\":4,\"tcp\":[\"9-1\"]}]}",
    ])
  func garbageIsMalformedAndSkipped(text: String) throws {
    var decoder = MessageDecoder()
    try receive(&decoder, frame(text) + (try ControlEnvelope(.list).encoded()))
    let error = #expect(throws: ControlError.self) { _ = try decoder.next() }
    guard case .malformed = error else {
      Issue.record("\(String(describing: error))")
      return
    }
    #expect(try decoder.next() == ControlEnvelope(.list))
  }

  @Test func errorsNameTheField() throws {
    var decoder = MessageDecoder()
    try receive(&decoder, frame("{\"type\":\"agents\",\"agents\":[{\"name\":\"a\",\"family\":4}]}"))
    let error = #expect(throws: ControlError.self) { _ = try decoder.next() }
    guard case .malformed(let field, let reason) = error else { return }
    #expect(field.hasSuffix("kind") && reason == "missing", "\(field) \(reason)")
  }

  @Test func whatLaterVersionsAddIsIgnored() throws {
    var decoder = MessageDecoder()
    try receive(&decoder, frame("{\"type\":\"teleport\",\"request\":3,\"to\":\"Mars\"}"))
    try receive(&decoder, frame("{\"type\":\"ping\",\"id\":3,\"colour\":{\"deep\":[1,2,{}]}}"))
    let found = try take(&decoder)
    #expect(found == [ControlEnvelope(.unknown("teleport"), request: 3), ControlEnvelope(.ping(3))])
  }

  @Test func deepNestingIsRefused() throws {
    var decoder = MessageDecoder()
    try receive(&decoder, frame("{\"type\":\"list\",\"x\":" + String(repeating: "[", count: 200_000)))
    #expect(throws: ControlError.self) { _ = try decoder.next() }
  }

  @Test func secretsAreNotShown() throws {
    let login = ControlMessage.login(.init(user: "ada", password: "geheim", csr: "c", pc: "laptop"))
    #expect(!"\(login)".contains("geheim"))
    #expect(!"\(ControlMessage.enroll(.init(secret: [200, 201], csr: "", name: "n")))".contains("200"))
  }
}
