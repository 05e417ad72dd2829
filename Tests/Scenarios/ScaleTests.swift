import Foundation
import Testing

/// What a script of `programs/scale.sh` has printed: lines of a name and a number, or of a name and a JSON object.
struct Figures: CustomStringConvertible {
  private let lines: [String: String]
  let description: String

  init(_ output: Output) {
    description = output.text
    lines = Dictionary(
      output.text.split(separator: "\n").compactMap { line -> (String, String)? in
        let parts = line.split(separator: " ", maxSplits: 1).map(String.init)
        return parts.count == 2 ? (parts[0], parts[1]) : nil
      }, uniquingKeysWith: { _, last in last })
  }

  func number(_ name: String) throws -> Int {
    try #require(lines[name].flatMap { Int($0) }, "no \(name) in \(self)")
  }

  func object<Content: Decodable>(_ name: String, as type: Content.Type) throws -> Content {
    try JSONDecoder().decode(type, from: Data(#require(lines[name], "no \(name) in \(self)").utf8))
  }
}

extension World {
  /// Runs a script with the functions of `programs/scale.sh`.
  func figures(_ script: String, limit: Int = 120) throws -> Figures {
    Figures(try require(". $root/Tests/Scenarios/programs/scale.sh\n" + script, limit: limit))
  }
}

extension WholeSystem {
  /// Many at once: flows through one LinkManager, agents of one site, peers of one GateManager.
  @Suite struct Scale {
    /// What `programs/flood.py` reports.
    struct Flood: Decodable {
      var tcp: Int
      var udp: Int
      var errors: Int
      var kinds: [String]
    }

    private func expectAll(_ figures: Figures, tcp: Int, udp: Int) throws {
      let flood = try figures.object("during.report", as: Flood.self)
      #expect(flood.tcp == tcp && flood.udp == udp && flood.errors == 0, "\(flood)")
      // One socket at the site for each flow.
      #expect(try figures.number("during.sitemanager.descriptors") >= tcp + udp, "\(figures)")
    }

    /// After the flood a host holds at most a tenth more memory than before, and no descriptor more.
    private func expectDrained(_ figures: Figures, _ hosts: String...) throws {
      for host in hosts {
        let before = try figures.number("before.\(host).memory")
        let after = try figures.number("after.\(host).memory")
        #expect(after * 10 <= before * 11, "\(host): \(before) KiB before, \(after) KiB after")
        let descriptors = try (
          figures.number("before.\(host).descriptors"), figures.number("after.\(host).descriptors")
        )
        #expect(descriptors.0 == descriptors.1, "\(host): descriptors before and after")
      }
    }

    @Test("2,000 TCP flows and 10,000 UDP flows through one LinkManager carry their bytes")
    func manyFlows() throws {
      try World.run(hosts: false) { world in
        let figures = try world.figures("start_all && flood during 2000 10000 10000")
        try expectAll(figures, tcp: 2000, udp: 10_000)
      }
    }

    @Test(
      "when they have drained, memory and descriptors are back",
      .enabled(if: Soak.isWanted, Comment(rawValue: Soak.comment)))
    func manyFlowsDrain() throws {
      try World.run(hosts: false) { world in
        let figures = try world.figures(
          """
          start_all || exit 1
          flood warm 50 50 100000
          eventually 180 link_flows 0 || exit 1
          sleep 5
          footprint before
          flood during 2000 10000 50000
          # A UDP flow ends by two minutes of silence.
          eventually 180 link_flows 0 || exit 1
          sleep 5
          footprint after
          """, limit: 600)
        try expectAll(figures, tcp: 2000, udp: 10_000)
        try expectDrained(figures, "linkmanager", "sitemanager", "gatemanager")
        #expect(try figures.number("after.sockets") <= figures.number("before.sockets"), "\(figures)")
      }
    }

    // MARK: Fleets

    struct Traffic: Decodable {
      var sessions: Int
      var agents: Int
      var flows: Int
      var errors: [String]
    }

    private static let hasFleet = Place.hasBinaries("Fleet")
    private static let fleetObstacle = "Fleet isn't built in release mode: `make test` does that first"

    @Test(
      "100 agents of one site, with 200 flows of five users' PCs at once",
      .enabled(if: hasFleet, Comment(rawValue: fleetObstacle)))
    func manyAgents() throws {
      try World.run(hosts: false) { world in
        let figures = try world.figures(
          """
          start_all && fleet 0 5 1 || exit 1
          ask_fleet traffic site-a 5 200 8005 100000
          echo "traffic $answer"
          footprint during
          ask_fleet silence
          gone() { [ "$(find /proc/$(host_pid site-a sitemanager)/fd -mindepth 1 | wc -l)" -lt 60 ]; }
          eventually 10 gone
          """)
        let traffic = try figures.object("traffic", as: Traffic.self)
        #expect(
          traffic.sessions == 5 && traffic.agents == 101 && traffic.flows == 200 && traffic.errors.isEmpty,
          "\(traffic)")
        #expect(try figures.number("during.sitemanager.descriptors") >= 200, "\(figures)")
      }
    }

    /// What Fleet reports.
    struct Fleet: Decodable {
      var connected: Int
      var lost: Int
      var back: Int
      var lastBack: Double
      var backBySecond: [Int]
      var problems: [String: Int]
    }

    @Test(
      "a restart of the GateManager with 100 sites and 40 users' PCs: all come back, spread out, and users are served",
      .enabled(if: hasFleet && !Soak.isWanted, Comment(rawValue: fleetObstacle)))
    func smallFleet() throws {
      try runFleet(sites: 100, users: 10, pcs: 4, idleSeconds: 5)
    }

    @Test(
      "the same with 1,000 sites and 500 users' PCs; and when they have gone, memory and descriptors are back",
      .enabled(if: hasFleet && Soak.isWanted, Comment(rawValue: "\(Soak.comment); \(fleetObstacle)")))
    func largeFleet() throws {
      try runFleet(sites: 1000, users: 50, pcs: 10, idleSeconds: 30)
    }

    private func runFleet(sites: Int, users: Int, pcs: Int, idleSeconds: Int) throws {
      let all = sites + users * pcs
      try World.run(hosts: false) { world in
        let figures = try world.figures(
          #"""
          start_all || exit 1
          at pc $python $here/flood.py serve 127.0.0.1 8005 >$state/log/echo-fleet 2>&1 </dev/null &
          footprint fresh
          fleet \#(sites) \#(users) \#(pcs) || exit 1
          await_fleet \#(all) 90 || { echo "$answer"; exit 1; }
          sleep 3
          footprint during
          pid=$(host_pid relay gatemanager)
          used=$(processor_time $pid)
          sleep \#(idleSeconds)
          echo "idle $(($(processor_time $pid) - used))"
          ask_fleet traffic fleet-0001 2 10 8005 100000
          echo "traffic $answer"
          ask_fleet silence

          gone() { [ -z "$(host_pid relay gatemanager)" ]; }
          ask_fleet mark
          kill -TERM $pid
          eventually 10 gone || exit 1
          start gatemanager-again relay $bin/gatemanager run --directory $state/gatemanager --listen $gate
          eventually 15 at relay $python $programs/probe.py ${gate%:*} ${gate##*:} || exit 1
          # A user who comes now.
          timed login briefly pc $bin/linkmanager login --directory $state/another --gate $gate --user technician \
            --password-file $state/password --yes >$state/log/again || { cat $state/log/again; exit 1; }
          tail -n 1 $state/log/again
          timed list eventually 20 lm list >$state/list || exit 1
          tail -n 1 $state/list
          timed connect eventually 60 fetch $(alias_of site-a server) 8000/ --output /dev/null || exit 1
          await_fleet \#(all) 60
          echo "fleet $answer"
          # What GateManager keeps of all that it knows it has by now. Who comes and goes once more leaves nothing.
          ask_fleet stop
          sleep 5
          footprint before
          ask_fleet start
          await_fleet \#(all) 90 || { echo "$answer"; exit 1; }
          ask_fleet traffic fleet-0001 2 10 8005 100000
          ask_fleet silence
          ask_fleet stop
          sleep 5
          footprint after
          """#, limit: 900)
        let traffic = try figures.object("traffic", as: Traffic.self)
        #expect(traffic.flows == 10 && traffic.errors.isEmpty, "\(traffic)")
        // Less than a hundredth of a processor for 1,500 idle peers.
        #expect(try figures.number("idle") <= 2 * idleSeconds, "hundredths of a second in \(idleSeconds) s: \(figures)")
        let fleet = try figures.object("fleet", as: Fleet.self)
        #expect(fleet.connected == all && fleet.back == all, "\(fleet)")
        #expect(fleet.lastBack <= 60, "\(fleet)")
        // Spread: no second has more than a part of them. The first ones that come are those whose first wait was short.
        #expect((fleet.backBySecond.max() ?? 0) * 2 <= all, "\(fleet)")
        for name in ["login", "list"] { #expect(try figures.number(name) < 10_000, "\(name), ms: \(figures)") }
        try expectDrained(figures, "gatemanager")
      }
    }
  }
}
