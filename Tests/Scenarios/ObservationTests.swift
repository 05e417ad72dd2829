import Foundation
import Testing

extension WholeSystem {
  /// What a support engineer sees: logs, status and metrics of all three hosts.
  @Suite struct Observation {
    private static let start = """
      run_options=(--log-format json)
      start_gate && start_site a && start_link && connect_site site-a
      """

    /// One line of a JSON log.
    private typealias Line = [String: String]

    private func log(_ name: String, of world: World) throws -> [Line] {
      let text = try String(contentsOfFile: "\(world.directory)/log/\(name)", encoding: .utf8)
      return try text.split(separator: "\n").map { line in
        try JSONDecoder().decode(Line.self, from: Data(line.utf8))
      }
    }

    /// Waits until the log has a line like this.
    private func line(
      _ name: String, of world: World, sourceLocation: SourceLocation = #_sourceLocation,
      where matches: (Line) -> Bool
    ) throws -> Line {
      for _ in 0..<100 {
        if let found = try log(name, of: world).last(where: matches) { return found }
        usleep(100_000)
      }
      let all = try log(name, of: world)
      return try #require(nil as Line?, "\(name): \(all)", sourceLocation: sourceLocation)
    }

    @Test("one connection can be followed by its name through the logs of all three hosts")
    func connectionStory() throws {
      try World.run(hosts: false) { world in
        try world.require(Self.start)
        try goodConnection(world)
        try refusedConnection(world)
        try resetConnection(world)
        try deniedConnection(world)
        try sessionStory(world)
      }
    }

    private func goodConnection(_ world: World) throws {
      try world.expect("fetch $(alias_of site-a web)")
      let link = try line("linkmanager", of: world) { $0["message"] == "flow ended" && $0["port"] == "80" }
      let id = try #require(link["connection"])
      let site = try line("site-a", of: world) { $0["message"] == "flow ended" && $0["connection"] == id }
      #expect(link["end"] == "finished" && site["end"] == "finished", "\(link) and \(site)")
      #expect(link["agent"] == "web" && site["agent"] == "web" && link["site"] == "site-a")
      #expect(site["destination"]?.hasPrefix("192.168.10.") == true, "the site knows the device: \(site)")
      // Aliases come from 198.18.0.0/15.
      #expect(link["application"] != nil && link["destination"]?.hasPrefix("198.1") == true, "\(link)")
      for direction in ["bytesFromDevice", "bytesToDevice"] {
        let count = try #require(link[direction].flatMap { Int($0) })
        #expect(count > 0 && site[direction] == link[direction], "\(link) and \(site)")
      }
    }

    private func refusedConnection(_ world: World) throws {
      #expect(try world.run("probe $(alias_of site-a web) 443").text.hasPrefix("ECONNREFUSED"))
      let link = try line("linkmanager", of: world) { $0["message"] == "flow refused" && $0["port"] == "443" }
      let id = try #require(link["connection"])
      let site = try line("site-a", of: world) { $0["message"] == "flow refused" && $0["connection"] == id }
      #expect(link["reason"] == site["reason"] && link["reason"]?.contains("the device refused") == true)
      // What the user is shown has the name to search for.
      #expect(try world.run("lm status").text.contains("flow \(id)"))
      #expect(try world.run("lm explain $(alias_of site-a web):443").text.contains("flow \(id)"))
    }

    private func resetConnection(_ world: World) throws {
      try world.require(
        """
        at device-a $python $root/Tests/Scenarios/programs/resetting.py 192.168.10.10 8006 \
          >$state/log/resetting 2>&1 </dev/null &
        eventually 5 grep -q listening $state/log/resetting || exit 9
        at pc $python $root/Tests/Scenarios/programs/read_to_end.py $(alias_of site-a web) 8006 / 10
        """)
      let site = try line("site-a", of: world) { $0["message"] == "flow ended" && $0["port"] == "8006" }
      let link = try line("linkmanager", of: world) {
        $0["message"] == "flow ended" && $0["connection"] == site["connection"]
      }
      #expect(site["end"] == "reset by the device" && link["end"] == "reset by the device", "\(site) and \(link)")
    }

    /// The filter's own refusal went to nobody, and has no name there.
    private func deniedConnection(_ world: World) throws {
      #expect(try world.run("probe $(alias_of site-a web) 8080").status == 1)
      let link = try line("linkmanager", of: world) { $0["message"] == "flow denied" }
      #expect(link["port"] == "8080" && link["connection"] == nil && link["reason"] != nil, "\(link)")
    }

