import Testing

extension WholeSystem {
  /// Aliases that others on the same PC, or the PC's own network, have as well.
  @Suite struct Aliases {
    /// A LinkManager of its own directory on the same PC.
    private static let second = """
      second() { at pc timeout --foreground 30 $bin/linkmanager "$@" --directory $state/linkmanager2; }
      run_second() {
        start linkmanager2 pc $bin/linkmanager run --directory $state/linkmanager2 "$@" && eventually 10 second status
      }
      stop_second() {
        local pid
        for pid in $(ip netns pids $prefix-pc); do
          ! tr '\\0' ' ' <"/proc/$pid/cmdline" | grep -q 'run --directory.*linkmanager2' || kill -TERM "$pid"
        done
        eventually 10 gone second status
      }

      """

    /// The address that an agent of site A has now.
    private func alias(_ world: World) throws -> String {
      let script = """
        lm status --json | $python -c 'import json, sys
        agents = [agent for site in json.load(sys.stdin)["sites"] for agent in site["agents"]]
        print([agent["v4"] for agent in agents if agent["name"].endswith("web")][0].split("/")[0])'
        """
      return try world.require(script).lastLine
    }

    @Test("a second LinkManager on the same PC: told why and what to do, and the first goes on")
    func twoOnOnePC() throws {
      try World.run { world in
        let session = try world.linkStatus().sites.first?.session
        try world.expect("web_page site-a web 4 'web panel of site a'")
        // Of the same directory.
        let same = try world.run(
          "at pc timeout 20 $bin/linkmanager run --directory $state/linkmanager --device other0 2>&1")
        #expect(same.status == 69 && same.text.contains("another process already serves"), "\(same)")
        // Of one of its own.
        try world.require(
          Self.second + """
            briefly pc $bin/linkmanager login --directory $state/linkmanager2 --gate $gate_name --user technician \
              --password-file $state/password --yes && run_second
            """)
        let refused = try world.run(Self.second + "second connect site-a 2>&1")
        #expect(
          refused.status != 0 && refused.text.contains("so do those of another LinkManager on this host"), "\(refused)")
        #expect(refused.text.contains("198.18.0.1/15 on relay0"), "\(refused)")
        #expect(refused.text.contains("`linkmanager run --alias-pool PREFIX`"), "\(refused)")
        try world.expect("web_page site-a web 4 'web panel of site a' && web_page site-a web 6 'web panel of site a'")
        // As it was told.
        try world.require(
          Self.second + """
            stop_second && run_second --alias-pool 198.51.0.0/16 --alias-pool-v6 fd99:1::/48 &&
              second connect site-a >$state/linkmanager2/site-a.aliases
            """)
        let output = try world.expect(
          """
          other() { state=$state/linkmanager2 alias_of site-a web "$@"; }
          [ "$(other)" != "$(alias_of site-a web)" ] && fetch $(other) && fetch $(other 6)
          """)
        #expect(output.text.contains("web panel of site a"), "\(output)")
        try world.expect("web_page site-a web 4 'web panel of site a' && web_page site-a web 6 'web panel of site a'")
        #expect(try world.linkStatus().sites.first?.session == session)
      }
    }

    @Test("the PC's LAN has an agent's address: the agent gets another, at the start and when the LAN comes later")
    func theLanHasTheAddress() throws {
      try World.run { world in
        let session = try world.linkStatus().sites.first?.session
        func network(_ address: String) -> String {
          address.split(separator: ".").dropLast().joined(separator: ".")
        }
        let first = try alias(world)
        // The LAN comes while the session is open, with a host on it that has the agent's very address.
        try world.require(
          """
          ip -n $prefix-pc link add lan2 type veth peer name lan2-far && ip -n $prefix-pc link set lan2-far up &&
            ip -n $prefix-pc link set lan2 up &&
            ip -n $prefix-pc address add \(network(first)).253/24 dev lan2
          """)
        try world.expect("eventually 10 logged linkmanager 'has an agent.s address.*site-a/web had \(first)'")
        let second = try alias(world)
        #expect(network(second) != network(first), "\(first) \(second)")
        #expect(try world.expect("fetch \(second)").text.contains("web panel of site a"))
        #expect(try world.linkStatus().sites.first?.session == session)
        let route = try world.expect("ip -n $prefix-pc route get \(first)")
        #expect(route.text.contains("dev lan2"), "the LAN is reached as before: \(route)")
        // A route to somewhere in the pool counts as well.
        try world.require("ip -n $prefix-pc route add \(network(second)).0/24 via 203.0.113.22")
        try world.expect("eventually 10 logged linkmanager 'has an agent.s address.*site-a/web had \(second)'")
        let third = try alias(world)
        #expect(network(third) != network(second) && network(third) != network(first))
        #expect(try world.expect("fetch \(third)").text.contains("web panel of site a"))

        // From the start.
        try world.require("lm disconnect site-a && connect_site site-a")
        let fourth = try alias(world)
        #expect(network(fourth) != network(first) && network(fourth) != network(second))
        #expect(try world.expect("fetch \(fourth)").text.contains("web panel of site a"))

        // What can't be kept away from: told in log and status, and refused at the next start.
        try world.require("ip -n $prefix-pc address add 198.18.0.77/24 dev lan2")
        try world.expect("eventually 10 logged linkmanager 'clash.*198.18.0.77/24 on lan2'")
        let problems = try world.expect("lm status | head -n 12")
        #expect(
          problems.text.contains("! aliases come from 198.18.0.0/15, and this host has the address 198.18.0.77/24"))
        #expect(try world.expect("fetch \(fourth)").text.contains("web panel of site a"), "what is there goes on")
        let again = try world.run("lm disconnect site-a && lm connect site-a 2>&1")
        #expect(again.status != 0 && again.text.contains("198.18.0.77/24 on lan2: choose another pool"), "\(again)")
        #expect(again.text.contains("--alias-pool PREFIX"), "\(again)")
        try world.require("ip -n $prefix-pc address delete 198.18.0.77/24 dev lan2 && connect_site site-a")
      }
    }
  }
}
