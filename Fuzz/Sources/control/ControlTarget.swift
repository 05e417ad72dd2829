import Crypto
import FuzzDriver
import Primitives

@testable import Control

/// Messages of the control connection, and what they carry: however the bytes are cut, the messages are the same, and
/// each is written and read again the same. Grants hold only for whom and when they were given; tickets are good once.
@main enum ControlTarget: FuzzTarget {
  static func run(_ bytes: UnsafeBufferPointer<UInt8>) {
    var script = Script(bytes)
    let kind = script.choice(8)
    switch kind {
    case 0, 1: readMessages(&script, addsHeader: false)
    case 2, 3, 4: readMessages(&script, addsHeader: true)
    case 5: judgeGrant(&script)
    case 6: useTickets(&script)
    default: readCodes(String(decoding: script.rest(), as: UTF8.self))
    }
  }

  // MARK: Messages

  private enum Item: Equatable {
    case message(ControlEnvelope)
    case error(ControlError)
  }

  /// - Parameter addsHeader: the bytes are one message's text, so that a change of its size doesn't end it.
  private static func readMessages(_ script: inout Script, addsHeader: Bool) {
    let pieces = Script(script.take(4))
    let text = script.rest()
    var bytes = [UInt8](text)
    if addsHeader {
      let size = bytes.count
      bytes =
        [0, UInt8(truncatingIfNeeded: size >> 16), UInt8(truncatingIfNeeded: size >> 8), UInt8(size & 255)] + bytes
      // Another one behind it: a message that can't be read is passed over.
      bytes += (try? ControlEnvelope(.ping(7)).encoded()) ?? []
    }
    let whole = decode(bytes, nil)
    check(decode(bytes, pieces) == whole, "the same messages, however they are cut")
    if addsHeader { check(whole.count == 2 && whole[1] == .message(ControlEnvelope(.ping(7))), "the next one is read") }
    for case .message(let envelope) in whole { again(envelope) }
  }

  private static func decode(_ bytes: [UInt8], _ pieces: Script?) -> [Item] {
    var (decoder, script) = (MessageDecoder(), pieces)
    var items: [Item] = []
    var rest = bytes[...]
    while !rest.isEmpty {
      let count = script.map { $0.isAtEnd ? rest.count : 1 + Int($0.peek) } ?? rest.count
      _ = script?.byte()
      let piece = [UInt8](rest.prefix(count))
      rest = rest.dropFirst(count)
      do throws(ControlError) {
        try decoder.receive(piece.span)
      } catch {
        // Messages before the one that is too long are taken or not, as the cuts fall.
        return items + [.error(error)]
      }
      while true {
        do throws(ControlError) {
          guard let envelope = try decoder.next() else { break }
          items.append(.message(envelope))
        } catch {
          items.append(.error(error))
          if case .tooLong = error { return items }
        }
      }
      check(decoder.buffered <= ControlProtocol.messageLimit + 4, "no more is held than a message")
    }
    return items
  }

  private static func again(_ envelope: ControlEnvelope) {
    if case .unknown = envelope.message { return }
    guard let bytes = try? envelope.encoded() else { return check(false, "what was read can be written") }
    var decoder = MessageDecoder()
    do throws(ControlError) {
      try decoder.receive(bytes.span)
      check(try decoder.next() == envelope, "written and read is the same")
      check(try decoder.next() == nil && decoder.buffered == 0, "and nothing more")
    } catch {
      check(false, "what was written can't be read: \(error)")
    }
    // Pings have a coder of their own, which must agree with the other one.
    if let text = Heartbeat.encode(envelope) {
      check(text == (try? JSON.encode(envelope)), "the same text by both coders")
    }
  }

  // MARK: Grants

  private static let gate = key()
  private static let stranger = key()
  private static let site = KeyHash([UInt8](repeating: 1, count: 32))!
  private static let client = KeyHash([UInt8](repeating: 2, count: 32))!
  private static let session = SessionID([UInt8](repeating: 3, count: 16))!

  private static func key() -> PrivateKey {
    guard let key = try? PrivateKey.generate() else { fatalError("no key") }
    return key
  }