    private func sessionStory(_ world: World) throws {
      let flow = try line("linkmanager", of: world) { $0["message"] == "flow ended" }
      let prefix = try #require(flow["connection"]?.prefix { $0 != "-" })
      try world.require("lm disconnect site-a")
      let end = try line("gatemanager", of: world) { $0["message"] == "session ended" }
      #expect(end["session"]?.hasPrefix(prefix) == true && end["reason"]?.isEmpty == false, "\(end)")
      #expect(Int(end["bytesFromLink"] ?? "") ?? 0 > 0 && Int(end["bytesFromSite"] ?? "") ?? 0 > 0)
      let story = try log("gatemanager", of: world).filter { $0["session"]?.hasPrefix(prefix) == true }
      #expect(
        story.map { $0["message"] ?? "" } == [
          "session opened", "end arrived", "end arrived", "session relayed", "session ended",
        ])
      let opening = try #require(story.first)
      #expect(opening["user"] == "technician" && opening["site"] == "site-a" && opening["purpose"] != nil, "\(opening)")
      #expect(opening["agents"]?.contains("web") == true)
      _ = try line("site-a", of: world) { $0["message"] == "session ended" && $0["session"] == end["session"] }
      _ = try line("linkmanager", of: world) { $0["message"] == "session ended" && $0["session"] == end["session"] }
    }

    // MARK: Status

    private struct Flows: Decodable {
      struct Flow: Decodable {
        var id, agent, state, destination: String
        var window: Int
      }
      var flows: [Flow]
    }

    @Test("an open flow has one name at both ends, and its state")
    func openFlow() throws {
      try World.run { world in
        try world.require(
          """
          at pc bash -c "exec 3<>/dev/tcp/$(alias_of site-a web)/80; sleep 60" >/dev/null 2>&1 </dev/null &
          flow_is_open() { lm status --flows | grep -q ' open '; }
          eventually 10 flow_is_open
          """)
        let link = try world.status("lm status --flows --json", as: Flows.self).flows
        let site = try world.status(
          "briefly site-a $bin/sitemanager status --flows --json --directory $state/site-a", as: Flows.self
        ).flows
        #expect(link.count == 1 && link.map(\.id) == site.map(\.id), "\(link) and \(site)")
        #expect(link.first?.state == "open" && site.first?.state == "open" && site.first?.agent == "web")
        #expect(site.first?.destination.hasPrefix("192.168.10.") == true && link.first?.window ?? 0 > 0)
      }
    }

    @Test("watching tells when the service goes away and comes back, and ends when nobody reads")
    func watch() throws {
      try World.run { world in
        try world.require(
          """
          ip netns exec $prefix-pc $bin/linkmanager status --watch 0.3 --json --directory $state/linkmanager \
            >$state/watch 2>&1 </dev/null &
          watcher=$!
          eventually 10 test -s $state/watch || exit 1
          for pid in $(ip netns pids $prefix-pc); do
            ! tr '\\0' ' ' </proc/$pid/cmdline | grep -q 'linkmanager run' || kill -KILL $pid
          done
          kill -0 $watcher || exit 2
          eventually 10 grep -q '"problem":"linkmanager isn.t running' $state/watch || exit 3
          start linkmanager pc $bin/linkmanager run --directory $state/linkmanager
          eventually 15 lm status || exit 4
          sleep 1
          kill -TERM $watcher
          wait $watcher || exit 5
          """)
        let lines = try String(contentsOfFile: world.directory + "/watch", encoding: .utf8).split(separator: "\n")
        let objects = try lines.map { try JSONSerialization.jsonObject(with: Data($0.utf8)) as? [String: Any] }
        #expect(objects.count { $0?["problem"] != nil } == 1, "said once: \(lines.map { $0.prefix(80) })")
        #expect(objects.first??["sites"] != nil && objects.last??["sites"] != nil)

        // A reader that has seen enough, and one that looks at text.
        let piped = try world.run(
          """
          at pc timeout 20 $bin/linkmanager status --watch 0.2 --directory $state/linkmanager | head -n 1
          echo "status ${PIPESTATUS[0]}"
          """)
        #expect(piped.text.hasPrefix("--- 20") && piped.lastLine == "status 0", "\(piped)")
      }
    }

    @Test("metrics of all hosts come by command and no port is open for them")
    func metrics() throws {
      try World.run { world in
        try world.expect("fetch $(alias_of site-a web)")
        let ask = [
          ("pc", "linkmanager", "linkmanager", "relayvpn_link_site_connected{site=\"site-a\"} 1"),
          ("site-a", "sitemanager", "site-a", "relayvpn_site_connected 1"),
          ("relay", "gatemanager", "gatemanager", "relayvpn_gate_relays 1"),
        ]
        for (part, program, directory, line) in ask {
          let file = "\(world.directory)/\(program).prom"
          try world.require("briefly \(part) $bin/\(program) metrics --output \(file) --directory $state/\(directory)")
          let text = try String(contentsOfFile: file, encoding: .utf8)
          #expect(text.split(separator: "\n").contains { $0 == line }, "\(text)")
          #expect(text.contains("\nprocess_resident_memory_bytes "))
          // Prometheus' own judge, where it is installed.
          try world.expect("! command -v promtool >/dev/null || promtool check metrics <\(file)")
        }
        let ports = try world.require("for part in pc site-a relay; do at $part ss -Hltn; done").text
        #expect(ports.split(separator: "\n").count == 1 && ports.contains(":443"), "\(ports)")
      }
    }
  }
}
