import Control
import Crypto
import Testing

@testable import Access

@Suite struct AuthorisationTests {
  private func decide(
    _ state: AccessState, _ account: String = "a-ann", _ site: String = "a-north", wanted: [String]? = nil,
    reason: String? = nil, now: Int64 = Plant.now
  ) throws(AccessDenial) -> Authorisation {
    try .decide(
      state, account: account, site: site, announced: [Plant.plc, Plant.panel], wanted: wanted, reason: reason, now: now
    )
  }

  private func rule(
    _ id: Int64, _ subject: AccessRule.Subject, _ change: (inout AccessRule) -> Void = { _ in }
  ) -> AccessChange {
    var rule = AccessRule(id: id, subject: subject, domain: Plant.path("ROOT.A"), created: 0)
    change(&rule)
    return .putRule(rule)
  }

  @Test func whatNoRuleAllowsIsDenied() throws {
    let state = Plant.state()
    let all = try decide(state)
    #expect(
      all.agents.map(\.description) == [Plant.plc, Plant.panel] && all.until == nil && all.rules == [1]
        && !all.endsWithAccount)
    #expect(all.agents.allSatisfy { !$0.isNarrowed })
    let line = Plant.path("ROOT.A.Line1")
    #expect(throws: AccessDenial.noRule(account: "a-linkuser", site: "a-north", domain: line)) {
      _ = try decide(state, "a-linkuser")
    }
    #expect(throws: AccessDenial.accountUnknown("nobody")) { _ = try decide(state, "nobody") }
    #expect(throws: AccessDenial.agentUnknown("drive", site: "a-north")) { _ = try decide(state, wanted: ["drive"]) }
  }

  @Test func whatLiesElsewhereDoesNotExist() throws {
    // Even with a rule.
    var foreign = AccessRule(id: 9, subject: .account("a-ann"), domain: Plant.path("ROOT.B"), created: 0)
    var state = Plant.state([.putRule(foreign)])
    #expect(throws: AccessDenial.siteUnknown("b-north")) { _ = try decide(state, site: "b-north") }
    #expect(throws: AccessDenial.siteUnknown("waiting")) { _ = try decide(state, site: "waiting") }
    #expect(throws: AccessDenial.siteUnknown("none")) { _ = try decide(state, site: "none") }
    // Until the account joins the domain.
    var ann = try #require(state.accounts["a-ann"])
    ann.joined = [Plant.path("ROOT.B")]
    state.apply(.putAccount(ann))
    #expect(try decide(state, site: "b-north").rules == [9])
    foreign.isEnabled = false
    state.apply(.putRule(foreign))
    #expect(throws: AccessDenial.self) { _ = try decide(state, site: "b-north") }
    ann.domain = .root
    state.apply(.putAccount(ann))
    #expect(throws: AccessDenial.siteWaiting("waiting")) { _ = try decide(state, site: "waiting") }
  }

  private func decide(_ state: AccessState, site: String) throws(AccessDenial) -> Authorisation {
    try decide(state, "a-ann", site)
  }

  @Test func accountsEndAndRolesCount() throws {
    var state = Plant.state([rule(5, .account("a-domainobserver")), rule(6, .account("a-mobileuser"))])
    #expect(throws: AccessDenial.role(.domainObserver)) { _ = try decide(state, "a-domainobserver") }
    let mobile = try decide(state, "a-mobileuser")
    #expect(mobile.agents.map(\.description.tcp) == [[PortRange(80)!], [PortRange(5900)!]])
    #expect(mobile.agents[0].isNarrowed && !mobile.agents[1].isNarrowed && mobile.agents[0].description.udp.isEmpty)
    let drive = AgentDescription(name: "drive", target: .device(.v4), tcp: [PortRange(44818)!])
    #expect(throws: AccessDenial.rolePorts(agent: "drive", .mobileUser)) {
      _ = try Authorisation.decide(
        state, account: "a-mobileuser", site: "a-north", announced: [drive], wanted: nil, reason: nil, now: Plant.now)
    }
    var ann = try #require(state.accounts["a-ann"])
    ann.expires = Plant.now + 60
    state.apply(.putAccount(ann))
    let short = try decide(state)
    #expect(short.until == Plant.now + 60 && short.endsWithAccount)
    #expect(throws: AccessDenial.accountExpired("a-ann", at: Plant.now + 60)) {
      _ = try decide(state, now: Plant.now + 60)
    }
    ann.isEnabled = false
    state.apply(.putAccount(ann))
    #expect(throws: AccessDenial.accountDisabled("a-ann")) { _ = try decide(state) }
  }

  @Test func rulesSayWhatAndWhen() throws {
    let slot = WeeklySlots(zone: "Europe/Berlin", slots: [WeeklySlots.Slot("mon-fri 06:00-14:00")!])!
    // Thursday 2026-05-28 22:26 in Berlin.
    var state = Plant.state([
      .removeRule(1),
      rule(5, .group("a-staff")) {
        $0.agents = ["plc"]
        $0.ports = PortLimits(tcp: [PortRange(502)!])
        $0.slots = slot
        $0.requiresReason = true
      },
    ])
    let morning = Plant.now + 10 * 3600
    let opens: Int64 = 1_780_027_200
    #expect(throws: AccessDenial.outsideSlot(rule: 5, slots: slot, opens: opens)) {
      _ = try decide(state, "a-linkuser", wanted: ["plc"])
    }
    #expect(throws: AccessDenial.reasonRequired(rule: 5)) { _ = try decide(state, "a-linkuser", now: morning) }
    #expect(throws: AccessDenial.reasonRequired(rule: 5)) {
      _ = try decide(state, "a-linkuser", reason: " ", now: morning)
    }
    let allowed = try decide(state, "a-linkuser", reason: "valve 7 sticks", now: morning)
    #expect(allowed.agents.map(\.description.name) == ["plc"] && allowed.until == opens + 8 * 3600)
    #expect(allowed.agents[0].description.tcp == [PortRange(502)!] && allowed.agents[0].isNarrowed)
    #expect(throws: AccessDenial.agentNotCovered("panel", site: "a-north")) {
      _ = try decide(state, "a-linkuser", wanted: ["plc", "panel"], reason: "x", now: morning)
    }
    // A second rule adds to the first, without its conditions.
    state.apply(rule(6, .account("a-linkuser")) { $0.ports = PortLimits(tcp: [PortRange(80)!]) })
    let both = try decide(state, "a-linkuser", reason: "x", now: morning)
    #expect(both.agents[0].description.tcp == [PortRange(80)!, PortRange(502)!] && both.until == opens + 8 * 3600)
    #expect(both.rules == [5, 6] && both.agents.count == 1)
    let evening = try decide(state, "a-linkuser")
    #expect(evening.agents[0].description.tcp == [PortRange(80)!] && evening.rules == [6])
    // Nothing of the panel is left within what rule 6 allows.
    #expect(
      throws: AccessDenial.ports(agent: "panel", rule: 6, allowed: PortLimits(tcp: [PortRange(80)!]))
    ) { _ = try decide(state, "a-linkuser", wanted: ["panel"]) }
    // For one site only.
    state.apply(rule(6, .account("a-linkuser")) { $0.site = "a-south" })
    #expect(throws: AccessDenial.self) { _ = try decide(state, "a-linkuser", wanted: ["panel"]) }
  }

  /// What a rule adds ends with it, whatever other rules go on allowing.
  @Test func portsEndWithTheRuleThatAddsThem() throws {
    let slot = WeeklySlots(zone: "Europe/Berlin", slots: [WeeklySlots.Slot("mon-fri 06:00-14:00")!])!
    let morning = Plant.now + 10 * 3600
    let closes: Int64 = 1_780_027_200 + 8 * 3600
    let modbus = PortLimits(tcp: [PortRange(502)!])
    let web = PortLimits(tcp: [PortRange(80)!])
    for (ports, other, until) in [
      (modbus, web, closes), (nil, web, closes), (modbus, nil, nil), (nil, nil, nil),
    ] as [(PortLimits?, PortLimits?, Int64?)] {
      let state = Plant.state([
        .removeRule(1),
        rule(5, .account("a-ann")) {
          $0.ports = ports
          $0.slots = slot
        },
        rule(6, .account("a-ann")) { $0.ports = other },
      ])
      let allowed = try decide(state, wanted: ["plc"], now: morning)
      #expect(allowed.until == until && allowed.rules == [5, 6], "\(String(describing: ports))")
      #expect(allowed.agents[0].isNarrowed == (ports != nil && other != nil))
    }
  }

  /// A site that can't be told of ports opens all that an agent has.
  @Test func agentsAreGrantedInWholeOrNotAtAllWhereSitesAreOlder() throws {
    let ports = PortLimits(tcp: [PortRange(80)!, PortRange(5900)!])
    let state = Plant.state([rule(1, .account("a-ann")) { $0.ports = ports }])
    let allowed = try decide(state)
    #expect(allowed.agents.map(\.isNarrowed) == [true, false])
    #expect(try allowed.granting(each: false, withLimits: false).agents.map(\.description) == [Plant.panel])
    #expect(throws: AccessDenial.morePorts(agent: "plc")) { _ = try allowed.granting(each: true, withLimits: false) }
    let alone = try decide(state, wanted: ["plc"])
    #expect(throws: AccessDenial.morePorts(agent: "plc")) { _ = try alone.granting(each: false, withLimits: false) }
    // The same is said beforehand, where it can be known.
    let why = { (announced: [AgentDescription]?, features: SiteFeatures?) in
      OperationLists.answer(
        .explain(account: "a-ann", site: "a-north", agent: "plc", hasReason: false), by: .host, state,
        announced: { _ in announced.map { SiteAnnouncement($0, features: features) } }, now: Plant.now)
    }
    #expect(
      why([Plant.plc], nil) == .explanation(isAllowed: false, text: "\(AccessDenial.morePorts(agent: "plc"))"))
    #expect(
      why(nil, nil)
        == .explanation(isAllowed: true, text: "allowed by rule 1, TCP 80,5900 of it; the site isn't connected"))
    #expect(
      why([Plant.plc], SiteFeatures([SiteFeatures.grantedPorts]))
        == .explanation(isAllowed: true, text: "allowed by rule 1, TCP 80 of it"))
  }

  /// With the ports that are left of each, where the site understands it.
  @Test func portsAreGranted() throws {
    let ports = PortLimits(tcp: [PortRange(80)!, PortRange(5900)!])
    let state = Plant.state([rule(1, .account("a-ann")) { $0.ports = ports }])
    let allowed = try decide(state).granting(each: true, withLimits: true)
    #expect(allowed.agents.count == 2 && allowed.limits == ["plc": PortLimits(tcp: [PortRange(80)!])])
    // More than was granted, as much, and less than is allowed now.
    let announced = [Plant.plc, Plant.panel]
    #expect(throws: AccessDenial.fewerPorts(agent: "plc", left: PortLimits(tcp: [PortRange(80)!]))) {
      try allowed.check(granted: [:], announced: announced)
    }
    #expect(throws: AccessDenial.self) {
      try allowed.check(granted: ["plc": PortLimits(tcp: [PortRange(79, 80)!, PortRange(502)!])], announced: announced)
    }
    try allowed.check(granted: allowed.limits, announced: announced)
    // What the site doesn't have doesn't matter.
    try allowed.check(granted: ["plc": PortLimits(tcp: [PortRange(79, 80)!], icmp: true)], announced: [Plant.panel])
    try allowed.check(granted: ["plc": PortLimits(udp: [.all])], announced: [Plant.panel])
    let whole = try decide(Plant.state(), wanted: ["plc"]).granting(each: true, withLimits: true)
    #expect(whole.limits.isEmpty)
    try whole.check(granted: [:], announced: announced)
  }

  /// What is off on site is granted beside what is on, since it may be on again at any time; alone it isn't.
  @Test func whatIsSwitchedOffOnSiteIsDenied() throws {
    let state = Plant.state()
    var plc = Plant.plc
    plc.veto = "switched off on site: press 4"
    func decide(_ wanted: [String]?) throws(AccessDenial) -> Authorisation {
      try Authorisation.decide(
        state, account: "a-ann", site: "a-north", announced: [plc, Plant.panel], wanted: wanted, reason: nil,
        now: Plant.now)
    }
    #expect(try decide(nil).agents.count == 2 && decide(["plc", "panel"]).agents.count == 2)
    let denial = AccessDenial.switchedOff(agent: "plc", site: "a-north", veto: "switched off on site: press 4")
    #expect(throws: denial) { _ = try decide(["plc"]) }
    #expect("\(denial)" == "agent plc of site a-north: switched off on site: press 4")
  }

  /// A message has room for so many.
  @Test func portsThatAreGrantedAreBounded() throws {
    for count in [ControlProtocol.portRangeLimit, ControlProtocol.portRangeLimit + 1] {
      let ranges = (1...UInt16(count)).compactMap { PortRange($0 * 2) }
      let limits = PortLimits(tcp: ranges)
      let everything = AgentDescription(name: "plc", target: .device(.v4), tcp: [.all])
      let allowed = Authorisation(
        agents: [.init(description: limits.narrowing(everything)!, limits: limits, rules: [1])], until: nil,
        endsWithAccount: false)
      if count > ControlProtocol.portRangeLimit {
        #expect(throws: AccessDenial.tooManyRanges(agent: "plc")) {
          _ = try allowed.granting(each: false, withLimits: true)
        }
      } else {
        _ = try allowed.granting(each: true, withLimits: true)
      }
    }
  }

  @Test func aZoneThatIsNotKnownIsClosed() throws {
    let slots = WeeklySlots(zone: "Europe/Atlantis", slots: [WeeklySlots.Slot("* 00:00-24:00")!])!
    let state = Plant.state([rule(1, .account("a-ann")) { $0.slots = slots }])
    #expect(throws: AccessDenial.zoneUnusable(rule: 1, zone: "Europe/Atlantis")) { _ = try decide(state) }
  }

  /// Sessions are judged anew by this alone.
  @Test func whatADecisionDependsOnIsCounted() throws {
    var state = Plant.state()
    var ann = try #require(state.accounts["a-ann"])
    var site = try #require(state.sites["a-north"])
    ann.pcs.removeAll()
    ann.password = "other"
    ann.oneTimeCode?.used = 7
    site.key = nil
    let before = state.decisions
    state.apply([.putAccount(ann), .putSite(site), .putCodeRule(CodeRule(domain: .root, role: .linkUser))])
    #expect(state.decisions == before)
    ann.isEnabled = false
    site.domain = .root
    state.apply([.putAccount(ann), .putSite(site), .removeRule(1)])
    #expect(state.decisions == before + 3)
  }

  @Test func eachDenialIsOneLine() {
    let slots = WeeklySlots(zone: "UTC", slots: [WeeklySlots.Slot("mon 06:00-07:00")!])!
    let all: [AccessDenial] = [
      .accountUnknown("x"), .accountDisabled("x"), .accountExpired("x", at: 0), .role(.domainObserver),
      .siteUnknown("x"), .siteWaiting("x"), .noRule(account: "x", site: "y", domain: .root),
      .agentUnknown("x", site: "y"), .agentNotCovered("x", site: "y"), .outsideSlot(rule: 1, slots: slots, opens: 0),
      .zoneUnusable(rule: 1, zone: "x"), .reasonRequired(rule: 1), .ports(agent: "x", rule: 1, allowed: .mobile),
      .rolePorts(agent: "x", .mobileUser), .morePorts(agent: "x"), .tooManyRanges(agent: "x"),
      .fewerPorts(agent: "x", left: .mobile), .switchedOff(agent: "x", site: "y", veto: "z"),
    ]
    for denial in all { #expect(!denial.description.contains("\n") && denial.description.count > 15) }
    #expect(all[9].description == "rule 1 is closed now: it is open mon 06:00-07:00 (UTC), next 1970-01-01 00:00 UTC")
  }

  /// The figures that it is built for.
  @Test func decidesQuicklyAmongMany() throws {
    var state = AccessState()
    state.apply(.putDomain(Domain(path: .root, created: 0)))
    for domain in 0..<100 {
      let path = Plant.path("ROOT.D\(domain)")
      state.apply(.putDomain(Domain(path: path, created: 0)))
      for line in 0..<10 { state.apply(.putDomain(Domain(path: path.child("L\(line)")!, created: 0))) }
      state.apply(
        .putGroup(AccountGroup(name: "g\(domain)", domain: path, members: (0..<10).map { "u\(domain * 10 + $0)" })))
    }
    let slots = WeeklySlots(
      zone: "America/New_York", slots: (0..<10).map { WeeklySlots.Slot("mon-sun 0\($0):00-2\($0 % 4):00")! })!
    for account in 0..<1000 {
      let path = Plant.path("ROOT.D\(account / 10)")
      state.apply(.putAccount(Account(name: "u\(account)", domain: path, password: "-", created: 0)))
      for index in 0..<10 {
        let subject: AccessRule.Subject = index < 5 ? .account("u\(account)") : .group("g\(account / 10)")
        state.apply(
          .putRule(
            AccessRule(
              id: state.nextRule, subject: subject, domain: index % 2 == 0 ? path : path.child("L\(index)")!,
              agents: index == 9 ? nil : ["a\(index)"], slots: index == 0 ? nil : slots, created: 0)))
      }
    }
    for site in 0..<10_000 {
      let path = Plant.path("ROOT.D\(site / 100)").child("L\(site % 10)")!
      state.apply(.putSite(AccessSite(name: "s\(site)", domain: path, created: 0)))
    }
    #expect(state.sites.count == 10_000 && state.accounts.count == 1000 && state.rules.count == 10_000)
    // Ten agents at each of the sites, as they announce them.
    let agents = (0..<10).map { AgentDescription(name: "a\($0)", target: .device(.v4), tcp: [.all]) }
    var times: [Duration] = []
    for _ in 0..<300 {
      let site = Int.random(in: 0..<10_000)
      let account = site / 100 * 10 + Int.random(in: 0..<10)
      let took = ContinuousClock().measure {
        _ = try? Authorisation.decide(
          state, account: "u\(account)", site: "s\(site)", announced: agents, wanted: nil, reason: nil, now: Plant.now)
      }
      times.append(took)
    }
    times.sort()
    // Lists of what an account may see are the same as asking for each.
    for account in ["u0", "u555", "nobody"] {
      var listed: Set<String> = []
      let took = ContinuousClock().measure { listed = Authorisation.sites(state, account: account, now: Plant.now) }
      let asked = state.sites.keys.filter {
        Authorisation.concerns(state, account: account, site: $0, now: Plant.now)
      }
      #expect(listed == Set(asked) && took < .milliseconds(200), "\(took)")
    }
    print("decision among 10,000 sites and rules: median \(times[150]), 99 % \(times[297])")
    // Unoptimised and on a machine that does other things, too.
    #expect(times[150] < .milliseconds(10))
  }
}
