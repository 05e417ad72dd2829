import Access
import Control
import Crypto
import Foundation
import Kernel
import Primitives
import Proxy
import Service
import Testing

@testable import GateManager

/// Who may connect, for how long, and what is told of it, through the open port.
@Suite(.serialized, .timeLimit(.minutes(2))) struct GateAccessTests {
  private let plc = AgentDescription(name: "plc", target: .device(.v4), tcp: [PortRange(502)!])
  private let web = AgentDescription(name: "web", target: .device(.v4), tcp: [PortRange(80)!, PortRange(8080)!])

  /// A site with two agents in ROOT.Acme, a user there without any rule, and what connects them.
  private final class World {
    let fixture: GateFixture
    let link, north: TestPeer
    let acme = DomainPath("ROOT.Acme")!

    /// - Parameter features: `nil` is an older site.
    init(_ agents: [AgentDescription], features: SiteFeatures? = nil) throws {
      fixture = try GateFixture()
      let code = try fixture.addSite("north")
      try fixture.perform(.addDomain(acme))
      try fixture.perform(.attachSite("north", acme))
      try fixture.perform(.addAccount(.init(name: "ann", domain: acme, password: GateFixture.password)))
      let (site, _) = try fixture.enroll(code, name: "north")
      north = try TestPeer(fixture, .siteManager, site)
      try north.send(.agents(agents, features: features))
      link = try TestPeer(fixture, .linkManager, try fixture.login("ann"))
      let here = fixture.eventually { $0.sites.first?.agents.count == agents.count && $0.users.count == 1 }
      #expect(here)
    }

    deinit {
      link.stop()
      north.stop()
    }

    @discardableResult func allow(_ change: (inout AccessRule) -> Void = { _ in }) throws -> AccessRule.ID {
      var rule = AccessRule(subject: .account("ann"), domain: acme, created: 0)
      change(&rule)
      guard case .rule(let id) = try fixture.perform(.addRule(rule)) else { return 0 }
      return id
    }

    func connect(
      _ agents: [String]? = nil, reason: String? = nil
    ) throws -> Result<ControlMessage.Session, ControlMessage.Failure> {
      // The rules reach the front before its answer to this.
      _ = fixture.service.status()
      try link.send(.connect(.init(site: "north", agents: agents, reason: reason)), request: 1)
      return try link.message { message in
        switch message {
        case .session(let session): .success(session)
        case .failure(let failure): .failure(failure)
        default: nil
        }
      }
    }

    func denial(_ agents: [String]? = nil, reason: String? = nil) throws -> ControlMessage.Failure? {
      if case .failure(let failure) = try connect(agents, reason: reason) { failure } else { nil }
    }

    /// How long it takes until both ends have heard that it is cut, and why.
    func cut(_ session: ControlMessage.Session, by body: () throws -> Void) throws -> (Duration, String) {
      let began = ContinuousClock.now
      try body()
      let ends = try [link, north].map { peer in
        try peer.message { if case .revoke(let ending) = $0, ending.id == session.id { ending.reason } else { nil } }
      }
      #expect(ends[0] == ends[1])
      return (ContinuousClock.now - began, ends[0])
    }
  }

  @Test func whatNoRuleAllowsIsDeniedAndNotShown() throws {
    let world = try World([plc, web])
    let denied = try world.denial()
    #expect(denied?.code == .notPermitted)
    #expect(
      denied?.message == "no rule lets ann reach site north in ROOT.Acme: an administrator of ROOT.Acme can make one")
    let list = { () throws -> [String] in
      _ = world.fixture.service.status()
      try world.link.send(.list, request: 2)
      return try world.link.message { if case .sites(let sites) = $0 { sites.map(\.name) } else { nil } }
    }
    #expect(try list() == [])
    try world.allow { $0.agents = ["plc"] }
    #expect(try list() == ["north"])
    #expect(try world.connect().get().agents == [plc])
    let other = try world.denial(["plc", "web"])
    #expect(other?.message == "no rule of yours for site north is for its agent web")
    #expect(world.fixture.service.status()?.refusals["notAllowed"] == 2)
    // Another domain's site doesn't exist.
    try world.fixture.perform(.attachSite("north", .root))
    #expect(try world.denial()?.code == .unknownSite)
    #expect(try list() == [])
  }

  @Test func aReasonIsAskedForAndKept() throws {
    let world = try World([plc])
    let rule = try world.allow { $0.requiresReason = true }
    #expect(try world.denial()?.message == "rule \(rule) asks for a reason: connect with --reason TEXT")
    #expect(try world.denial(reason: "  ") != nil)
    let session = try world.connect(reason: "valve 7\nsticks").get()
    #expect(world.fixture.service.status()?.refusals["reasonMissing"] == 2)
    _ = try world.cut(session) { try world.fixture.perform(.removeRule(rule)) }
    world.fixture.service.stop()
    let events = try world.fixture.audit().map(\.event)
    let connect = try #require(events.first { $0.kind == .connect })
    #expect(connect.account == "ann" && connect.pc == "pc-1" && connect.site == "north" && connect.agents == ["plc"])
    #expect(connect.reason == "valve 7\nsticks" && connect.rules == [rule] && connect.session == "\(session.id)")
    let end = try #require(events.last { $0.kind == .disconnect })
    #expect(end.session == "\(session.id)" && end.milliseconds != nil && end.account == "ann")
    #expect(events.count { $0.kind == .refusal && $0.operation == "connect" } == 2)
    #expect(
      events.map(\.kind).contains(.login) && events.last?.kind == .stopped && events.contains { $0.kind == .enrolment })
    guard case .success = try world.fixture.service.operations.store.verifyAudit() else {
      Issue.record("\(try world.fixture.service.operations.store.verifyAudit())")
      return
    }
  }

  @Test func whatASiteReportsIsTold() throws {
    let world = try World([plc])
    try world.allow()
    let session = try world.connect().get()
    let report = { (session: SessionID, what: String) in
      SiteReport(what, session: session, agent: "plc\n", detail: "tcp\u{1B}[2J", packets: 9, bytes: 700, time: 5)
    }
    try world.north.send(.report(report(session.id, "captureBegan")))
    try world.north.send(.report(report(try SessionID.random(), "captureEnded")))
    // It isn't for users to send.
    try world.link.send(.report(report(session.id, "assigned")), request: 9)
    let refusal = try world.link.message { if case .failure(let failure) = $0 { failure.code } else { nil } }
    #expect(refusal == .notPermitted)
    _ = try world.connect()
    world.fixture.service.stop()
    let events = try world.fixture.audit().map(\.event).filter { $0.kind == .siteReport }
    #expect(events.map(\.operation) == ["captureBegan", "captureEnded"])
    let first = try #require(events.first)
    #expect(first.account == "ann" && first.pc == "pc-1" && first.site == "north" && first.session == "\(session.id)")
    #expect(
      first.agents == [#"plc\n"#]
        && first.reason == "at 1970-01-01T00:00:05Z by the site's clock: " + "tcp\u{1B}[2J".escaped, "\(first)")
    #expect(first.count == 9 && first.bytesFromSite == 700)
    // Of a session that isn't known nobody is said to have done it.
    #expect(events.last?.account == nil && events.last?.site == "north")
  }

  /// Whatever takes the right away cuts what runs by it, at both ends.
  @Test func revocationCutsWithinTwoSeconds() throws {
    let world = try World([plc])
    let fixture = world.fixture
    let steps: [(String, Access.Operation, Access.Operation?)] = [
      ("no rule lets ann", .enableRule(1, false), .enableRule(1, true)),
      ("no site of this name", .attachSite("north", .root), .attachSite("north", world.acme)),
      ("no rule lets ann", .removeRule(1), nil),
    ]
    #expect(try world.allow() == 1)
    for (reason, operation, undo) in steps {
      let session = try world.connect().get()
      let (took, said) = try world.cut(session) { try fixture.perform(operation) }
      #expect(took < .seconds(2) && said.contains(reason), "\(took) \(said)")
      if let undo { try fixture.perform(undo) }
    }
    // The account itself: its connection ends, too.
    try world.allow()
    let session = try world.connect().get()
    let began = ContinuousClock.now
    try fixture.perform(.enableAccount("ann", false))
    let heard = try world.north.message { if case .revoke(let ending) = $0 { ending.id } else { nil } }
    _ = try world.link.disconnected()
    #expect(heard == session.id && ContinuousClock.now - began < .seconds(2))
    #expect(fixture.eventually { $0.sessions.isEmpty && $0.users.isEmpty })
    #expect(throws: GateError.self) { _ = try fixture.login("ann") }
  }

  /// The end of an account or of a time slot, to the second; the grant says the same to the site.
  @Test func theTimeIsOverOnTime() throws {
    let world = try World([plc])
    try world.allow()
    var ann = try #require(world.fixture.state.accounts["ann"])
    let end = Clock.unixSeconds + 4
    ann.expires = end
    try world.fixture.change(.putAccount(ann))
    try world.fixture.perform(.enableAccount("ann", true))
    let session = try world.connect().get()
    let dial = try world.north.message { if case .dial(let body) = $0 { body } else { nil } }
    let keys = try world.fixture.directory.loadKeys()
    let grant = try dial.grant.claims(signedBy: keys.grantKey.publicKey)
    #expect(grant.notAfter == end)
    let (_, said) = try world.cut(session) {}
    let late = Double(Clock.unixNanoseconds) / 1e9 - Double(end)
    #expect((-0.1..<2).contains(late), "\(late) s late")
    #expect(said == "account ann has ended")
    #expect(try world.denial()?.message.hasPrefix("account ann ended") == true)
  }

  /// An agent with more ports than a rule allows isn't granted where the site would open all of them.
  @Test func portsThatCannotBeGrantedAreNot() throws {
    let world = try World([plc, web])
    try world.allow { $0.ports = PortLimits(tcp: [PortRange(502)!, PortRange(80)!]) }
    #expect(try world.connect().get().agents == [plc])
    #expect(try world.denial(["web"])?.message.contains("agent web has more ports than you may use") == true)
    let ask = Access.Operation.explain(account: "ann", site: "north", agent: "web", hasReason: false)
    guard case .explanation(false, let why) = try world.fixture.perform(ask) else {
      Issue.record("said to be allowed")
      return
    }
    #expect(why == "\(AccessDenial.morePorts(agent: "web"))")
    try world.allow { $0.ports = PortLimits(tcp: [PortRange(8080)!]) }
    #expect(try world.connect(["web"]).get().agents == [web])
  }

  /// A site that understands it is told the ports, and so is the LinkManager.
  @Test func portsAreGranted() throws {
    let world = try World([plc, web], features: SiteFeatures([SiteFeatures.grantedPorts, "later"]))
    let rule = try world.allow { $0.ports = PortLimits(tcp: [PortRange(502)!, PortRange(80)!]) }
    let keys = try world.fixture.directory.loadKeys()
    func grant() throws -> Grant {
      let dial = try world.north.message { if case .dial(let body) = $0 { body } else { nil } }
      return try dial.grant.claims(signedBy: keys.grantKey.publicKey)
    }
    var narrow = web
    narrow.tcp = [PortRange(80)!]
    let session = try world.connect().get()
    #expect(session.agents == [plc, narrow] && session.features?.contains("later") == true)
    var claims = try grant()
    #expect(claims.ports == ["web": PortLimits(tcp: [PortRange(80)!])] && claims.critical == ["ports"])
    let ask = Access.Operation.explain(account: "ann", site: "north", agent: "web", hasReason: false)
    #expect(
      try world.fixture.perform(ask) == .explanation(isAllowed: true, text: "allowed by rule \(rule), TCP 80 of it"))
    // More is allowed, and the site has more: nothing is taken away. The next session has it.
    let other = try world.allow { $0.ports = PortLimits(tcp: [PortRange(8080)!]) }
    var more = web
    more.tcp.append(PortRange(22)!)
    try world.north.send(.agents([plc, more], features: SiteFeatures([SiteFeatures.grantedPorts])))
    let wide = try world.connect(["web"]).get()
    #expect(wide.agents.first?.tcp == [PortRange(80)!, PortRange(8080)!])
    claims = try grant()
    #expect(claims.ports == ["web": PortLimits(tcp: [PortRange(80)!, PortRange(8080)!])])
    #expect(world.fixture.eventually { $0.sessions.count == 2 })
    // Less is allowed: who has more is cut, and who hasn't goes on.
    let (took, said) = try world.cut(wide) { try world.fixture.perform(.removeRule(other)) }
    #expect(took < .seconds(2) && said == "the rules now allow only TCP 80 of agent web: connect again", "\(said)")
    #expect(world.fixture.eventually { $0.sessions.count == 1 })
    #expect(world.fixture.service.status()?.sessions.first?.id == "\(session.id)")
  }

  /// The operator on site has the last word: what runs is cut, who is connected is told, and so is the audit.
  @Test func whatIsSwitchedOffOnSiteIsCut() throws {
    let world = try World([plc, web])
    try world.allow()
    let both = try world.connect().get()
    let one = try world.connect(["plc"]).get()
    var off = plc
    off.state = .down
    off.veto = "switched off on site: press 4"
    let (took, said) = try world.cut(one) { try world.north.send(.agents([off, web])) }
    #expect(took < .seconds(2) && said == "agent plc of site north: switched off on site: press 4", "\(said)")
    #expect(try world.denial(["plc"])?.message == said)
    #expect(world.fixture.service.status()?.refusals["switchedOff"] == 1)
    // With both, the other one is still there.
    #expect(world.fixture.eventually { $0.sessions.map(\.id) == ["\(both.id)"] })
    #expect(try world.connect().get().agents.first?.veto == off.veto)
    let (_, all) = try world.cut(both) {
      try world.north.send(
        .agents(
          [plc, web].map { agent in
            var agent = agent
            agent.veto = "remote access is switched off on site"
            return agent
          }))
    }
    #expect(all == "agent plc of site north: remote access is switched off on site")
    try world.north.send(.agents([plc, web]))
    #expect(world.fixture.eventually { $0.sessions.isEmpty })
    _ = try world.connect(["plc"]).get()
    world.fixture.service.stop()
    let events = try world.fixture.audit().map(\.event).filter { $0.kind == .veto }
    #expect(events.map(\.operation) == ["switchOff", "switchOff", "switchOn"])
    #expect(events.map(\.agents) == [["plc"], ["plc", "web"], ["plc", "web"]])
    #expect(events.first?.site == "north" && events.first?.reason == off.veto && events.last?.reason == nil)
  }

  /// Who is connected hears of what is switched, and of nothing else.
  @Test func statesAreTold() throws {
    let world = try World([plc, web])
    try world.allow()
    let session = try world.connect(["plc", "web"]).get()
    var off = plc
    off.state = .down
    off.veto = "switched off on site"
    func told() throws -> AgentStates {
      try world.link.message { if case .agentStates(let states) = $0 { states } else { nil } }
    }
    try world.north.send(.agents([off, web]))
    #expect(
      try told() == AgentStates(id: session.id, agents: ["plc": .init(state: .down, veto: "switched off on site")]))
    // Nothing new.
    try world.north.send(.agents([off, web]))
    try world.north.send(.agents([plc, web]))
    #expect(try told() == AgentStates(id: session.id, agents: ["plc": .init(state: nil, veto: nil)]))
  }

  /// Everybody may ask what they may reach, and hears what an administrator would; not of what isn't theirs.
  @Test func usersAskForThemselves() throws {
    let world = try World([plc, web])
    func ask(_ site: String, _ agent: String, reason: String? = nil) throws -> ControlMessage.Explained {
      _ = world.fixture.service.status()
      try world.link.send(.explain(.init(site: site, agent: agent, reason: reason)), request: 3)
      return try world.link.message { if case .explained(let answer) = $0 { answer } else { nil } }
    }
    #expect(try ask("north", "plc").text.hasPrefix("no rule lets ann reach site north in ROOT.Acme"))
    let rule = try world.allow { $0.requiresReason = true }
    #expect(
      try ask("north", "plc")
        == .init(isAllowed: false, text: "rule \(rule) asks for a reason: connect with --reason TEXT"))
    #expect(try ask("north", "plc", reason: "valve 7") == .init(isAllowed: true, text: "allowed by rule \(rule)"))
    #expect(try ask("north", "crane").text == "site north has no agent `crane`")
    _ = try world.fixture.addSite("south")
    for site in ["south", "nowhere", String(repeating: "x", count: 10_000)] {
      #expect(try ask(site, "plc", reason: "x").text == "there is no site of this name")
    }
    let asked = world.fixture.service.status()?.sessions
    #expect(asked?.isEmpty == true)
    try world.north.send(.explain(.init(site: "north", agent: "plc")), request: 4)
    let refused = try world.north.message { if case .failure(let failure) = $0 { failure.code } else { nil } }
    #expect(refused == .notPermitted)
  }

  /// As many agents and ranges as a site may have don't fit a message together with a grant that limits them.
  @Test func aGrantFitsAMessage() throws {
    let ranges = (1...UInt16(ControlProtocol.portRangeLimit)).compactMap { PortRange($0 * 900, $0 * 900 + 1) }
    let agents = (0..<150).map { AgentDescription(name: "agent-\($0)", target: .device(.v4), tcp: ranges, icmp: true) }
    let world = try World(agents, features: SiteFeatures([SiteFeatures.grantedPorts]))
    try world.allow { $0.ports = PortLimits(tcp: [.all]) }
    let denied = try world.denial()
    #expect(denied?.message == "a grant has no room for so many agents and ports: name an agent")
    #expect(try world.connect(["agent-1"]).get().agents.count == 1)
    #expect(world.fixture.service.status()?.tickets == 2)
  }

  /// A site's agents may change under a session, but not what a rule allows of them.
  @Test func anAgentThatGetsAnotherPortIsJudgedAnew() throws {
    let world = try World([plc])
    try world.allow { $0.ports = PortLimits(tcp: [PortRange(502)!]) }
    let session = try world.connect().get()
    // What isn't granted makes no difference.
    try world.north.send(.agents([plc, web]))
    #expect(world.fixture.eventually { $0.sites.first?.agents.count == 2 && $0.sessions.count == 1 })
    var more = plc
    more.tcp.append(PortRange(22)!)
    let (took, said) = try world.cut(session) { try world.north.send(.agents([more, web])) }
    #expect(took < .seconds(2) && said.hasPrefix("agent plc has more ports than you may use"))
  }

  @Test func commandsGoThroughTheService() throws {
    let world = try World([plc])
    try world.allow()
    func ask(_ operation: Access.Operation) throws -> OperationReply {
      let request = try ManagementRequest(operation)
      #expect(request.operation == operation)
      let socket = try ManagementSocket(
        directory: world.fixture.directory.path, program: "gatemanager", version: "1"
      ) { [service = world.fixture.service] in service.answer($0) }
      defer { socket.stop() }
      return try ManagementClient(directory: world.fixture.directory.path, program: "gatemanager", version: "1")
        .request(request, as: OperationReply.self)
    }
    guard
      case .answer(.explanation(true, let text)) =
        try ask(.explain(account: "ann", site: "north", agent: "plc", hasReason: false))
    else {
      Issue.record("not allowed")
      return
    }
    #expect(text == "allowed by rule 1")
    guard
      case .answer(.explanation(false, let why)) =
        try ask(.explain(account: "ann", site: "north", agent: "drive", hasReason: false)),
      case .refused(let error) = try ask(.removeRule(99)),
      case .answer(.code(let code, _)) = try ask(.addSite("south", world.acme, hours: 1))
    else {
      Issue.record("other answers")
      return
    }
    #expect(why == "site north has no agent `drive`" && error == .unknown("rule", "99"))
    #expect(try EnrolmentCode(code).matches(gateKey: world.fixture.pin))
    guard case .answer(.verified) = try ask(.verifyAudit(noted: nil)) else {
      Issue.record("not whole")
      return
    }
  }
}