  /// Any text with a good signature: depth behind the signature. And with a bad one nothing is read.
  private static func judgeGrant(_ script: inout Script) {
    let now = Int64(bitPattern: script.quad()) >> Int64(script.choice(64))
    let isForged = script.byte() & 15 == 15
    let claims = [UInt8](script.rest())
    guard let signature = try? (isForged ? stranger : gate).sign(claims) else { return check(false, "can sign") }
    let signed = SignedGrant(bytes: claims, signature: signature)
    do throws(GrantError) {
      let grant = try signed.verify(with: gate.publicKey, site: site, clientKey: client, session: session, now: now)
      check(!isForged, "a forged grant was taken")
      check(grant.siteKey == site && grant.clientKey == client && grant.session == session, "for those it was given to")
      check(grant.version == Grant.version && grant.critical?.isEmpty != false, "in a form that is understood")
      let skew = Double(SignedGrant.clockSkew)
      check(Double(grant.notBefore) <= Double(now) + skew + 1024, "not before its time")
      check(Double(now) - skew - 1024 <= Double(grant.notAfter), "not after its time")
      check((0...Grant.longestTime).contains(grant.remaining(at: now)), "no longer than the longest")
      if case .named(let names) = grant.agents {
        check(
          names.allSatisfy(grant.permits) && grant.permits(agent: "never named") == names.contains("never named"),
          "named ones only")
      }
      guard let again = try? grant.signed(with: gate) else { return check(false, "can be signed") }
      check((try? again.claims(signedBy: gate.publicKey)) == grant, "written and read is the same")
    } catch {
      check(!isForged || error == .badSignature, "of a forged grant nothing is read")
      check(!error.description.isEmpty, "a refusal says why")
    }
  }

  // MARK: Tickets

  private struct Issued {
    let ticket: Ticket
    let role: Role
    let session: SessionID
    let key: KeyHash
    let expiry: Instant
    var isGone = false
  }

  private static func useTickets(_ script: inout Script) {
    let limit = 1 + script.choice(6)
    var store = TicketStore(limit: limit)
    var now = Instant(nanoseconds: 1_000_000_000)
    var issued: [Issued] = []
    let sessions = (0..<3).map { SessionID([UInt8](repeating: UInt8($0), count: 16))! }
    let roles: [Role] = [.linkManager, .siteManager]
    while !script.isAtEnd, issued.count < 32 {
      let (which, how) = (Int(script.byte()), script.byte())
      let (role, session) = (roles[Int(how & 1)], sessions[Int(how >> 1) % 3])
      let key = how & 0x80 == 0 ? site : client
      switch which & 7 {
      case 0, 1, 2:
        let lifetime = Interval.seconds(Int64(which >> 3) * 2)
        let alive = issued.count { !$0.isGone && now < $0.expiry }
        do throws(TicketError) {
          let ticket = try store.issue(role, session: session, keyHash: key, lifetime: lifetime, now: now)
          check(alive < limit, "no more tickets than there may be")
          issued.append(
            Issued(
              ticket: ticket, role: role, session: session, key: key,
              expiry: now + min(lifetime, TicketStore.maximumLifetime)))
        } catch {
          check(error == .tooMany && alive >= limit, "refused at the bound: \(error)")
        }
      case 3, 4:
        guard !issued.isEmpty else { continue }
        redeem(&store, &issued, (which >> 3) % issued.count, role, key, now)
      case 5: now = now + .seconds(Int64(how & 63))
      case 6:
        store.revoke(session)
        for index in issued.indices where issued[index].session == session { issued[index].isGone = true }
      default:
        store.sweep(now: now)
        check(store.nextDeadline.map { $0 > now } ?? true, "what has expired is forgotten")
      }
      check(store.count <= limit, "tickets within their bound")
    }
  }

  private static func redeem(
    _ store: inout TicketStore, _ issued: inout [Issued], _ index: Int, _ role: Role, _ key: KeyHash, _ now: Instant
  ) {
    let ticket = issued[index]
    let isGood = !ticket.isGone && now < ticket.expiry && role == ticket.role && key == ticket.key
    do throws(TicketError) {
      let session = try store.redeem(ticket.ticket, as: role, keyHash: key, now: now)
      check(isGood && session == ticket.session, "redeemed once, in time, by its holder, in its role")
    } catch {
      check(!isGood, "a good ticket is refused: \(error)")
    }
    // Whoever tried with it has used it up.
    issued[index].isGone = true
  }

  // MARK: Texts

  private static func readCodes(_ text: String) {
    do throws(EnrolmentCodeError) {
      let code = try EnrolmentCode(text)
      check((try? EnrolmentCode(code.text)) == code && code.text.utf8.count == 54, "a code is read as it is written")
      check(code.secret.count == 10 && code.gateKeyStart.count == 16, "a code's parts")
      check((try? EnrolmentCode(code.text.lowercased())) == code, "either case")
      check(!"\(code)".contains(code.text), "a code isn't shown by accident")
    } catch {
      check(!error.description.isEmpty, "a typing error is told")
    }
    if let hash = PasswordHash(text) { check(PasswordHash(hash.description) == hash, "a password's hash") }
    if let hash = KeyHash(text) { check(KeyHash(hash.description) == hash, "a key's hash") }
    if let session = SessionID(text) { check(SessionID(session.description) == session, "a session") }
    if let range = PortRange(text) {
      check(PortRange(range.description) == range && range.lower >= 1 && range.lower <= range.upper, "a range of ports")
    }
    if let bytes = Hex.decode(text) { check(Hex.encode(bytes) == text.lowercased(), "hexadecimal") }
    if let bytes = Base64.decode(text) { check(Base64.encode(bytes) == text, "one text for some bytes") }
    if AgentDescription.isValidName(text) {
      check(text.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7F } && text.utf8.count <= 64, "a name can stand anywhere")
    }
    try? PasswordPolicy.check(text)
  }

  static var seeds: [[UInt8]] {
    let pieces: [UInt8] = [3, 0, 9, 100]
    var seeds = messages.flatMap { message -> [[UInt8]] in
      guard let bytes = try? ControlEnvelope(message, request: 7).encoded() else { return [] }
      return [[0] + pieces + bytes + bytes, [2] + pieces + bytes.dropFirst(4)]
    }
    seeds.append([0] + pieces + [0, 4, 0, 1])
    let grant = Grant(
      session: session, gate: "gate", site: "plant/1", siteKey: site, user: "ada", pc: "laptop", clientKey: client,
      agents: .named(["plc"]), notBefore: 0, notAfter: 1 << 40, reason: "why")
    var all = grant
    all.agents = .all
    all.critical = []
    for grant in [grant, all] {
      guard let claims = try? JSON.encode(grant) else { continue }
      let head: [UInt8] = [5, 0, 0, 0, 1, 0, 0, 0, 0, 0]
      seeds.append(head + [0] + claims)
      seeds.append(head + [15] + claims)
    }
    seeds.append([6, 3, 0, 0, 8, 5, 17, 10, 26, 15, 35, 20, 44, 25, 53, 30, 62, 35, 71, 40, 0, 45, 3, 50])
    seeds.append([6, 0, 0x78, 0, 0x78, 0, 3, 0, 3, 0, 0x79, 1, 5, 60, 7, 0, 11, 1, 0x7A, 2, 6, 2])
    if let code = try? EnrolmentCode(gateKey: site) { seeds.append([7] + Array(code.text.utf8)) }
    let texts: [String] = [
      "scrypt$32768$8$1$AAAAAAAAAAAAAAAAAAAAAA==$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", site.description,
      session.description, "8000-8010", "*", "AAEC/w==", "00ff", "plc-1.a", "Correct horse 7",
    ]
    return seeds + texts.map { [7] + Array($0.utf8) }
  }

  private static var messages: [ControlMessage] {
    let agent = AgentDescription(
      name: "plc", target: .subnet(.v4, prefixLength: 24), address: "10.0.0.0/24", tcp: [.all], udp: [PortRange(161)!],
      ftp: [PortRange(21)!], icmp: true, about: "press \"4\"", state: nil)
    let signed = SignedGrant(bytes: [1, 2, 3], signature: [4, 5])
    let ticket = Ticket([UInt8](repeating: 9, count: 32))!
    let toGate: [ControlMessage] = [
      .hello(.init(role: .siteManager, name: "x", software: "y 1")),
      .enroll(.init(secret: [1, 2], csr: "c", name: "n")),
      .login(.init(user: "u", password: "p", csr: "c", pc: "q")), .agents([agent]), .list,
      .connect(.init(site: "s", agents: ["plc"], reason: "r")), .cancel(.init(id: session, reason: "r")),
    ]
    let fromGate: [ControlMessage] = [
      .welcome(.init(gate: "g", heartbeatSeconds: 20, serverTime: 5)),
      .failure(.init(.notPermitted, "no", retryAfter: 3)),
      .enrolled(.init(certificate: "c", caCertificate: "d", grantKey: gate.publicKey, name: "n")),
      .loggedIn(.init(certificate: "c", caCertificate: "d", user: "u", expires: 9)),
      .sites([.init(name: "s", online: true, keyHash: site, agents: [agent])]),
      .session(.init(id: session, ticket: ticket, grant: signed, siteKey: site, agents: [agent])),
      .dial(.init(id: session, ticket: ticket, grant: signed, serverTime: 4)),
      .explained(.init(isAllowed: true, text: "t")),
      .agentStates(.init(id: session, agents: ["a": .init(state: .down, veto: "v")])),
      .revoke(.init(id: session, reason: "r")), .sessionEnded(.init(id: session, reason: "r")),
    ]
    let both: [ControlMessage] = [.attach(ticket), .attached, .ping(1 << 63), .pong(0), .unknown("later")]
    return toGate + fromGate + both
  }
}
